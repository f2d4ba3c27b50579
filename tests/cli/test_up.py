# SPDX-License-Identifier: Apache-2.0
"""`keyfob up` as a person meets it: what it says, what stops it, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.build import build_plugin
from keyfob.cli.initialising import renew
from keyfob.cli.installation import Installation
from keyfob.config import load
from tests.cli.commands import KEYFOB, Program, Shell, alive, started, wait_for

RUNNING = "running; Ctrl-C"
PARTS = ("server", "guard", "mosquitto")


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, compiled once."""
    return build_plugin(tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def built(installation: Installation, plugin: Path) -> Installation:
    """An installation that need not compile anything."""
    folder = installation.settings.mosquitto.directory
    folder.mkdir()
    shutil.copy(plugin, folder)
    return installation


def up(installation: Installation, log: Path, *arguments: str) -> AbstractContextManager[Program]:
    return started(log, "up", "--dir", str(installation.directory), *arguments)


def processes(installation: Installation) -> dict[str, int]:
    """The process ids of the parts that run."""
    found = {}
    for name in PARTS:
        path = installation.directory / "run" / f"{name}.pid"
        if path.exists():
            found[name] = int(path.read_text())
    return found


def answers(installation: Installation) -> bool:
    server = installation.settings.server
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(installation.directory / "ca.pem"),
         f"{server.issuer}/.well-known/oauth-authorization-server"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode == 0 and json.loads(done.stdout)["issuer"] == server.issuer


def end(program: Program, number: signal.Signals) -> None:
    """Stop it as a person does; it must end in order."""
    program.process.send_signal(number)
    assert program.wait() == 0, program.output()
    assert "Traceback" not in program.output()
    assert "keyfob     | stopping" in program.output()


# Misuse: one line, exit code 2, nothing started


def test_without_mosquitto_it_says_what_to_install(shell: Shell) -> None:
    path = shell.directory / "keyfob.toml"
    path.write_text(path.read_text() + 'program = "no-such-mosquitto"\n')
    outcome = shell("up")
    assert outcome.code == 2
    assert "apt-get install mosquitto" in outcome.err
    assert f"mosquitto.program in {path}" in outcome.err
    assert shell("up", "--json").json["error"] == "config_invalid"


def test_without_a_compiler_it_says_what_to_install(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    outcome = shell("up")
    assert outcome.code == 2
    assert "apt install gcc" in outcome.err


def test_a_taken_port_is_named_before_anything_starts(shell: Shell) -> None:
    path = shell.directory / "keyfob.toml"
    port = load(path).mosquitto.port
    with socket.create_server(("127.0.0.1", port)):
        outcome = shell("up")
    assert outcome.code == 2
    assert f"port {port} is taken" in outcome.err
    assert "systemctl disable --now mosquitto" in outcome.err
    assert f"change mosquitto.port in {path}" in outcome.err


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('issuer = "https:', 'issuer = "ftp:', "server.issuer: is not https"),
        ('audience = ["mqtt"]', 'audience = ["mqtt"]\nalgorithms = ["HS256"]', "HS256"),
        ("file:guard.secret", "file:nowhere.secret", "nowhere.secret"),
        ("[guard]", 'certificate = "nowhere.pem"\n[guard]', "server.certificate: cannot be read"),
    ],
)
def test_what_a_part_would_refuse_is_refused_at_once_with_the_files_name(
    shell: Shell, old: str, new: str, word: str
) -> None:
    path = shell.directory / "keyfob.toml"
    path.write_text(path.read_text().replace(old, new))
    outcome = shell("up")
    assert outcome.code == 2
    assert word in outcome.err
    assert str(path) in outcome.err


def test_a_part_that_ends_at_once_ends_everything_and_its_own_words_are_shown(
    built: Installation, tmp_path: Path
) -> None:
    path = built.settings.path
    (built.directory / "empty.pem").touch()
    path.write_text(path.read_text().replace("[guard]", 'certificate = "empty.pem"\n[guard]'))
    with up(built, tmp_path / "log") as program:
        assert program.wait() == 2
        assert "server     | keyfob: " in program.output()
        assert "empty.pem" in program.output()
        assert "server ended with status 2 before it was ready" in program.output()
    assert processes(built) == {}


# Running


