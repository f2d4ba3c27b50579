# SPDX-License-Identifier: Apache-2.0
"""`keyfob audit`: who changed what, from the command line too."""

from __future__ import annotations

from keyfob.server.admin_trail import os_user
from tests.cli.commands import Shell


def test_what_was_typed_is_told_with_who_typed_it(shell: Shell) -> None:
    secret = shell.secret("dev1")
    shell.ok("device", "disable", "dev1")
    shell.ok("application", "add", "gateway")
    assert shell("device", "add", "dev1").code == 2
    lines = shell.json("audit")
    assert [(line["action"], line["subject"], line["result"]) for line in lines] == [
        ("guard.add", "keyfob-guard", "done"),
        ("device.add", "dev1", "done"),
        ("device.disable", "dev1", "done"),
        ("application.add", "gateway", "done"),
        ("device.add", "dev1", "conflict"),
    ]
    assert {line["actor"] for line in lines} == {os_user()}
    assert all(line["at"].endswith("Z") for line in lines)
    assert secret not in shell.ok("audit").out


def test_one_client_and_the_last_lines_can_be_asked_for(shell: Shell) -> None:
    for name in ("dev1", "dev2"):
        shell.secret(name)
    head, *rows = shell.ok("audit", "dev1").out.splitlines()
    assert head.split() == ["TIME", "WHO", "WHAT", "ID", "RESULT", "DETAIL"]
    assert [row.split()[-3:] for row in rows] == [["device.add", "dev1", "done"]]
    assert len(shell.json("audit", "--last", "1")) == 1
    assert shell.ok("audit", "nobody").out == "nothing was changed\n"
