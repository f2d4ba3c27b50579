# SPDX-License-Identifier: Apache-2.0
"""Every error is one line or one JSON document, with an exit code, and no secret in it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import keyfob
from keyfob.cli.failures import report, without_secrets
from keyfob.errors import ConfigError, MalformedTokenError, UpstreamError
from tests.cli.commands import KEYFOB, Shell

# As long as real ones are: too long for a name.
TOKEN = f"eyJhbGciOiJFUzI1NiJ9.eyJzdWIi{'x' * 200}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("--nonsense",),
        ("device", "nonsense"),
        ("device", "add"),
        ("device", "add", "a", "b"),
        ("device", "add", "a", "--lifetime", "long"),
        ("device", "list", "--dir"),
        ("explain", "--token", "x", "--client-id", "x", "fly", "a"),
        ("explain", "publish", "a"),
        ("token",),
        ("inspect",),
        ("up", "--ports", "some"),
    ],
)
def test_misuse_ends_with_2_and_one_line_that_says_where_to_read_on(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    outcome = shell.plain(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("keyfob: ")
    assert outcome.err.count("\n") == 1
    assert "--help` tells more (usage)" in outcome.err
    as_json = shell.plain(*arguments, "--json")
    assert as_json.code == 2
    assert as_json.err == ""
    assert set(as_json.json) == {"error", "message"}


@pytest.mark.parametrize(
    "group", [(), ("device",), ("application",), ("operator",), ("config",), ("mosquitto",)]
)
def test_a_command_group_alone_shows_its_help_and_is_misuse(
    shell: Shell, group: tuple[str, ...]
) -> None:
    outcome = shell.plain(*group)
    assert outcome.code == 2
    assert "Usage:" in outcome.out + outcome.err


@pytest.mark.parametrize("group", [(), ("device",), ("application",), ("config",), ("mosquitto",)])
def test_what_a_command_does_fits_on_its_line(shell: Shell, group: tuple[str, ...]) -> None:
    listed = shell.plain(*group, "--help").out.partition("Commands:")[2]
    assert listed.strip()
    assert "..." not in listed


@pytest.mark.parametrize("command", [(), ("up",), ("device", "add"), ("explain",)])
def test_help_is_no_misuse(shell: Shell, command: tuple[str, ...]) -> None:
    outcome = shell.plain(*command, "--help")
    assert outcome.code == 0
    assert "Usage:" in outcome.out


def test_the_version_is_told(shell: Shell) -> None:
    outcome = shell.plain("--version")
    assert (outcome.code, outcome.out) == (0, f"keyfob {keyfob.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "x", TOKEN),
        ("explain", "--token", "x", "--client-id", "x", TOKEN, "a"),
        ("device", "add", "d", TOKEN),
        ("device", "show", TOKEN),
        ("device", "add", TOKEN),
        ("device", "add", "d", "--publish", TOKEN + "/#/"),
        ("device", "add", "kfs_c2VjcmV0"),
        ("device", "add", "d", "--secret", "kfs_c2VjcmV0"),
        ("device", "add", "d", "kfs_c2VjcmV0"),
        ("token", "--client-id", "d", "kfs_c2VjcmV0"),
        (TOKEN,),
    ],
)
def test_no_token_or_secret_is_repeated_in_an_error(
    shell: Shell, arguments: tuple[str, ...]
) -> None:
    for more in ((), ("--json",)):
        outcome = shell(*arguments, *more)
        assert outcome.code == 2, outcome
        for secret in ("c2lnbmF0dXJl", "eyJzdWIi", "c2VjcmV0"):
            assert secret not in outcome.out + outcome.err


def test_text_without_secrets_keeps_the_rest() -> None:
    text = f"got {TOKEN} and kfs_abc-DEF_123, both"
    assert without_secrets(text) == "got eyJ… and kfs_…, both"


def fail(error: BaseException) -> None:
    raise error


def raised(make: Callable[[], BaseException]) -> BaseException:
    """Make an error that was raised, as those are that end a command."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whichever it is
        fail(make())
    return caught.value


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: MalformedTokenError("no token"), 1, ["no token (token_malformed)"]),
        (lambda: ConfigError("wrong"), 2, ["wrong (config_invalid)"]),
        (
            lambda: ExceptionGroup("two", [ValueError("x"), UpstreamError("no answer")]),
            2,
            ["no answer (upstream_unavailable)"],
        ),
        (
            lambda: BaseExceptionGroup("", [ExceptionGroup("", [ConfigError("deep")])]),
            2,
            ["deep (config_invalid)"],
        ),
        (lambda: PermissionError(13, "Permission denied", "/x"), 2, ["/x: Permission denied"]),
        (lambda: sqlite3.OperationalError("database is locked"), 2, ["database is locked"]),
        (lambda: ValueError(f"bad {TOKEN}"), 2, ["ValueError in fail, line", "internal_error"]),
        (lambda: subprocess.TimeoutExpired(["x", TOKEN], 1), 2, ["TimeoutExpired"]),
        (KeyboardInterrupt, 130, []),
        (typer.Abort, 130, []),
    ],
)
def test_every_error_becomes_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str],
    make: Callable[[], BaseException],
    code: int,
    words: list[str],
) -> None:
    error = raised(make)
    assert report(error, as_json=False) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == bool(words)
    for word in words:
        assert word in err
    assert "eyJ" not in err
    assert "Traceback" not in err
    assert report(error, as_json=True) == code
    out, err = capsys.readouterr()
    assert err == ""
    if words:
        assert set(json.loads(out)) == {"error", "message"}


def test_a_traceback_is_shown_to_who_asks_for_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFOB_TRACEBACK", "1")
    report(raised(lambda: ValueError("x")), as_json=False)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code"), [((), 0), (("--json",), 0), (("nobody",), 2)], ids=["text", "json", "error"]
)
def test_the_exit_code_of_a_real_process_is_the_same(
    shell: Shell, more: tuple[str, ...], code: int
) -> None:
    verb = "show" if "nobody" in more else "list"
    done = subprocess.run(
        [*KEYFOB, "device", verb, *more, "--dir", str(shell.directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (tmp_path / "errors").open("w+b") as errors:
        done = subprocess.run(
            [*KEYFOB, "device", "list", "--dir", str(shell.directory)],
            stdout=writing,
            stderr=errors,
            timeout=60,
            check=False,
        )
        os.close(writing)
        errors.seek(0)
        assert errors.read() == b""
    assert done.returncode == 0


def test_output_survives_a_terminal_that_knows_no_unicode(shell: Shell) -> None:
    done = subprocess.run(
        [*KEYFOB, "device", "show", "kfs_x", "--json", "--dir", str(shell.directory)],
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    )
    assert done.returncode == 2
    assert json.loads(done.stdout.replace(b"\\u2026", b"..."))["error"] == "not_found"