def test_the_demonstration_shows_everything_and_no_secret(tmp_path: Path) -> None:
    done = subprocess.run(
        [*KEYFOB, "up", "--dir", str(tmp_path / "new"), "--ports", "auto", "--demo", "--once",
         "--json"],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ready = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert set(ready) == {"issuer", "token_endpoint", "ca", "mqtt", "mqtts"}
    assert ready["token_endpoint"] == f"{ready['issuer']}/oauth2/token"
    assert set(ready["mqtt"]) == set(ready["mqtts"]) == {"host", "port"}
    assert Path(ready["ca"]).exists()
    told = [line for line in done.stderr.splitlines() if line.startswith("demo ")]
    assert "all of it behaved as it must" in told[-1]
    for words in (
        "demo-display received 21.5",
        "refused: Warning: Publish 1 failed: Not authorized.",
        "the token ended, and the connection with it",
        "demo-sleeper received 22.0: nothing was lost",
        "its connection ended after",
    ):
        assert any(words in line for line in told), words
    assert "(client_id_mismatch)" in done.stderr
    assert not re.search(r"eyJ\w{8}|kfs_\w", done.stderr)


def test_it_says_where_everything_is_and_a_second_one_is_refused(
    built: Installation, shell: Shell, tmp_path: Path
) -> None:
    with up(built, tmp_path / "log") as program:
        program.until(RUNNING)
        settings = built.settings
        for words in (
            f"tokens   {settings.server.issuer}/oauth2/token",
            f"broker   mqtts://localhost:{settings.mosquitto.port}",
            f"mqtt://127.0.0.1:{settings.mosquitto.plain_port}",
            "ca.pem",
            f"--dir {built.directory}",
        ):
            assert words in program.output()
        outcome = shell("up")
        assert outcome.code == 2
        assert f"(process {program.process.pid})" in outcome.err
        assert answers(built)
        running = processes(built)
        assert set(running) == set(PARTS)
        # Ctrl-C: a terminal sends it to every process of its foreground group.
        os.killpg(program.process.pid, signal.SIGINT)
        assert program.wait() == 0
        output = program.output()
        assert "Traceback" not in output
        assert "starting it again" not in output, "the parts are stopped one by one"
        assert output.index("stopping") < output.index("Saving in-memory database")
        assert not any(map(alive, running.values()))
        assert processes(built) == {}


def test_ctrl_c_while_it_starts_or_demonstrates_is_heeded_at_once(
    built: Installation, tmp_path: Path
) -> None:
    with up(built, tmp_path / "log", "--demo") as program:
        program.until("mosquitto_sub")
        end(program, signal.SIGINT)
    assert processes(built) == {}
    with up(built, tmp_path / "log") as program:
        program.until("server     | ready at")
        end(program, signal.SIGTERM)
    assert processes(built) == {}


def test_it_can_be_used_again_after_everything_was_killed(
    built: Installation, tmp_path: Path
) -> None:
    with up(built, tmp_path / "log") as program:
        program.until(RUNNING)
        parts = processes(built)
        for process in (program.process.pid, *parts.values()):
            os.kill(process, signal.SIGKILL)
        program.wait()
    with up(built, tmp_path / "log") as program:
        program.until(RUNNING)
        # Now only the one at the top: what it started ends by itself, and is waited for.
        program.process.kill()
        program.wait()
    with up(built, tmp_path / "log") as program:
        program.until(RUNNING)
        assert answers(built)
        end(program, signal.SIGTERM)


def test_it_goes_on_when_nobody_reads_what_it_prints(built: Installation, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (tmp_path / "errors").open("w+b") as errors:
        process = subprocess.Popen(
            [*KEYFOB, "up", "--dir", str(built.directory)],
            stdin=subprocess.DEVNULL, stdout=writing, stderr=errors,
        )  # fmt: skip
        os.close(writing)
        try:
            os.read(reading, 1)
            os.close(reading)
            wait_for("all parts", lambda: len(processes(built)) == len(PARTS))
            wait_for("an answer", lambda: answers(built))
            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        assert b"Traceback" not in errors.read()


def test_a_renewed_certificate_reaches_the_broker_by_sighup(
    built: Installation, tmp_path: Path
) -> None:
    def shown(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    ports = built.settings.server.port, built.settings.mosquitto.port
    with up(built, tmp_path / "log") as program:
        program.until(RUNNING)
        old = shown(ports[0])
        assert shown(ports[1]) == old
        built.settings.server.certificate.unlink()
        renew(built)
        for name in ("server", "mosquitto"):
            os.kill(processes(built)[name], signal.SIGHUP)
        wait_for("the new certificate", lambda: old not in (shown(ports[0]), shown(ports[1])))
        assert shown(ports[0]) == shown(ports[1])
        end(program, signal.SIGHUP)
