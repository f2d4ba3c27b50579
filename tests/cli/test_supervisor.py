# SPDX-License-Identifier: Apache-2.0
"""Children are started in order, started again, stopped in reverse, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keyfob.cli import supervisor as module
from keyfob.cli.supervisor import Child, Supervisor, send
from keyfob.errors import UpstreamError
from tests.cli.commands import alive, wait_for

pytestmark = pytest.mark.anyio

STEADY = "echo ready; exec sleep 1000"


def child(folder: Path, name: str, script: str = STEADY) -> Child:
    return Child(
        name=name,
        command=["sh", "-c", script],
        ready_line="ready",
        pid_file=folder / f"{name}.pid",
    )


@asynccontextmanager
async def running(*children: Child, lines: list[str] | None = None) -> AsyncIterator[Supervisor]:
    shown: list[str] = [] if lines is None else lines
    supervisor = Supervisor(children, shown.append, stop_timeout=0.3)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def eventually(what: str, condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_for, what, condition)


def pid(one: Child) -> int:
    try:
        return int(one.pid_file.read_text())
    except (OSError, ValueError):
        return 0


async def test_the_next_starts_when_the_one_before_is_ready(tmp_path: Path) -> None:
    mark = tmp_path / "first-is-ready"
    first = child(tmp_path, "first", f"sleep 0.1; touch {mark}; {STEADY}")
    second = child(tmp_path, "second", f"test -e {mark} && {STEADY}")
    async with running(first, second):
        assert alive(pid(first))
        assert alive(pid(second))


async def test_those_that_start_at_once_do_not_wait_for_each_other(tmp_path: Path) -> None:
    wait = "until test -e {0}; do sleep 0.02; done; " + STEADY
    marks = [tmp_path / "one-began", tmp_path / "two-began"]
    one = child(tmp_path, "one", f"touch {marks[0]}; {wait.format(marks[1])}")
    two = child(tmp_path, "two", f"touch {marks[1]}; {wait.format(marks[0])}")
    supervisor = Supervisor([one, two], print, at_once=True, stop_timeout=0.3)
    await supervisor.start()
    try:
        assert alive(pid(one))
        assert alive(pid(two))
    finally:
        await supervisor.stop()


async def test_one_of_those_that_fails_ends_the_others(tmp_path: Path) -> None:
    good, bad = child(tmp_path, "good"), child(tmp_path, "bad", "exit 3")
    with pytest.raises(UpstreamError, match="bad ended with status 3"):
        await Supervisor([good, bad], print, at_once=True, stop_timeout=0.3).start()
    assert not good.pid_file.exists()


async def test_what_children_print_is_shown_with_their_names(tmp_path: Path) -> None:
    lines: list[str] = []
    one = child(tmp_path, "talker", f"echo to-output; echo to-error >&2; {STEADY}")
    async with running(one, lines=lines):
        pass
    assert lines == ["talker     | to-output", "talker     | to-error", "talker     | ready"]


async def test_an_endless_line_and_bytes_that_are_no_text_disturb_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    script = f"head -c 300000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'; {STEADY}"
    async with running(child(tmp_path, "odd", script), lines=lines):
        assert "odd        | \ufffd" in lines


async def test_a_child_that_was_killed_is_started_again(tmp_path: Path) -> None:
    lines: list[str] = []
    one = child(tmp_path, "one")
    async with running(one, lines=lines):
        before = pid(one)
        os.kill(before, signal.SIGKILL)
        await eventually("another process", lambda: pid(one) not in (0, before))
        assert "keyfob     | one was killed by SIGKILL; starting it again" in lines


async def test_a_child_that_ends_by_itself_is_started_again_and_again(tmp_path: Path) -> None:
    lines: list[str] = []
    one = child(tmp_path, "one", "echo ready; exit 3")
    async with running(one, lines=lines):
        await eventually("three starts", lambda: lines.count("one        | ready") >= 3)
        assert "keyfob     | one ended with status 3; starting it again" in lines


async def test_a_program_that_vanished_is_tried_again(tmp_path: Path) -> None:
    lines: list[str] = []
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{STEADY}\n")
    program.chmod(0o700)
    one = Child(
        name="one", command=[str(program)], ready_line="ready", pid_file=tmp_path / "one.pid"
    )
    async with running(one, lines=lines):
        content = program.read_text()
        before = pid(one)
        program.unlink()
        os.kill(before, signal.SIGKILL)
        await eventually("a failed start", lambda: any("cannot be started" in x for x in lines))
        program.write_text(content)
        program.chmod(0o700)
        await eventually("another process", lambda: pid(one) not in (0, before))


async def test_a_child_that_ends_before_it_is_ready_ends_everything(tmp_path: Path) -> None:
    first = child(tmp_path, "first")
    second = child(tmp_path, "second", "echo 'the disk is full'; exit 1")
    lines: list[str] = []
    supervisor = Supervisor([first, second], lines.append)
    with pytest.raises(UpstreamError, match="second ended with status 1 before it was ready"):
        await supervisor.start()
    assert "second     | the disk is full" in lines
    assert not first.pid_file.exists()


async def test_a_program_that_does_not_exist_ends_everything(tmp_path: Path) -> None:
    one = Child(name="one", command=["/nonexistent"], ready_line="x", pid_file=tmp_path / "one.pid")
    with pytest.raises(UpstreamError, match="one cannot be started"):
        await Supervisor([one], print).start()


async def test_a_child_that_never_gets_ready_is_not_waited_for_forever(tmp_path: Path) -> None:
    one = replace(child(tmp_path, "one", "exec sleep 1000"), ready_within=0.2)
    with pytest.raises(UpstreamError, match="one was not ready"):
        await Supervisor([one], print).start()
    assert not one.pid_file.exists()


async def test_children_are_stopped_in_the_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    script = (
        "trap 'sleep 0.1; echo {0} >> {1}; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    children = [child(tmp_path, name, script.format(name, order)) for name in ("a", "b", "c")]
    async with running(*children):
        pass
    assert order.read_text().split() == ["c", "b", "a"]


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    one = child(tmp_path, "one", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    async with running(one):
        process = pid(one)
    assert not alive(process)


async def test_a_child_that_forgets_the_first_request_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ASK_AGAIN", 0.05)
    again = f"trap 'touch {tmp_path / 'ended'}; exit 0' TERM"
    one = child(tmp_path, "one", f'trap "{again}" TERM; echo ready; while :; do sleep 0.02; done')
    supervisor = Supervisor([one], print, stop_timeout=20)
    await supervisor.start()
    await supervisor.stop()
    assert (tmp_path / "ended").exists()


async def test_a_signal_to_a_process_that_ends_does_not_take_its_status() -> None:
    for _ in range(20):
        process = await asyncio.create_subprocess_exec("sh", "-c", "exit 3")
        while process.returncode is None:
            send(process, signal.SIGCONT)
            await asyncio.sleep(0)
        assert process.returncode == 3


async def test_a_grandchild_that_holds_the_output_open_delays_nothing(tmp_path: Path) -> None:
    one = child(tmp_path, "one", f"sleep 1000 & echo $! > {tmp_path / 'grand'}; {STEADY}")
    try:
        async with running(one):
            pass
        assert alive(int((tmp_path / "grand").read_text()))
    finally:
        os.kill(int((tmp_path / "grand").read_text()), signal.SIGKILL)


async def test_asked_to_stop_it_does_not_wait_for_a_slow_start(tmp_path: Path) -> None:
    one, two = child(tmp_path, "one", "exec sleep 1000"), child(tmp_path, "two")
    supervisor = Supervisor([one, two], print, stop_timeout=0.3)
    starting = asyncio.create_task(supervisor.start())
    await eventually("the first child", lambda: pid(one))
    supervisor.request_stop()
    await starting
    assert supervisor.stopping
    await supervisor.stop()
    assert not one.pid_file.exists()
    assert not two.pid_file.exists()


async def test_a_signal_reaches_the_named_child_only(tmp_path: Path) -> None:
    def script(name: str) -> str:
        mark = tmp_path / f"{name}-got-it"
        return f"trap 'touch {mark}' HUP; echo ready; while :; do sleep 0.02; done"

    one, two = (child(tmp_path, name, script(name)) for name in ("one", "two"))
    async with running(one, two) as supervisor:
        supervisor.signal("one", signal.SIGHUP)
        supervisor.signal("nobody", signal.SIGHUP)
        await eventually("the signal", (tmp_path / "one-got-it").exists)
        assert not (tmp_path / "two-got-it").exists()


def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import asyncio
        from pathlib import Path
        from keyfob.cli.supervisor import Child, Supervisor

        async def main():
            folder = Path({str(tmp_path)!r})
            children = [
                Child(name=name, command=["sh", "-c", {STEADY!r}], ready_line="ready",
                      pid_file=folder / name)
                for name in ("one", "two")
            ]
            supervisor = Supervisor(children, print)
            await supervisor.start()
            (folder / "all").touch()
            await supervisor.wait()

        asyncio.run(main())
        """
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    try:
        wait_for("all children", (tmp_path / "all").exists)
        processes = [int((tmp_path / name).read_text()) for name in ("one", "two")]
        assert all(map(alive, processes))
    finally:
        supervisor.kill()
        supervisor.wait()
    wait_for("the children's end", lambda: not any(map(alive, processes)))
