# SPDX-License-Identifier: Apache-2.0
"""An identifier is held for whom it was decided, for a short time."""

from __future__ import annotations

from keyfob.guard.reservations import HOLD, Reservations

ANNA, BERTA = ("https://as.example", "anna"), ("https://as.example", "berta")


def test_it_is_held_until_it_is_released_or_the_time_is_over() -> None:
    held = Reservations()
    held.hold("b1", "dev1", ANNA, 100.0)
    assert held.holder("b1", "dev1", 100.0 + HOLD - 0.1) == ANNA
    assert held.holder("b1", "dev1", 100.0 + HOLD) is None
    assert held.holder("b2", "dev1", 100.0) is None
    held.release("b1", "dev1")
    held.release("b1", "dev1")
    assert held.holder("b1", "dev1", 100.0) is None


def test_a_clock_stepped_back_does_not_hold_for_longer() -> None:
    held = Reservations()
    held.hold("b1", "dev1", ANNA, 1_000_000.0)
    assert held.holder("b1", "dev1", 100.0) is None


def test_the_last_one_decided_holds() -> None:
    held = Reservations()
    held.hold("b1", "dev1", ANNA, 100.0)
    held.hold("b1", "dev1", BERTA, 105.0)
    assert held.holder("b1", "dev1", 105.0 + HOLD - 1) == BERTA


def test_what_is_over_is_forgotten() -> None:
    held = Reservations()
    for number in range(1000):
        held.hold("b1", f"dev{number}", ANNA, 100.0 + number)
    assert len(held) <= HOLD + 1
