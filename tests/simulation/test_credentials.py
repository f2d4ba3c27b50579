# SPDX-License-Identifier: Apache-2.0
"""Files of names and secrets: what is read, and what each fault says without the secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.simulation.credentials import read_credentials
from keyfob.simulation.plan import Credential

SECRET = "a-secret-that-nobody-may-see"


@pytest.mark.parametrize("name", ["device", "client_id"])
@pytest.mark.parametrize("secret", ["secret", "client_secret"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_both_formats_are_read_under_either_name(
    tmp_path: Path, name: str, secret: str, ending: str
) -> None:
    file = tmp_path / f"secrets.{ending}"
    if ending == "csv":
        file.write_text(f"{name},other,{secret}\na,x,1\nb,y,2\nc,z,3\n", encoding="utf-8")
    else:
        rows = [{name: each, secret: str(number)} for number, each in enumerate("abc", start=1)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    first = read_credentials(file, 2)
    assert [(each.client_id, each.secret) for each in first] == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"device,secret\na,{SECRET}\na,{SECRET}\n", "was there already"),
        (f"device,secret\n,{SECRET}\nb,{SECRET}\n", "line 2"),
        ("device,secret\na,\nb,x\n", "line 2"),
        (f"name,secret\na,{SECRET}\nb,{SECRET}\n", "line 2"),
        (f"device,secret\na,{SECRET}\n", "too many"),
        ("", "too many"),
        (f"{{}}\n{SECRET}\n", "line 1"),
        (f'["{SECRET}"]\n', "line 1"),
        ("[" * 100_000, "line 1"),
        (f'{{"device": 1, "secret": "{SECRET}"}}\n', "line 1"),
    ],
)
def test_what_is_no_such_file_is_named_without_a_secret(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / ("rows.jsonl" if text[:1] in {"{", "["} else "rows.csv")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as caught:
        read_credentials(file, 2)
    assert SECRET not in caught.value.message
    with pytest.raises(ConfigError, match="No such file"):
        read_credentials(tmp_path / "nowhere.csv", 1)


@given(data=st.binary(max_size=300), ending=st.sampled_from(["csv", "jsonl"]))
def test_no_bytes_end_in_anything_but_credentials_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
) -> None:
    file = tmp_path_factory.getbasetemp() / f"any.{ending}"
    file.write_bytes(b"device,secret\n" + data if ending == "csv" else data)
    try:
        (found,) = read_credentials(file, 1)
    except ConfigError:
        return
    assert found.client_id
    assert found.secret


def test_a_credential_shows_no_secret() -> None:
    assert SECRET not in repr(Credential(client_id="a", secret=SECRET))
