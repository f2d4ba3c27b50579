# SPDX-License-Identifier: Apache-2.0
"""What a broker takes, refuses and enforces; each is tried with a connection of its own."""

from __future__ import annotations

from keyfob.cli.doctor.broker_ways import (
    Wanted,
    check_311,
    check_carry,
    no_way_in,
    told_ways,
    try_ways,
)
from keyfob.cli.doctor.finding import Section
from keyfob.cli.doctor.refusal_checks import (
    check_anonymous,
    check_broken,
    check_reauthentication,
)
from keyfob.cli.doctor.right_checks import check_rights
from keyfob.cli.doctor.trying import Trying

__all__ = ["Wanted", "examine_broker"]


def examine_broker(trying: Trying, wanted: Wanted) -> Section:
    """Try everything, one after the other."""
    tried = try_ways(trying, wanted)
    section = told_ways(tried) | check_carry(tried, wanted)
    section |= check_311(trying, tried)
    section |= check_anonymous(trying, tried)
    if not tried.taken:
        return section | no_way_in(trying, tried, wanted)
    section |= check_broken(trying, tried)
    section |= check_reauthentication(trying, tried)
    return section | check_rights(trying, tried, wanted)
