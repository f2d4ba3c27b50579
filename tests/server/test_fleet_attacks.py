# SPDX-License-Identifier: Apache-2.0
"""Files that go wrong under work on many devices: no true secret is lost, nobody is left out."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from keyfob.errors import ConfigError, ConflictError, UpstreamError
from keyfob.server.fleet import Chosen
from keyfob.server.fleet_rows import RowReader
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register
from tests.server.test_fleet_import import load, rejected, secrets_in


def stop(_: int) -> None:
    raise KeyboardInterrupt


def interrupted(register: Register, text: str, folder: Path) -> None:
    """Leave an import unfinished after its first transaction."""
    calls: list[int] = []

    def second(done: int) -> None:
        calls.append(done)
        if len(calls) == 2:  # the first is for what was skipped
            stop(done)

    with pytest.raises(KeyboardInterrupt):
        load(register, text, folder, on_progress=second)


def numbered(prefix: str, count: int) -> str:
    return "device\n" + "".join(f"{prefix}{number}\n" for number in range(count))


# Secrets that are true are never cut off


@pytest.mark.parametrize("restart", [False, True])
def test_going_on_cuts_no_secret_off_that_another_import_wrote_to_the_file(
    register: Register, tmp_path: Path, restart: bool
) -> None:
    one, other = numbered("one", 7_000), numbered("another-device-", 6_000)
    interrupted(register, one, tmp_path)
    (tmp_path / "secrets.csv").rename(tmp_path / "kept.csv")
    load(register, other, tmp_path)
    before = (tmp_path / "secrets.csv").read_bytes()
    new = "new.csv" if restart else "secrets.csv"
    with pytest.raises(ConflictError):
        load(register, one, tmp_path, secrets=new, restart=restart)
    assert (tmp_path / "secrets.csv").read_bytes() == before


def test_beginning_anew_does_not_need_the_file_from_before(
    register: Register, tmp_path: Path
) -> None:
    text = numbered("dev", 7_000)
    interrupted(register, text, tmp_path)
    (tmp_path / "secrets.csv").rename(tmp_path / "kept.csv")
    (tmp_path / "secrets.csv").touch(mode=0o600)
    assert load(register, text, tmp_path, secrets="new.csv", restart=True).registered == 2_000


def test_a_rotation_that_goes_on_cuts_no_secret_off_that_another_wrote_to_the_file(
    register: Register, tmp_path: Path
) -> None:
    load(register, numbered("dev", 3_000), tmp_path)
    with PrivateFile(tmp_path / "s.csv") as secrets, pytest.raises(KeyboardInterrupt):
        register.fleet.rotate(Chosen(), secrets, overlap=60, on_progress=stop)
    (tmp_path / "s.csv").rename(tmp_path / "kept.csv")
    (tmp_path / "names").write_text("".join(f"dev{number}\n" for number in range(2_000)))
    with PrivateFile(tmp_path / "s.csv") as secrets:
        register.fleet.rotate(Chosen(names=tmp_path / "names"), secrets, overlap=60)
    before = (tmp_path / "s.csv").read_bytes()
    with PrivateFile(tmp_path / "s.csv") as secrets, pytest.raises(ConflictError):
        register.fleet.rotate(Chosen(), secrets, overlap=60)
    assert (tmp_path / "s.csv").read_bytes() == before


# Other files are not touched


def test_a_file_that_holds_no_rejects_is_not_overwritten_by_them(
    register: Register, tmp_path: Path
) -> None:
    precious = tmp_path / "fleet.csv"
    precious.touch(mode=0o600)
    precious.write_text(numbered("dev", 3))
    with precious.open("rb") as stream, PrivateFile(precious) as rejects:
        reader = RowReader(stream, "csv")
        with PrivateFile(tmp_path / "s.csv") as made, pytest.raises(ConflictError):
            register.fleet.import_devices(reader, rejects=rejects, secrets=made)
    assert precious.read_text() == numbered("dev", 3)


def test_rejects_of_an_earlier_import_give_way(register: Register, tmp_path: Path) -> None:
    load(register, "device\na b\n", tmp_path, secrets=None)
    load(register, "device\n\nb c\n", tmp_path, secrets=None)
    assert [row["row"] for row in rejected(tmp_path)] == ["3"]


def test_a_private_file_is_an_ordinary_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="ordinary"):
        PrivateFile(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_private_file_belongs_to_whoever_writes_it(tmp_path: Path) -> None:
    """Else somebody who put it there before reads the secrets that root writes into it."""
    (tmp_path / "s").touch(mode=0o600)
    os.chown(tmp_path / "s", 65_534, 65_534)
    with pytest.raises(ConfigError, match="belongs"):
        PrivateFile(tmp_path / "s")


def test_a_disk_that_is_full_is_told_as_one(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with PrivateFile(tmp_path / "secrets.csv") as made:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(UpstreamError):
                made.write("x" * 200)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Names in a file


def test_a_byte_order_mark_hides_no_device(register: Register, tmp_path: Path) -> None:
    register.add_device("dev1")
    (tmp_path / "names").write_bytes(b"\xef\xbb\xbfdev1\n")
    outcome = register.fleet.disable(Chosen(names=tmp_path / "names"))
    assert (outcome.done, outcome.missing) == (1, 0)


def test_a_rotation_that_goes_on_reaches_every_name_that_the_file_has_now(
    register: Register, tmp_path: Path
) -> None:
    load(register, numbered("dev", 1_500), tmp_path)
    names = [f"dev{number}\n" for number in range(1_500)]
    (tmp_path / "names").write_text("".join(names[500:]))
    chosen = Chosen(names=tmp_path / "names")
    with PrivateFile(tmp_path / "s.csv") as secrets, pytest.raises(KeyboardInterrupt):
        register.fleet.rotate(chosen, secrets, overlap=60, on_progress=stop)
    (tmp_path / "names").write_text("".join(names))
    with PrivateFile(tmp_path / "s.csv") as secrets:
        register.fleet.rotate(chosen, secrets, overlap=60)
    assert len(secrets_in(tmp_path / "s.csv")) == 1_500
    (tmp_path / "s.csv").rename(tmp_path / "kept.csv")
    with PrivateFile(tmp_path / "s.csv") as secrets:  # done, so that the same again is another one
        assert register.fleet.rotate(chosen, secrets, overlap=60).done == 1_500
