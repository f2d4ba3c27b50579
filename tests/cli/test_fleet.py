# SPDX-License-Identifier: Apache-2.0
"""`keyfob device import`, `export`, and what is done to many devices and to groups."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import KEYFOB, Shell

ROWS = """\
device,groups,labels,publish,lifetime
meter-1,meters,site=north;model=m2,,
meter-2,meters,site=south,own/{device},600
bad name,,,,
meter-1,,,,
"""


@pytest.fixture
def file(shell: Shell, tmp_path: Path) -> Path:
    """A file of two meters and two rows that are none, and their group."""
    shell.ok(
        *("group", "add", "meters", "--publish", "meters/{device}/#", "--lifetime", "900"),
    )
    (tmp_path / "fleet.csv").write_text(ROWS)
    return tmp_path / "fleet.csv"


def load(shell: Shell, file: Path) -> dict[str, str]:
    """Import the file, and return the secrets that were made."""
    out = file.with_name("secrets.csv")
    shell.ok("device", "import", str(file), "--secrets-out", str(out))
    return {row["device"]: row["secret"] for row in csv.DictReader(out.read_text().splitlines())}


def test_import_loads_what_it_can_and_says_what_it_could_not(shell: Shell, file: Path) -> None:
    out = file.with_name("s.csv")
    arguments = ("device", "import", str(file), "--secrets-out", str(out))
    answer = shell.json(*arguments)
    rejects = Path(answer["rejects"])
    assert answer == {
        "registered": 2,
        "rejected": 2,
        "rows_before": 0,
        "rejects": f"{file}.rejects.csv",
    }
    rows = list(csv.DictReader(rejects.read_text().splitlines()))
    assert [(row["row"], row["device"], row["code"]) for row in rows] == [
        ("4", "?", "config_invalid"),
        ("5", "meter-1", "conflict"),
    ]
    assert all(row["reason"] for row in rows)
    assert out.stat().st_mode & 0o777 == 0o600
    again = shell.ok(*arguments)
    assert "0 devices are registered" in again.out
    assert "4 rows were done before" in again.out
    shown = shell.json("device", "show", "meter-2")
    assert (shown["groups"], shown["labels"]) == (["meters"], {"site": "south"})
    assert shown["lifetime"] == 600
    assert shown["token_scope"] == (
        "mqtt.connect mqtt.publish:own/meter-2 mqtt.publish:meters/meter-2/#"
    )


def test_no_secret_is_printed_by_import_export_or_rotate(shell: Shell, file: Path) -> None:
    made = load(shell, file)
    assert set(made) == {"meter-1", "meter-2"}
    shown = shell.ok("device", "export").out + shell.ok("device", "list").out
    other = str(file.with_name("new.csv"))
    shown += shell.ok("device", "rotate", "--group", "meters", "--secrets-out", other).out
    assert "kfs_" not in shown


def test_what_is_exported_is_imported_elsewhere(shell: Shell, file: Path, tmp_path: Path) -> None:
    load(shell, file)
    exported = shell.ok("device", "export", "--format", "jsonl").out
    rows = [json.loads(line) for line in exported.splitlines()]
    assert [row["device"] for row in rows] == ["meter-1", "meter-2"]
    assert rows[0]["labels"] == {"model": "m2", "site": "north"}
    to = tmp_path / "out.csv"
    shell.ok("device", "export", "--label", "site=south", "--out", str(to))
    ((name, *_),) = list(csv.reader(to.read_text().splitlines()))[1:]
    assert name == "meter-2"
    other = Shell(shell.capture, tmp_path / "elsewhere")
    other.ok("init")
    other.ok("group", "add", "meters")
    other.ok("device", "import", str(to), "--secrets-out", str(tmp_path / "there.csv"))
    assert other.json("device", "show", "meter-2")["groups"] == ["meters"]


def test_a_pipe_is_read_and_written(shell: Shell, tmp_path: Path) -> None:
    command = [*KEYFOB, "device", "import", "-", "--format", "jsonl", "--secrets-out", "s.jsonl"]
    done = subprocess.run(
        [*command, "--dir", str(shell.directory)],
        input='{"device": "dev1"}\n{"device": "a b"}\n',
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=True,
    )
    assert "1 device is registered" in done.stdout
    assert "import.rejects.csv" in done.stdout
    assert json.loads((tmp_path / "s.jsonl").read_text())["device"] == "dev1"
    command = [*KEYFOB, "device", "export", "--dir", str(shell.directory)]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert [row["device"] for row in csv.DictReader(io.StringIO(text))] == ["dev1"]


def test_pages_follow_each_other(shell: Shell) -> None:
    for name in ("a", "b", "c"):
        shell.ok("device", "add", name)
    first = shell.ok("device", "list", "--limit", "2").out
    assert "more may follow: --after b" in first
    rest = shell.json("device", "list", "--limit", "2", "--after", "b")
    assert [device["client_id"] for device in rest] == ["c"]
    assert "no such devices" in shell.ok("device", "list", "--after", "c").out
    shell.ok("device", "disable", "b")
    disabled = shell.json("device", "list", "--state", "disabled")
    assert [device["client_id"] for device in disabled] == ["b"]


def test_many_are_disabled_by_a_group_a_label_or_a_file(shell: Shell, file: Path) -> None:
    load(shell, file)
    shell.ok("device", "add", "other")
    assert "1 device is disabled" in shell.ok("device", "disable", "--label", "site=north").out
    assert shell.json("device", "disable", "--group", "meters")["devices"] == 2
    names = file.with_name("names")
    names.write_text("other\nnobody\n")
    told = shell("device", "disable", "--file", str(names))
    assert told.code == 2
    assert "1 device is disabled" in told.out
    assert "1 name belongs to no device: nobody" in told.out
    assert shell.json("device", "list", "--state", "active") == []


@pytest.mark.parametrize(
    "typed",
    [
        ("disable",),
        ("disable", "dev1", "--group", "a"),
        ("disable", "--group", "a", "--file", "x"),
        ("disable", "--group", "a b"),
        ("disable", "--label", "a"),
        ("rotate", "--group", "a"),
        ("rotate", "dev1", "--secrets-out", "x"),
        ("rotate", "dev1", "--overlap", "soon"),
        ("rotate", "dev1", "--overlap", "91d"),
        ("rotate", "dev1", "--until-used"),
        ("list", "--state", "enabled"),
        ("import", "no-such-file.csv"),
        ("import", "file-without-ending"),
        ("export", "--format", "xml"),
        ("add", "dev2", "--group", "no-such"),
        ("add", "dev2", "--label", "no-label"),
        ("set", "dev1", "--group", "no-such"),
        ("set", "no-such", "--label", "a=b"),
    ],
)
def test_what_is_typed_wrong_is_misuse_and_changes_nothing(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    shell.ok("device", "add", "dev1")
    before = shell.ok("device", "export").out
    outcome = shell("device", *typed)
    assert outcome.code == 2
    assert "kfs_" not in outcome.out + outcome.err
    assert shell.ok("device", "export").out == before


def test_two_secrets_work_for_a_time_that_is_typed(shell: Shell, tmp_path: Path) -> None:
    shell.ok("device", "add", "dev1")
    answer = shell.json("device", "rotate", "dev1", "--overlap", "7d", "--until-used")
    assert answer["client_secret"].startswith("kfs_")
    out = str(tmp_path / "new.jsonl")
    (tmp_path / "names").write_text("dev1\ndev1\n")
    typed = ("device", "rotate", "--file", str(tmp_path / "names"), "--secrets-out", out)
    assert shell.json(*typed, "--overlap", "1h") == {
        "devices": 1,
        "without_secret": 0,
        "missing": 0,
        "examples": [],
    }
    assert json.loads(Path(out).read_text())["device"] == "dev1"
    assert "holds secrets already" in shell(*typed).err
    # What the command was called before.
    assert shell.json("device", "rotate-secret", "dev1")["client_secret"].startswith("kfs_")


def test_groups_are_made_shown_changed_and_removed(shell: Shell) -> None:
    assert "keyfob group add GROUP --dir" in shell.ok("group", "list").out
    shell.ok("group", "add", "meters", "--subscribe", "cmd/{device}", "--scope", "own")
    shell.ok("device", "add", "dev1", "--group", "meters", "--label", "site=1", "--pending")
    assert shell.json("device", "show", "dev1")["state"] == "pending"
    shell.ok("group", "set", "meters", "--publish", "p/{device}", "--clear", "scope")
    shown = shell.json("group", "show", "meters")
    assert shown == {
        "group": "meters",
        "publish": ["p/{device}"],
        "subscribe": ["cmd/{device}"],
        "scope": "",
        "lifetime": None,
    }
    assert [group["group"] for group in shell.json("group", "list")] == ["meters"]
    shell.ok("device", "set", "dev1", "--no-group", "meters", "--no-label", "site")
    shown = shell.json("device", "show", "dev1")
    assert (shown["groups"], shown["labels"]) == ([], {})
    assert shell.json("device", "set", "dev1", "--lifetime", "60")["lifetime"] == 60
    assert shell.json("device", "set", "dev1", "--lifetime", "0")["lifetime"] is None
    shell.ok("group", "remove", "meters")
    assert shell("group", "show", "meters").code == 2
    for typed in (("meters",), ("meters", "--clear", "nothing"), ("a", "--lifetime", "0")):
        assert shell("group", "set", *typed).code == 2


def test_keys_are_registered_with_groups_and_labels(shell: Shell, tmp_path: Path) -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    (tmp_path / "k").write_text(json.dumps(jwk))
    shell.ok("group", "add", "a")
    typed = ("device", "add", "dev1", "--jwks", str(tmp_path / "k"), "--group", "a")
    shell.ok(*typed, "--label", "x=y", "--pending")
    shown = shell.json("device", "show", "dev1")
    assert (shown["state"], shown["groups"], shown["labels"]) == ("pending", ["a"], {"x": "y"})
    assert shown["authentication"] == "private_key_jwt"
    (listed,) = shell.json("device", "list")
    assert (listed["authentication"], listed["keys"]) == (shown["authentication"], shown["keys"])
