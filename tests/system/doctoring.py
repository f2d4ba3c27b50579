# SPDX-License-Identifier: Apache-2.0
"""`keyfob doctor` as a device of an installation under test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.commands import Shell
from tests.running import Installation


class Doctor:
    """Commands at one installation, as one of its devices."""

    def __init__(self, shell: Shell, patch: pytest.MonkeyPatch, up: Installation) -> None:
        self.shell = shell
        self.patch = patch
        self.up = up
        self.secret = ""

    def device(self, name: str, *rights: str) -> str:
        """Register a device, to ask as it from now on."""
        self.secret = self.shell.secret(name, *rights)
        self.patch.setenv("KEYFOB_CLIENT_SECRET", self.secret)
        return self.secret

    def says(self, *arguments: str, code: int = 0) -> Any:
        """Ask doctor; no token and no secret is in what it says."""
        outcome = self.shell("doctor", *arguments, "--json")
        assert outcome.code == code, outcome
        for text in ("eyJ", self.secret):
            assert text not in outcome.out + outcome.err
        return outcome.json
