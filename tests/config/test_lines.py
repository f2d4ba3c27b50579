# SPDX-License-Identifier: Apache-2.0
"""Every key of a TOML document is found on the line where it is written."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyfob.config.lines import locate
from tests.config.toml_writer import TABLES, Path, Table, Writer


@st.composite
def documents(draw: Any) -> tuple[Table, Writer]:
    table = draw(TABLES)
    writer = Writer(draw)
    writer.root(table)
    return table, writer


@given(documents())
def test_every_key_is_found_on_its_line(document: tuple[Table, Writer]) -> None:
    table, writer = document
    assert tomllib.loads(writer.text) == table
    assert locate(writer.text) == writer.lines


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for name, one in inner:
        yield from paths(one, (*path, name))


PIECES = st.sampled_from(
    [
        *("a", "b", "'c d'", '"e\\"f"', ".", " ", "\n", "\r\n", "= ", "[", "]", "[[", "]]", "{"),
        *("}", ",", "# x\n", "1", "-1.5e3", "true", "nan", "1979-05-27 07:32:00", "07:32:00.5"),
        *("0xAF", '"""', "'''", '"', "'", "\\", "a = 1\n", "[a]\n", "[[b]]\n", "[b.c]\n"),
        *("x = [\n", 'y = """\n', '"""\n', "z = {q = 1}\n", "[[b.d]]\n", "''", '""', "'''\n'''\n"),
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_what_tomllib_accepts_is_located_whole(text: str) -> None:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = locate(text)
    assert set(found) == set(paths(table))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def test_a_document_as_people_write_them() -> None:
    text = '''\
# first
top = """
[no.table]
x = 1
"""

[server]   # here
port = 1
tls.cert = 'a # b'
list = [
  1,  # one
  [2,
   3],
]
[[issuer]]
name = "a"
when = 1979-05-27 07:32:00 # a date
[issuer.introspection]
use = "always"
[[issuer.policy]]
row = {a = 1, "b.c" = [{d = 2}]}
[[issuer.policy]]
[[issuer]]
[[issuer.policy]]
row = """""x"""""
last = 1'''
    assert locate(text) == {
        ("top",): 2,
        ("server",): 7,
        ("server", "port"): 8,
        ("server", "tls"): 9,
        ("server", "tls", "cert"): 9,
        ("server", "list"): 10,
        ("server", "list", 0): 11,
        ("server", "list", 1): 12,
        ("server", "list", 1, 0): 12,
        ("server", "list", 1, 1): 13,
        ("issuer",): 15,
        ("issuer", 0): 15,
        ("issuer", 0, "name"): 16,
        ("issuer", 0, "when"): 17,
        ("issuer", 0, "introspection"): 18,
        ("issuer", 0, "introspection", "use"): 19,
        ("issuer", 0, "policy"): 20,
        ("issuer", 0, "policy", 0): 20,
        ("issuer", 0, "policy", 0, "row"): 21,
        ("issuer", 0, "policy", 0, "row", "a"): 21,
        ("issuer", 0, "policy", 0, "row", "b.c"): 21,
        ("issuer", 0, "policy", 0, "row", "b.c", 0): 21,
        ("issuer", 0, "policy", 0, "row", "b.c", 0, "d"): 21,
        ("issuer", 0, "policy", 1): 22,
        ("issuer", 1): 23,
        ("issuer", 1, "policy"): 24,
        ("issuer", 1, "policy", 0): 24,
        ("issuer", 1, "policy", 0, "row"): 25,
        ("issuer", 1, "policy", 0, "last"): 26,
    }
