# SPDX-License-Identifier: Apache-2.0
"""Stores: what is kept, who may read it, and what is left after a kill."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device import FileStore, MemoryStore
from keyfob.device.clock import Moment
from keyfob.device.kept import MAX_KEPT, decode_token, encode_token
from keyfob.device.store import TokenStore
from keyfob.device.token import Token
from keyfob.errors import ConfigError
from tests.device.world import SetClock, token_of

visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1)
times = st.floats(allow_nan=False, allow_infinity=False)
tokens = st.builds(
    Token,
    access_token=visible,
    token_type=st.sampled_from(["Bearer", "DPoP"]),
    scope=st.text(st.characters(codec="utf-8")),
    lifetime=st.floats(1, 1e9),
    obtained=st.builds(
        Moment, boot=st.text(st.characters(codec="utf-8")), elapsed=times, wall=times
    ),
    refresh_token=st.none() | visible,
    origin=visible,
    proof_key=st.none() | st.binary(),
)
TOKEN = token_of(SetClock(), refresh_token="refresh")


@given(tokens)
def test_what_is_kept_comes_back(token: Token) -> None:
    assert decode_token(encode_token(token)) == token


@given(st.binary(max_size=300))
def test_what_is_something_else_reads_as_nothing(data: bytes) -> None:
    assert decode_token(data) is None


@given(st.data())
def test_a_file_that_was_cut_or_changed_is_a_token_or_nothing(data: st.DataObject) -> None:
    whole = encode_token(TOKEN)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
    for each in (whole[:at], changed):
        found = decode_token(each)
        assert found is None or found.access_token.isprintable()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":1', b'"version":2'),
        (b'"version":1', b'"version":1,"more":1'),
        (b'"lifetime":3600.0', b'"lifetime":0'),
        (b'"lifetime":3600.0', b'"lifetime":1e999'),
        (b'"access_token":"access"', b'"access_token":"a\\nb"'),
        (b'"access_token":"access"', b'"access_token":""'),
        (b'"refresh_token":"refresh"', b'"refresh_token":"a\\u0000"'),
        (b"{", b"["),
    ],
)
def test_a_kept_token_with_a_fault_is_nothing(old: bytes, new: bytes) -> None:
    whole = encode_token(TOKEN)
    assert old in whole
    assert decode_token(whole.replace(old, new, 1)) is None


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "token")


def test_a_store_keeps_the_last_token(store: TokenStore) -> None:
    assert store.load() is None
    store.save(token_of(SetClock(), access_token="first"))
    store.save(TOKEN)
    assert store.load() == TOKEN


def test_one_at_a_time_has_the_turn(store: TokenStore) -> None:
    one, other = store.turn(), store.turn()
    assert one.take()
    assert not other.take()
    other.give_back()  # what it does not have
    assert not store.turn().take()
    one.give_back()
    assert other.take()
    other.give_back()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    store = FileStore(tmp_path / "token")
    before = os.umask(umask)
    try:
        turn = store.turn()
        assert turn.take()
        store.save(TOKEN)
        turn.give_back()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "token.lock").stat().st_mode) & 0o077 == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["token", "token.lock"]


def test_a_file_is_synced_before_it_is_there_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def note_replace(path: Path, target: Path) -> Path:
        done.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    FileStore(tmp_path / "token").save(TOKEN)
    assert done == ["file", "replace", "folder"]


def test_what_is_no_token_is_told_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"somebody's notes")
    store = FileStore(path)
    assert store.load() is None
    assert "no token that can be read" in caplog.text
    assert "notes" not in caplog.text
    store.save(TOKEN)
    assert store.load() == TOKEN


def test_a_file_without_end_is_read_no_further_than_a_token_goes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.symlink_to("/dev/zero")
    assert FileStore(path).load() is None
    assert MAX_KEPT <= 1024 * 1024


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_have_written_is_not_used(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    store = FileStore(path)
    store.save(TOKEN)
    path.chmod(mode)
    assert store.load() is None
    assert "others may write it" in caplog.text
    store.save(TOKEN)
    assert store.load() == TOKEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_somebody_else_put_into_a_folder_for_all_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "for-all"
    folder.mkdir()
    folder.chmod(0o1777)
    store = FileStore(folder / "token")
    store.save(TOKEN)
    os.chown(folder / "token", 12345, 12345)
    assert store.load() is None
    assert "somebody else's" in caplog.text
    os.chown(folder, 12345, 12345)  # whose folder it is may put there what he likes
    assert store.load() == TOKEN


def test_a_pipe_in_the_way_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "token"
    os.mkfifo(path)
    store = FileStore(path)
    assert store.load() is None
    store.save(TOKEN)
    assert store.load() == TOKEN


def test_a_link_in_the_place_of_the_lock_changes_nothing_elsewhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch(mode=0o644)
    victim.chmod(0o644)
    for target in (victim, tmp_path / "not-there"):
        lock = tmp_path / "token.lock"
        lock.unlink(missing_ok=True)
        lock.symlink_to(target)
        with pytest.raises(OSError, match="symbolic link"):
            FileStore(tmp_path / "token").turn().take()
    assert stat.S_IMODE(victim.stat().st_mode) == 0o644
    assert not (tmp_path / "not-there").exists()


def test_a_link_in_the_place_of_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("notes")
    (tmp_path / "token").symlink_to(victim)
    FileStore(tmp_path / "token").save(TOKEN)
    assert victim.read_text() == "notes"
    assert not (tmp_path / "token").is_symlink()


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        FileStore(tmp_path / "none" / "token")


def test_what_cannot_be_written_leaves_the_old_token_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.mkdir()  # a name that no file can take
    (path / "in").touch()
    with pytest.raises(OSError, match="directory"):
        FileStore(path).save(TOKEN)
    assert [each.name for each in tmp_path.iterdir()] == ["token"]
    assert FileStore(path).load() is None


_WRITER = """
import itertools, sys
from keyfob.device.clock import Moment
from keyfob.device.store import FileStore
from keyfob.device.token import Token

