# SPDX-License-Identifier: Apache-2.0
"""What `keyfob pub` and `keyfob sub` cannot do is said by name, before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Shell

PUB = ("pub", "-t", "a", "-m", "b", "--client-id", "d", "--issuer", "https://localhost:1")
SUB = ("sub", "-t", "a", "--client-id", "d", "--issuer", "https://localhost:1")


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEYFOB_CLIENT_SECRET", "secret")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("-P", "eyJsecret"), "the token takes this place"),
        (("--pw", "eyJsecret"), "the token takes this place"),
        (("--psk", "00"), "--psk"),
        (("--psk-identity", "x"), "--psk-identity"),
        (("--proxy", "socks5h://x"), "--proxy"),
        (("--unix", "/x"), "--unix"),
        (("-S",), "SRV"),
        (("--keyform", "engine"), "--keyform"),
        (("--tls-engine", "x"), "--tls-engine"),
        (("--tls-engine-kpass-sha1", "x"), "kpass"),
        (("-V", "mqttv31"), "mqttv31"),
        (("--tls-version", "tlsv1.1"), "tlsv1.1"),
        (("--carry", "pigeon"), "carry"),
        (("--carry", "username", "-u", "x"), "leave -u out"),
        (("-u", "x", "--carry", "username"), "leave -u out"),
        (("-V", "311", "-x", "5"), "MQTT 5"),
        (("-V", "311", "-D", "connect", "user-property", "a", "b"), "MQTT 5"),
        (("-V", "311", "--carry", "auth:OAUTH2-JWT"), "MQTTv5"),
        (("--carry", "header"), "websockets"),
        (("-x", "-2"), "-x"),
        (("-i", "a", "-I", "b"), "-I"),
        (("--will-payload", "x"), "--will-topic"),
        (("--will-topic", "a/#"), "wildcard"),
        (("-L", "http://x/y"), "-L"),
        (("-L", "mqtt://u:p@x/y"), "no name and password"),
        (("-L", "mqtt://x/y", "-h", "z"), "-L"),
        (("--broker", "mqtt://x", "-p", "1"), "--broker"),
        (("--cafile", "/nonexistent"), "/nonexistent"),
        (("--key", "/nonexistent", "-p", "8883"), "certificate"),
        (("--profile", "x"), "--profile"),
        (("--token-file", "x"), "--token-file"),
        (("-D", "connect", "authentication-data", "x"), "--carry"),
        (("-D", "puback", "user-property", "a", "b"), "properties go into"),
        (("-q", "3"), "-q"),
    ],
)
def test_what_is_not_offered_is_refused_by_its_name(
    shell: Shell, option: tuple[str, ...], word: str
) -> None:
    outcome = shell.plain(*PUB, *option)
    assert outcome.code == 2, outcome
    assert word in outcome.err
    assert outcome.err.count("\n") == 1
    assert "eyJsecret" not in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pub", "-t", "a", "--client-id", "d"), "one of -m, -f, -l, -n and -s"),
        (("pub", "-t", "a", "-m", "b", "-n", "--client-id", "d"), "one of -m, -f, -l, -n and -s"),
        (("pub", "-m", "b", "--client-id", "d"), "topic"),
        (("pub", "-t", "a/+", "-m", "b", "--client-id", "d"), "wildcard"),
        (("pub", "-t", "a", "-l", "--repeat", "2", "--client-id", "d"), "--repeat"),
        ((*PUB[:3], "-f", "/nonexistent", *PUB[5:]), "/nonexistent"),
        (("pub", "-t", "a", "-m", "b", "--device", "d"), "--client-id"),
        (("pub", "-t", "a", "-m", "b"), "keyfob login --profile default"),
        ((*PUB, "-I", "p", "-c", "--client-secret", "the secret itself"), "file:PATH"),
        (("sub", "--client-id", "d"), "-t"),
        ((*SUB, "-t", "a#"), "topic"),
        ((*SUB, "-P", "x"), "the token takes this place"),
        ((*SUB, "-D", "publish", "content-type", "x"), "properties go into"),
        ((*SUB, "-F", "%y"), "%y"),
        ((*SUB, "-R", "--retained-only"), "--retained-only"),
        ((*SUB, "-T", "a#"), "topic"),
        ((*SUB, "--random-filter", "0"), "random-filter"),
    ],
)
def test_what_does_not_fit_together_is_misuse(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    outcome = shell.plain(*words)
    assert outcome.code == 2, outcome
    assert said in outcome.err
    assert "itself" not in outcome.err or "never stands here itself" in outcome.err


def test_a_token_over_a_wire_that_others_read_is_told(shell: Shell) -> None:
    outcome = shell.plain(*PUB, "-h", "broker.invalid")
    assert "without TLS" in outcome.err
    assert "without TLS" not in shell.plain(*PUB, "-h", "localhost").err
    assert "without TLS" not in shell.plain(*PUB, "-h", "broker.invalid", "-p", "8883").err


@pytest.mark.parametrize("command", ["pub", "sub"])
def test_a_shell_can_complete_its_flags(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("_KEYFOB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"keyfob {command} --will-")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        shell.plain()
    words = shell.capture.readouterr().out.split()
    assert words == ["--will-topic", "--will-payload", "--will-qos", "--will-retain"]


@pytest.mark.parametrize("command", ["pub", "sub"])
def test_who_says_nothing_about_whose_token_it_is_is_told_both_ways(
    shell: Shell, command: str
) -> None:
    words = (command, "-t", "a", *(("-m", "b") if command == "pub" else ()))
    outcome = shell(*words)
    assert outcome.code == 2
    assert "keyfob login --profile default" in outcome.err
    assert "--client-id" in outcome.err
    named = shell(*words, "--profile", "x")
    assert (named.code, "--client-id" in named.err) == (2, False)
