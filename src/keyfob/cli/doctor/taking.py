# SPDX-License-Identifier: Apache-2.0
"""The token that everything is tried with: the one that is there, or one that is asked for once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keyfob.cli.doctor.finding import Finding, Section
from keyfob.cli.token_asking import no_word_of_a_next_try
from keyfob.device import Freshness, Token, TokenSource
from keyfob.errors import TokenRequestError, TokenUnavailableError

__all__ = ["Taken", "take_token"]

_CURES: Final = {
    "invalid_client": "correct --client-id or its secret; is the device enabled at the server?",
    "invalid_grant": "correct the device's name or secret, or have somebody log in again",
    "invalid_scope": "ask for no more with --scope than the device has",
    "unauthorized_client": "let this client use this grant at the server (at Keyfob's: keyfob grant"
    " allow)",
    "unsupported_grant_type": "use a grant that the server has",
    "invalid_target": "correct --resource or --audience",
    "access_denied": "somebody said no; ask who approves devices",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of asking.

    Attributes:
        token: The token; None: there is none.
        fetched: Whether it was asked for just now.
        section: What is wrong, where there is none.
    """

    token: Token | None = field(default=None, repr=False)
    fetched: bool = False
    section: Section = field(default_factory=Section)


def take_token(source: TokenSource) -> Taken:
    """Return a token that can be shown now.

    One that is kept and good is taken as it is, also where it is to be renewed soon: a refresh
    token is not spent to look at something. What is asked for is kept, as the source keeps it.
    """
    kept = source.token
    if kept is not None and source.state is not Freshness.EXPIRED:
        return Taken(token=kept)
    try:
        with no_word_of_a_next_try():
            return Taken(token=source.get(), fetched=True)
    except TokenRequestError as error:
        cure = _CURES.get(error.error, "ask whoever runs the server")
        what = f"the server refuses this client a token: {error.message} ({error.error})"
        return Taken(section=Section(findings=(Finding("token_refused", what, cure),)))
    except TokenUnavailableError as error:
        what = f"there is no token: {error.message}"
        mend = "see what is wrong with the authorization server; a device tries again by itself"
        return Taken(section=Section(findings=(Finding("token_unavailable", what, mend),)))
