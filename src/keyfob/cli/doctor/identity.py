# SPDX-License-Identifier: Apache-2.0
"""Which client identifier a token is bound to, and under which the broker is tried; pure."""

from __future__ import annotations

from keyfob.cli.doctor.finding import Finding, Section, Severity
from keyfob.cli.doctor.subject import BrokerWish, Subject
from keyfob.cli.doctor.token_checks import Seen
from keyfob.cli.shown import shown
from keyfob.errors import ConfigError

__all__ = ["check_identifier", "identifier_to_use"]


def check_identifier(seen: Seen, chosen: str) -> Section:
    """Say which client identifier a token is bound to, and whether the device's own is that.

    Args:
        seen: The token.
        chosen: The client identifier that the device has; empty: it is not said.
    """
    names = seen.identities
    if not names:
        unknown = "not known: the token is opaque" if not seen.is_jwt else "nobody"
        return Section(facts={"bound_to": unknown})
    bound = {claim: shown(name) for claim, name in names.items()}
    section = Section(facts={"bound_to": bound})
    if not chosen or chosen in names.values():
        return section
    longer = any(chosen.startswith(name) for name in names.values())
    told = " or ".join(f"{name} ({claim})" for claim, name in bound.items())
    if longer:
        return section | _found(
            f"the client identifier {shown(chosen)} is longer than the token's {told}: a guard"
            " takes it only where client_id_template of its [[issuer]] allows such",
            'write client_id_template = "{device}-*" there, or use the name alone',
            Severity.NOTE,
        )
    return section | _found(
        f"the client identifier {shown(chosen)} is not the token's {told}: a token of one device"
        " connects no other",
        "give the device its own client identifier, or name its claim by device_claim of the"
        " guard's [[issuer]]",
        Severity.WRONG,
    )


def _found(what: str, mend: str, severity: Severity) -> Section:
    return Section(findings=(Finding("identifier_differs", what, mend, severity=severity),))


def identifier_to_use(wish: BrokerWish, seen: Seen, subject: Subject) -> str:
    """Return the client identifier that the broker is tried under; empty: it assigns one.

    Args:
        wish: What was asked for.
        seen: The token.
        subject: The device.

    Raises:
        ConfigError: It is the device's own, and nobody said that it may be taken over; or it is
            to be taken over, and nobody knows it.
    """
    own = wish.target.client_identifier
    names = [*filter(None, (own, *seen.identities.values(), *subject.names))]
    if wish.take_over:
        found = wish.identifier or next(iter(names), "")
        if not found:
            raise ConfigError("whom to take over? Name it with --client-identifier")
        return found
    if wish.identifier in names:
        raise ConfigError(
            f"{shown(wish.identifier)} is the device's own client identifier: who connects under"
            " it ends the device's connection. Stop the device and add --take-over, or leave"
            " --client-identifier out"
        )
    return wish.identifier
