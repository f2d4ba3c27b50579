# SPDX-License-Identifier: Apache-2.0
"""`keyfob simulate`: the same figures from any number of processes, as table, JSON and picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.commands import Shell

# Two parts, as more than one process needs.
FLEET = ("simulate", "--devices", "60000", "--lifetime", "30m", "--lifetimes", "2")

NAMED = (
    *("--real", "--issuer", "https://localhost:1", "--broker", "mqtts://localhost:1"),
    *("--credentials", "/nowhere/secrets.csv"),
)


def test_the_figures_are_the_same_in_however_many_processes(shell: Shell) -> None:
    one = shell.plain(*FLEET, "--processes", "1", "--json")
    two = shell.plain(*FLEET, "--processes", "2", "--json")
    assert one.code == 0, one
    assert one.json == two.json
    assert one.json["first_minute"] == 60_000
    assert [each["limit"] for each in one.json["lifetimes"]] == [1.8, 1.3]
    other = shell.plain(*FLEET, "--seed", "1", "--json")
    assert other.json["requests"] != one.json["requests"]


def test_a_person_sees_a_plot_and_a_picture_is_written(shell: Shell, tmp_path: Path) -> None:
    picture = tmp_path / "load.svg"
    outcome = shell.plain(*FLEET, "--interval", "20s", "--svg", str(picture))
    assert outcome.code == 0, outcome
    assert "60,000 requests of 60,000 devices in the first minute" in outcome.out
    assert "█" in outcome.out
    assert "LIFETIME  MEAN" in outcome.out
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--devices", "0"),
        ("--devices", "100000001"),
        ("--devices", "1", "--lifetime", "soon"),
        ("--devices", "1", "--lifetime", "1m"),
        ("--devices", "1", "--lifetime", "30d"),
        ("--devices", "1", "--boot", "2m"),
        ("--devices", "1", "--interval", "0"),
        ("--devices", "1", "--interval", "1h"),
        ("--devices", "1", "--svg", "/nowhere/at/all.svg"),
    ],
)
def test_what_cannot_be_simulated_is_misuse(shell: Shell, wrong: tuple[str, ...]) -> None:
    outcome = shell.plain("simulate", *wrong)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--issuer", "https://as.example"), "goes with --real"),
        (("--broker", "mqtts://b.example"), "goes with --real"),
        (("--qos", "0"), "goes with --real"),
        (("--allow-remote",), "goes with --real"),
        (("--real", "--lifetimes", "2"), "goes with the schedule alone"),
        (("--real", "--interval", "1s"), "goes with the schedule alone"),
        (("--real", "--devices", "5001"), "5,000 devices at most"),
        (("--real", "--duration", "61m"), "--duration"),
        (("--real", "--duration", "0"), "--duration"),
        (("--real", "--boot", "5m"), "--boot"),
        (("--real", "--lifetime", "4s"), "--lifetime"),
        (("--real", "--topic", "devices/all"), "{device}"),
        (("--real", "--topic", "devices/{device}/#"), "wildcard"),
        (("--real", "--carry", "header"), "--carry"),
        (("--real", "--carry", "somewhere"), "carry="),
        (("--real", "--qos", "3"), "--qos"),
        (("--real", "--renew", "never"), "never"),
        (("--real", "--publish-every", "often"), "often"),
        (("--real", "--allow-remote"), "--allow-remote"),
        (("--real", "--issuer", "https://localhost"), "name all three"),
        ((*NAMED, "--issuer", "https://as.example"), "the issuer is as.example"),
        ((*NAMED, "--broker", "mqtts://b.example"), "the broker is b.example"),
        ((*NAMED, "--broker", "mqtts://192.0.2.1:8883"), "the broker is 192.0.2.1"),
        ((*NAMED, "--broker", "mqtt://b.example", "--allow-remote"), "in the clear"),
        ((*NAMED, "--broker", "https://localhost"), "is not mqtts://HOST"),
        ((*NAMED, "--broker", "mqtts://me@localhost"), "is not mqtts://HOST"),
        ((*NAMED, "--broker", "mqtts://localhost:99999"), "is not mqtts://HOST"),
        ((*NAMED, "--lifetime", "1m"), "the server's to say"),
        (NAMED, "secrets.csv: No such file"),
    ],
)
def test_what_cannot_be_run_is_misuse_before_anything_is_sent(
    shell: Shell, wrong: tuple[str, ...], said: str
) -> None:
    outcome = shell.plain("simulate", "--devices", "2", *wrong)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.soak
def test_ten_million_devices_that_boot_together_do_not_renew_together(shell: Shell) -> None:
    outcome = shell.plain("simulate", "--devices", "10000000", "--json")
    assert outcome.code == 0, outcome
    first, *later = (each["ratio"] for each in outcome.json["lifetimes"])
    print(f"peak by mean, second by second: {first}, {later}")
    assert first <= 1.8
    assert len(later) == 3
    assert max(later) <= 1.3
