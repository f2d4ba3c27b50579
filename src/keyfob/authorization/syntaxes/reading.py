# SPDX-License-Identifier: Apache-2.0
"""What a syntax makes of a token's claims: rules, and what gave none and why.

A syntax is a frozen value that holds its options.
It either reads all that is written for it, or refuses the token with a code; what it may leave out
because that can only allow less it names in ``Reading.ignored``.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Protocol

from keyfob.authorization.permissions import Form, Operation, Rule
from keyfob.errors import KeyfobError, TopicError
from keyfob.mqtt.topics import TopicFilter

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["Reading", "Syntax", "granted_filter", "invalid", "shown", "texts", "too_many"]

_LONGEST_SHOWN: Final = 120


class Reading(NamedTuple):
    """What one syntax read in one token.

    Args:
        rules: What it allows, or denies in the first-match form.
        ignored: What gave nothing, as it came, with the reason.
        scopes: The scopes that it knows as its own, whether or not they gave anything.
        form: How ``rules`` are read.
    """

    rules: tuple[Rule, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    scopes: frozenset[str] = frozenset()
    form: Form = Form.ALLOW_ONLY


class Syntax(Protocol):
    """One way to write rights into a token, with its options."""

    name: ClassVar[str]
    """What the configuration calls it."""

    form: ClassVar[Form]
    """Whether its order matters; what has an order does not mix with other syntaxes."""

    def read(self, claims: Claims, device: str) -> Reading:
        """Return what the claims of a verified token say about ``device``.

        Raises:
            KeyfobError: With code ``permissions_invalid`` for what nobody can read, with
                ``too_many_rules`` above a bound. Nothing else, whatever the JSON is.
        """

    def looks_at(self, claims: Claims) -> Hashable | None:
        """Return what ``read`` looks at besides ``scope``, ``sub``, ``client_id`` and the device.

        Two tokens of a device that agree in all of it say the same. None: it is not worth telling.
        """


def granted_filter(text: str, operations: Operation, where: str) -> TopicFilter:
    """Return the filter that ``text`` is, fit for ``operations``.

    Raises:
        KeyfobError: With code ``permissions_invalid``, naming ``where`` it stands.
    """
    try:
        topic_filter = TopicFilter.parse(text)
    except TopicError as error:
        raise invalid(f"{where}: {error.message}") from None
    if topic_filter.share_group is not None and Operation.PUBLISH in operations:
        raise invalid(f"{where}: a shared subscription cannot be published to")
    return topic_filter


def texts(value: object, where: str, *, empty: bool = False) -> list[str]:
    """Return ``value``, which must be a list of texts, and not an empty one unless ``empty``.

    Raises:
        KeyfobError: With code ``permissions_invalid``, naming ``where`` it stands.
    """
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise invalid(f"{where} is not a list of strings")
    if not value and not empty:
        raise invalid(f"{where} is empty")
    return value


def shown(text: str) -> str:
    """Return ``text`` escaped and shortened: a token may hold anything, a log line may not."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "...")[1:-1]


def invalid(message: str) -> KeyfobError:
    """Make the error for rights that cannot be read."""
    return KeyfobError(message, code="permissions_invalid")


def too_many(message: str) -> KeyfobError:
    """Make the error for rights above a bound."""
    return KeyfobError(message, code="too_many_rules")
