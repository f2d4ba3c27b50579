# SPDX-License-Identifier: Apache-2.0
"""One `keyfob up` at a time in an installation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob.cli.lock import FILE_NAME, only_one
from keyfob.errors import ConflictError


def test_a_second_one_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with only_one(tmp_path):
        with pytest.raises(ConflictError) as caught, only_one(tmp_path):
            pass
        assert f"process {os.getpid()}" in caught.value.message
    with only_one(tmp_path):
        pass


def test_the_children_of_a_killed_one_are_waited_for(tmp_path: Path) -> None:
    child = hold_as_a_dead_ones_child(tmp_path, seconds=0.5)
    with only_one(tmp_path):
        assert child.wait() == 0


def test_children_that_do_not_end_are_an_error_that_says_where_to_look(tmp_path: Path) -> None:
    child = hold_as_a_dead_ones_child(tmp_path, seconds=1000)
    try:
        with pytest.raises(ConflictError, match="was killed"), only_one(tmp_path, patience=0.2):
            pass
    finally:
        child.kill()
        child.wait()


def hold_as_a_dead_ones_child(folder: Path, *, seconds: float) -> subprocess.Popen[bytes]:
    """Leave the lock with a child whose `keyfob up` is gone."""
    with only_one(folder) as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", f"import time; time.sleep({seconds})"], pass_fds=[lock]
        )
    gone = subprocess.Popen(["true"])
    gone.wait()
    (folder / FILE_NAME).write_text(f"{gone.pid}\n")
    return child
