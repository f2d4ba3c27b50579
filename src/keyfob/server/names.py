# SPDX-License-Identifier: Apache-2.0
"""What a device or another client may be called.

A device's name travels far: it is ``sub`` in tokens, the MQTT client identifier, a level of topic
filters, the broker's username, a line in logs and the user-id of HTTP Basic. So it is made of the
characters that mean nothing anywhere: the unreserved ones of RFC 3986 section 2.3. That leaves out
``/ + # $`` and controls (MQTT 5.0 section 4.7), ``:`` (RFC 7617 section 2, and the principal
``issuer-name:subject``), the braces and stars of templates, and letters that look like others.

A client identifier template such as ``{device}-*`` gives one of these characters a meaning: where
the register is opened with such a template, no new device may hold it.
"""

from __future__ import annotations

import re
from typing import Final

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConfigError
from keyfob.server.credentials import (
    ACCESS_TOKEN_PREFIX,
    DEVICE_CODE_PREFIX,
    INITIAL_TOKEN_PREFIX,
    REFRESH_TOKEN_PREFIX,
    REGISTRATION_TOKEN_PREFIX,
    SECRET_PREFIX,
)

__all__ = ["ANY_NAME", "MAX_NAME_LENGTH", "check_name", "is_name", "shown_name"]

MAX_NAME_LENGTH: Final = 128
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._~-]{{0,{MAX_NAME_LENGTH - 1}}}", re.ASCII)
ANY_NAME: Final = ClientIdTemplate.parse("{device}")
"""The template that takes no character away."""

# Nothing that begins like a secret is a name: people paste secrets into the wrong field.
_SECRET_PREFIXES: Final = (
    *(SECRET_PREFIX, REFRESH_TOKEN_PREFIX, ACCESS_TOKEN_PREFIX, DEVICE_CODE_PREFIX),
    *(INITIAL_TOKEN_PREFIX, REGISTRATION_TOKEN_PREFIX),
)

# What Mosquitto's auto_id_prefix gives to clients that bring no identifier of their own.
_ASSIGNED_PREFIX: Final = "auto-"


def is_name(text: str) -> bool:
    """Say whether a text has the form of a name; a secret never has."""
    return _NAME.fullmatch(text) is not None and not text.startswith(_SECRET_PREFIXES)


def check_name(name: str, *, template: ClientIdTemplate = ANY_NAME) -> None:
    """Refuse a name that could be taken for something else somewhere on its way.

    Args:
        name: What the operator wants to call a device or an application.
        template: What MQTT client identifiers are made of; its separator is taken.

    Raises:
        ConfigError: The name is not allowed; the message says what is.
    """
    if name.startswith(_SECRET_PREFIXES):
        raise ConfigError(f"a name cannot begin with {name[:4]}: secrets do")
    if not is_name(name):
        raise ConfigError(
            f"{name[: MAX_NAME_LENGTH + 1]!r} is not a name: letters, digits and . _ ~ - with a "
            f"letter or digit first, at most {MAX_NAME_LENGTH} characters"
        )
    if name.startswith(_ASSIGNED_PREFIX):
        raise ConfigError(f"{name!r}: brokers give {_ASSIGNED_PREFIX}… to clients without a name")
    if not template.accepts_device(name):
        raise ConfigError(
            f"{name!r}: client_id_template sets {template.suffix!r} between a device and the rest"
        )


def shown_name(claimed: str) -> str:
    """Return a name that somebody claims, or ``?`` where it is not fit to be shown."""
    return claimed if not claimed or is_name(claimed) else "?"
