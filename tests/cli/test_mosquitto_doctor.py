# SPDX-License-Identifier: Apache-2.0
"""`keyfob mosquitto doctor` beside the real broker: what is broken is named, and mended by it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.build import compile_plugin
from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation, settings_of
from tests.cli.beside_mosquitto import DEVICE, PROGRAM, USER, Beside, Guards
from tests.cli.commands import KEYFOB, Shell, started
from tests.cli.conftest import FREE
from tests.free_ports import free_port

GUARD_USER = "daemon"  # every Debian has it
Break = Callable[[Beside], None]


def _why_not() -> str:
    if os.geteuid() != 0:
        return "root is needed to run Mosquitto as its own user: doctor's cures are NOT tried"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return f"there is no user {USER} on this machine: doctor's cures are NOT tried"
    return "" if PROGRAM else "there is no mosquitto on this machine: doctor's cures are NOT tried"


pytestmark = [pytest.mark.skipif(bool(_why_not()), reason=_why_not()), pytest.mark.sqlite]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that the broker's user can enter, with a server that runs and a built plugin."""
    with tempfile.TemporaryDirectory(prefix="keyfob-doctor-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        installation = initialise(folder / "data", ports=FREE)
        run = folder / "run"
        run.mkdir(mode=0o750)
        shutil.chown(run, group=USER)
        conf = installation.directory / "keyfob.toml"
        text = conf.read_text(encoding="utf-8")
        guard = f'socket = "{run}/guard.sock"\nsocket_users = ["{USER}"]\nsocket_group = "{USER}"'
        assert 'socket = "run/guard.sock"' in text
        conf.write_text(text.replace('socket = "run/guard.sock"', guard), encoding="utf-8")
        where = ("--dir", str(installation.directory))
        with started(folder / "server.log", "server", *where) as server:
            server.until("ready at")
            yield folder


@pytest.fixture(scope="module")
def built(place: Path) -> Path:
    (place / "built").mkdir()
    compile_plugin(place / "built" / "keyfob_mosquitto.so")
    return place / "built" / "keyfob_mosquitto.so"


@pytest.fixture(scope="module")
def guards(place: Path) -> Iterator[Guards]:
    made = Guards(place)
    yield made
    made.stop()


@pytest.fixture
def beside(
    place: Path,
    built: Path,
    guards: Guards,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Beside:
    """Everything right."""
    installation: Installation = settings_of(place / "data")
    shell = Shell(capsys, installation.directory)
    (place / "lib").mkdir(exist_ok=True)
    shutil.copy(built, place / "lib")
    token = place / "token"
    if not token.exists():
        monkeypatch.setenv(
            "KEYFOB_CLIENT_SECRET", shell.secret(DEVICE, "--publish", f"devices/{DEVICE}/#")
        )
        token.write_text(shell.ok("token", "--client-id", DEVICE).out.strip(), encoding="utf-8")
    made = Beside(place, installation, shell, token.read_text(encoding="utf-8"), guards)
    made.write()
    return made


def codes(findings: list[dict[str, object]]) -> list[object]:
    return [finding["code"] for finding in findings]


def test_nothing_is_wrong_where_nothing_is(beside: Beside) -> None:
    with beside.guard():
        assert beside.findings(code=0) == []
        assert beside.comes_in()
        assert not beside.comes_in("a.b.c")
    beside.guards.stop()
    outcome = beside.shell(*beside.doctor)
    assert outcome.code == 1
    assert "mend: start it: `keyfob guard --dir" in outcome.out


def _changed(old: str, new: str) -> Break:
    return lambda beside: beside.change(old, new)


def _added(*lines: str) -> Break:
    def change(beside: Beside) -> None:
        with beside.conf.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    return change


def _patched(at: int, byte: int) -> Break:
    def change(beside: Beside) -> None:
        content = bytearray(beside.plugin.read_bytes())
        content[at] = byte
        beside.plugin.write_bytes(content)

    return change


SOCKET = "plugin_opt_guard_socket "
NO_START: dict[str, tuple[Break, str]] = {
    "an option with a typing error": (
        _changed("opt_guard_timeout_ms", "opt_guard_timeout_msec"),
        "option_invalid",
    ),
    "a number that is none": (_changed("timeout_ms 5000", "timeout_ms soon"), "option_invalid"),
    "a number out of its range": (_changed("timeout_ms 5000", "timeout_ms 0"), "option_invalid"),
    "decisions that there are not": (
        _changed("guard_timeout_ms 5000", "decisions sometimes"),
        "option_invalid",
    ),
    "a user that there is not": (
        _changed("guard_timeout_ms 5000", "guard_users nobody-of-that-name"),
        "option_invalid",
    ),
    "the plugin is not there": (lambda beside: beside.plugin.unlink(), "plugin_missing"),
    "the plugin is for root alone": (lambda b: b.plugin.chmod(0o700), "plugin_unreadable"),
    "the plugin is something else": (
        lambda beside: void(beside.plugin.write_bytes(b"#!/bin/sh\n")),
        "plugin_not_one",
    ),
    "the plugin is for another machine": (_patched(18, 243), "plugin_other_machine"),
}


def void(_: object) -> None:
    """Take what a call returns."""


@pytest.mark.parametrize("name", NO_START)
def test_what_keeps_the_broker_from_starting_is_named_and_mended(name: str, beside: Beside) -> None:
    broken, code = NO_START[name]
    with beside.guard():
        broken(beside)
        assert not beside.starts()
        findings = beside.findings()
        assert codes(findings) == [code]
        beside.mend(findings)
        assert beside.findings(code=0) == []
        assert beside.comes_in()


REFUSED: dict[str, tuple[Break, str]] = {
    "a blank behind the socket's path": (
        lambda beside: beside.change("guard.sock\n", "guard.sock \n"),
        "option_blank_behind",
    ),
    "packets smaller than a token": (_added("max_packet_size 200"), "max_packet_size"),
    "the socket's folder is shut": (
        lambda beside: beside.socket.parent.chmod(0o700),
        "socket_unreachable",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keeps_devices_out_is_named_and_mended(name: str, beside: Beside) -> None:
    broken, code = REFUSED[name]
    with beside.guard():
        broken(beside)
        assert not beside.comes_in()
        findings = beside.findings()
        assert codes(findings)[:1] == [code]
        beside.mend(findings)
        assert beside.findings(code=0) == []
        assert beside.comes_in()


RISKS: dict[str, tuple[Break, list[str]]] = {
    "strangers are allowed": (
        _changed("allow_anonymous false", "allow_anonymous true"),
        ["anonymous_allowed"],
    ),
    "tokens as client identifiers": (
        _added("use_username_as_clientid true"),
        ["username_as_clientid"],
    ),
    "certificates instead of tokens": (
        _added("use_identity_as_username true", "use_subject_as_username 1"),
        ["identity_as_username", "identity_as_username"],
    ),
    "retained messages are checked again": (
        _added("check_retain_source true"),
        ["check_retain_source"],
    ),
    "a file that nobody asks": (_added("acl_file /dev/null"), ["other_file"]),
}


@pytest.mark.parametrize("name", RISKS)
def test_what_works_and_should_not_stand_there_is_named_and_mended(
    name: str, beside: Beside
) -> None:
    broken, expected = RISKS[name]
    with beside.guard():
        broken(beside)
        findings = beside.findings()
        assert codes(findings) == expected
        beside.mend(findings)
        assert beside.findings(code=0) == []
        assert beside.comes_in()


def test_rules_of_each_listener_leave_the_plugin_out_of_the_next(beside: Beside) -> None:
    with beside.guard():
        beside.change("settings false\n", f"settings true\nlistener {free_port()} 127.0.0.1\n")
        _added("allow_anonymous true")(beside)
        with beside.broker():
            assert beside.publishes("") == "", "the stranger is out: what is there to mend?"
        findings = beside.findings()
        assert {"listener_without_plugin", "anonymous_allowed"} <= set(codes(findings))
        beside.mend(findings)
        assert beside.findings(code=0) == []
        assert beside.comes_in()
        with beside.broker():
            assert beside.publishes("") != ""


def test_another_prefix_of_assigned_identifiers(beside: Beside) -> None:
    with beside.guard():
        beside.change("allow_anonymous", "auto_id_prefix thing-\nallow_anonymous")
        findings = beside.findings()
        assert codes(findings) == ["auto_id_prefix_differs"]
        line = findings[0]["mend"].split("`")[1]
        beside.change(
            "plugin_opt_guard_timeout_ms 5000", f"plugin_opt_guard_timeout_ms 5000\n{line}"
        )
        assert beside.findings(code=0) == []
        assert beside.comes_in()


def test_a_guard_that_is_not_there_and_one_that_was_killed(beside: Beside) -> None:
    beside.guards.stop()
    assert not beside.comes_in()
    assert codes(beside.findings()) == ["socket_missing"]
    with beside.guard() as guard:
        assert beside.findings(code=0) == []
        guard.process.kill()
        guard.wait()
        assert not beside.comes_in()
        assert codes(beside.findings()) == ["socket_refused"]
    with beside.guard():
        assert beside.findings(code=0) == []
        assert beside.comes_in()


def test_a_guard_that_does_not_expect_the_brokers_user(beside: Beside) -> None:
    conf = beside.installation.directory / "keyfob.toml"
    right = conf.read_text(encoding="utf-8")
    line = f'socket_users = ["{USER}"]'
    assert line in right
    beside.guards.stop()
    try:
        conf.write_text(right.replace(line, ""), encoding="utf-8")
        with beside.guard():
            assert not beside.comes_in()
            findings = beside.findings()
            assert codes(findings) == ["broker_user_unexpected"]
            assert line in findings[0]["mend"]
    finally:
        conf.write_text(right, encoding="utf-8")
        beside.guards.stop()
    with beside.guard():
        assert beside.comes_in()


def test_a_guard_of_another_user_that_the_plugin_does_not_expect(beside: Beside) -> None:
    """As in examples/systemd: a user of its own, whose group is Mosquitto's."""
    become = ["setpriv", "--reuid", GUARD_USER, "--regid", USER, "--init-groups"]
    reads = subprocess.run([*become, *KEYFOB, "--version"], capture_output=True, check=False)
    if reads.returncode != 0:
        pytest.skip(f"{GUARD_USER} cannot read this clone: a guard of another user is NOT tried")
    beside.guards.stop()
    subprocess.run(["chown", "-R", GUARD_USER, str(beside.folder / "data")], check=True)
    shutil.chown(beside.socket.parent, user=GUARD_USER)
    try:
        beside.guards.start(user=GUARD_USER, group=USER)
        assert not beside.comes_in()
        findings = beside.findings()
        assert codes(findings) == ["guard_user_unexpected"]
        line = findings[0]["mend"].split("`")[1]
        assert line == f"plugin_opt_guard_users {GUARD_USER}"
        beside.change("plugin_opt_guard_timeout_ms", f"{line}\nplugin_opt_guard_timeout_ms")
        assert beside.findings(code=0) == []
        assert beside.comes_in()
    finally:
        beside.guards.stop()
        subprocess.run(["chown", "-R", "root", str(beside.folder / "data")], check=True)
        shutil.chown(beside.socket.parent, user="root")


def test_a_socket_that_is_not_the_guards(beside: Beside) -> None:
    with beside.guard():
        beside.change(str(beside.socket), f"{beside.socket}.old")
        assert not beside.comes_in()
        findings = beside.findings()
        assert codes(findings) == ["socket_differs", "socket_missing"]
        beside.change(f"{SOCKET}{beside.socket}.old", findings[0]["mend"].split("`")[1])
        assert beside.findings(code=0) == []
        assert beside.comes_in()


def test_a_plugin_of_another_release(beside: Beside) -> None:
    content = beside.plugin.read_bytes()
    at = content.index(b"keyfob-mosquitto-plugin wire=") + len(b"keyfob-mosquitto-plugin wire=")
    with beside.guard():
        _patched(at, ord("1"))(beside)
        findings = beside.findings()
        assert codes(findings) == ["plugin_other_release"]
        assert "do not understand each other" in findings[0]["what"]
        beside.mend(findings)
        assert beside.findings(code=0) == []


def test_a_broker_that_still_has_the_old_plugin_loaded(beside: Beside) -> None:
    with beside.guard(), beside.broker():
        beside.mend(
            [{"edit": None, "mend": f"run `keyfob mosquitto build --out {beside.plugin.parent}`"}]
        )
        assert codes(beside.findings()) == ["plugin_replaced"]


def test_a_folder_of_configurations_that_is_not_there(beside: Beside) -> None:
    _added(f"include_dir {beside.folder}/conf.d")(beside)
    assert not beside.starts()
    findings = beside.findings()
    assert codes(findings) == ["conf_unreadable"]
    assert findings[0]["file"] == f"{beside.folder}/conf.d"
    (beside.folder / "conf.d").mkdir()
    try:
        assert beside.starts()
    finally:
        (beside.folder / "conf.d").rmdir()


@pytest.mark.parametrize("lines", [["allow_anonymous no"], ["use_username_as_clientid yes"]])
def test_a_line_that_mosquitto_does_not_take(lines: list[str], beside: Beside) -> None:
    with beside.guard():
        _added(*lines)(beside)
        assert not beside.starts()
        findings = beside.findings()
        assert codes(findings) == ["conf_invalid"]
        assert findings[0]["file"] == str(beside.conf)


def test_an_option_before_its_plugin(beside: Beside) -> None:
    with beside.guard():
        beside.change("per_listener", "plugin_opt_broker_name x\nper_listener")
        assert not beside.starts()
        assert codes(beside.findings()) == ["conf_invalid"]
