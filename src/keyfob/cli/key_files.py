# SPDX-License-Identifier: Apache-2.0
"""Files with public keys that clients authenticate by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyfob.errors import ConfigError
from keyfob.server.client_keys import MAX_CLIENT_JWKS_BYTES

__all__ = ["Jwks", "JwksArgument", "RemoveSecret", "read_jwks"]

Jwks = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A JWK Set of its public keys: it signs assertions and has no secret.",
    ),
]
JwksArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A JWK Set of all its public keys.")
]
RemoveSecret = Annotated[
    bool, typer.Option("--remove-secret", help="Its secret, if it has one, stops working now.")
]


def read_jwks(path: Path) -> bytes:
    """Read no more of a file than can be a client's key set, and a little, so that it is refused.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_CLIENT_JWKS_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
