# SPDX-License-Identifier: Apache-2.0
"""Where the guard agrees to listen, who can reach the socket, and whose file it removes."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.unix_socket import UnixListener, peer_user, user_ids
from keyfob.errors import ConfigError


def test_the_socket_is_for_our_own_user_only(tmp_path: Path) -> None:
    with contextlib.closing(UnixListener(tmp_path / "s")):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_a_group_may_reach_the_socket_where_one_is_named(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid())
    with contextlib.closing(UnixListener(tmp_path / "s", group=group.gr_name)):
        status = (tmp_path / "s").stat()
        assert (status.st_mode & 0o777, status.st_gid) == (0o660, group.gr_gid)


def test_a_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    """Also one with the sticky bit: the name could be taken before the guard starts."""
    for mode in (0o777, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(ConfigError, match="everybody may write"):
            UnixListener(tmp_path / "s")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(ConfigError, match="another user"):
        UnixListener(tmp_path / "s")


def test_a_directory_that_is_not_there_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing is not there: make it"):
        UnixListener(tmp_path / "missing" / "s")


def test_a_socket_that_a_killed_guard_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    with (
        contextlib.closing(UnixListener(tmp_path / "s")) as listener,
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(str(tmp_path / "s"))
        accepted, _ = listener.socket.accept()
        with accepted:
            assert peer_user(accepted) == os.geteuid()


def test_a_socket_that_somebody_answers_at_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(UnixListener(tmp_path / "s")):
        with pytest.raises(ConfigError, match="another process listens"):
            UnixListener(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_not_a_socket_is_never_removed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    before = path.lstat()
    with pytest.raises(ConfigError, match="not a socket"):
        UnixListener(path)
    assert path.lstat() == before


def test_closing_removes_the_socket_but_not_one_that_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = UnixListener(path)
    first.close()
    assert not path.exists()
    first.close()
    second = UnixListener(path)
    path.rename(tmp_path / "moved")
    with contextlib.closing(UnixListener(path)):
        second.close()
        assert path.exists()


def test_a_path_longer_than_a_socket_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        UnixListener(tmp_path / ("s" * 108))


def test_users_and_groups_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    assert user_ids(["root"]) == {0}
    with pytest.raises(ConfigError, match="no-such-user"):
        user_ids(["root", "no-such-user"])
    with pytest.raises(ConfigError, match="no-such-group"):
        UnixListener(tmp_path / "s", group="no-such-group")
