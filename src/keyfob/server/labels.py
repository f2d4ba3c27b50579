# SPDX-License-Identifier: Apache-2.0
"""Labels, ``key=value``: what an operator notes to find devices by; they give no right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["MAX_LABELS", "check_labels", "parse_label", "parse_labels"]

MAX_LABELS: Final = 32
# The characters are those that stand in a cell of a CSV file, a shell word and a URL with no care.
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}", re.ASCII)
_VALUE: Final = re.compile(
    r"(?:[A-Za-z0-9._~:/@+-](?:[A-Za-z0-9 ._~:/@+-]{0,126}[A-Za-z0-9._~:/@+-])?)?"
)
_SECRETS: Final = ("kfs_", "eyJ")


def parse_label(text: str) -> tuple[str, str]:
    """Read one ``key=value``.

    Raises:
        ConfigError: It is none.
    """
    key, value = _cut(text)
    check_labels({key: value})
    return key, value


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Read several; what they are made of is for ``check_labels`` to say.

    Raises:
        ConfigError: One is no ``key=value``, or a key stands twice.
    """
    pairs = [_cut(text) for text in texts]
    labels = dict(pairs)
    if len(labels) != len(pairs):
        raise ConfigError("a label's key stands twice")
    return labels


def _cut(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError("a label is written key=value")
    return key, value


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse what cannot be the labels of a device.

    Raises:
        ConfigError: The message says what labels are made of; it repeats no value.
    """
    if len(labels) > MAX_LABELS:
        raise ConfigError(f"a device has {MAX_LABELS} labels at most, not {len(labels)}")
    for key, value in labels.items():
        _check_key(key)
        if not _VALUE.fullmatch(value) or value.startswith(_SECRETS):
            raise ConfigError(
                f"the value of the label {key!r} is at most 128 letters, digits, spaces and "
                ". _ ~ : / @ + - without a space at its ends"
            )


@lru_cache(maxsize=256)
def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key) or key.startswith(_SECRETS):
        raise ConfigError(
            "a label's key is letters, digits and . _ / - with a letter or digit first, at most 63 "
            "characters"
        )
