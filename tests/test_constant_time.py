# SPDX-License-Identifier: Apache-2.0
"""J19: nothing that is a secret, or proves one, is compared in a time that tells how much fits.

Time itself cannot be tested on a busy machine, so the source is: whoever compares such a value
with ``==`` instead of ``hmac.compare_digest`` is found here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "keyfob"
# Names of what proves something; not of numbers, kinds and other things about it.
PROVES = re.compile(
    r"(^|_)(secret|password|thumbprint|digest|hash|mac|signature|proof|assertion|bearer"
    r"|authorization|nonce|challenge)$"
)
# Two rows of our own register are compared there, after the secret itself was proven.
REVIEWED = {
    # Digests of tokens as keys of a dict: what fits tells nothing of the token.
    "digest in self._active.entries",
    "client.secret_hash == stored.secret_hash",
    "device.secret_hash != stored.secret_hash",
    "self.secret_hash in (client.secret_hash, client.old_hash)",
    "client.secret_hash != secret_hash",
    "proven != stored.secret_hash",
    # One person types one password twice.
    "getpass.getpass('The same again: ') != password",
}


def compared(tree: ast.AST) -> Iterator[str]:
    """Find comparisons for equality of two values of which one is named like a proof."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = (node.left, *node.comparators)
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        kinds = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
        named = any(
            PROVES.search(side.attr if isinstance(side, ast.Attribute) else side.id)
            for side in sides
            if isinstance(side, ast.Attribute | ast.Name)
        )
        if named and any(isinstance(op, kinds) for op in node.ops):
            yield ast.unparse(node)


def functions_that_call(path: str, name: str) -> set[str]:
    """Name the functions of a module that call something of that name."""
    tree = ast.parse((SOURCE / path).read_text(encoding="utf-8"))
    return {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    }


@pytest.mark.attack("J19")
def test_no_proof_is_compared_otherwise_than_in_constant_time() -> None:
    found = {
        (path.relative_to(SOURCE).as_posix(), text)
        for path in SOURCE.rglob("*.py")
        for text in compared(ast.parse(path.read_text(encoding="utf-8")))
        if text not in REVIEWED
    }
    assert found == set()


@pytest.mark.parametrize(
    "text",
    [
        "secret == other",
        "presented.secret != stored",
        "request.certificate_thumbprint == wanted",
        "x in digest",
        "header.authorization == expected",
    ],
)
def test_such_a_comparison_would_be_found(text: str) -> None:
    assert list(compared(ast.parse(text))) == [text]


@pytest.mark.parametrize(
    "text", ["secret is None", "secret == ''", "len(signature) != length", "secrets == made"]
)
def test_what_compares_no_proof_is_let_be(text: str) -> None:
    assert list(compared(ast.parse(text))) == []


@pytest.mark.attack("J19")
def test_where_proofs_are_compared_it_is_in_constant_time() -> None:
    assert functions_that_call("tokens/confirmation.py", "hmac.compare_digest") == {"check"}
    assert functions_that_call("server/credentials.py", "hmac.compare_digest") == {"verify_secret"}