store = FileStore(sys.argv[1])
obtained = Moment(boot="b", elapsed=0, wall=0)
for number in itertools.count():
    text = f"{number:08}" * 2000
    store.save(Token(access_token=text, token_type="Bearer", scope="", lifetime=1,
                     obtained=obtained))
    if number == 3:
        print("writing", flush=True)
"""


def test_whoever_is_killed_while_writing_leaves_a_whole_token_and_the_next_one_tidies_up(
    tmp_path: Path,
) -> None:
    path = tmp_path / "token"
    newest = -1
    for kill in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        with writer.stdout:
            assert writer.stdout.readline() == b"writing\n"
            time.sleep(0.003 * kill)
            writer.send_signal(signal.SIGKILL)
            writer.wait(30)
        token = FileStore(path).load()
        assert token is not None
        newest = int(token.access_token[:8])
        assert token.access_token == f"{newest:08}" * 2000
    FileStore(path).save(TOKEN)
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_a_turn_is_given_back_by_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    program = (
        "import sys, time; from keyfob.device.store import FileStore;"
        "turn = FileStore(sys.argv[1]).turn(); assert turn.take(); print('has it', flush=True);"
        "time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"has it\n"
        assert not FileStore(path).turn().take()
        holder.kill()
        holder.wait(30)
    turn = FileStore(path).turn()
    assert turn.take()
    turn.give_back()


@pytest.mark.parametrize("kind", ["memory", "file"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_no_turn_of_its_parents_and_keeps_none_from_it(
    kind: str, tmp_path: Path
) -> None:
    store: TokenStore = MemoryStore() if kind == "memory" else FileStore(tmp_path / "token")
    turn = store.turn()
    assert turn.take()
    ours, childs = socket.socketpair()
    with ours, childs:
        if (child := os.fork()) == 0:
            childs.send(b"free" if store.turn().take() else b"taken")
            childs.recv(1)  # until the parent has looked
            os._exit(0)
        # What lies in memory, the two do not share any more; the file they do.
        assert ours.recv(10) == (b"free" if kind == "memory" else b"taken")
        turn.give_back()
        assert turn.take()
        turn.give_back()
        ours.send(b".")
        os.waitpid(child, 0)


_FORKER = """
import os, sys
from keyfob.device import FileStore
turn = FileStore(sys.argv[1]).turn()
assert turn.take()
if os.fork() == 0:
    sys.stdin.readline()
    os._exit(0)
os.kill(os.getpid(), 9)
"""


def test_a_child_that_outlives_its_parent_keeps_no_turn_of_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _FORKER, str(path)], stdin=subprocess.PIPE
    ) as parent:
        assert parent.wait(30) == -signal.SIGKILL
        turn = FileStore(path).turn()
        assert turn.take(), "the child has it"
        turn.give_back()
