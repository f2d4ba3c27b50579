# SPDX-License-Identifier: Apache-2.0
"""The documentation's recipe for DPoP, by openssl and curl, with a real server."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from keyfob.cli.installation import Installation
from tests.cli.commands import Shell

PAGE = Path(__file__).parents[2] / "docs" / "proof-of-possession.md"


def test_the_recipe_gets_a_token_that_is_bound_to_its_key(
    serving: Installation, online: Shell, tmp_path: Path
) -> None:
    blocks = re.findall(r"<!-- recipe: (\w+) -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["key", "proof", "token"]
    written = "https://localhost:8443"
    script = "set -eu\n" + "".join(block for _, block in blocks)
    assert script.count(written) == 1
    script = script.replace(written, serving.settings.server.issuer).replace("dev1", "dpop-recipe")
    secret = online.secret("dpop-recipe", "--dpop")
    (tmp_path / "keyfob-data").symlink_to(serving.directory)
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env=os.environ
        | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SECRET": secret},
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert document["token_type"] == "DPoP"
    payload = document["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert set(claims["cnf"]) == {"jkt"}
