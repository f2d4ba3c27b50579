# SPDX-License-Identifier: Apache-2.0
"""The soak's account excuses what the broker itself cannot keep, and nothing else."""

from __future__ import annotations

import pytest

from tests.soak.ledger import WINDOW, Death, Ledger, Loss

SAVED = b"the file as it was: d1s/d2/+"


@pytest.fixture
def ledger() -> Ledger:
    """Device d1 is subscribed to d2 from second 10 on."""
    ledger = Ledger({"d1": ("d2",), "d2": ()})
    ledger.subscribed("d1", 10)
    return ledger


def published(ledger: Ledger, at: float) -> str:
    text = ledger.sent("d2", at)
    ledger.acknowledged(text, at + 0.01)
    return text


def lost(ledger: Ledger) -> Loss:
    (loss,) = ledger.losses()
    return loss


def test_what_was_acknowledged_while_subscribed_and_never_came_is_lost(ledger: Ledger) -> None:
    published(ledger, 9)
    ledger.sent("d2", 20)
    text = published(ledger, 21)
    assert lost(ledger) == Loss("d1", text, 21, None)


def test_what_came_is_not_lost(ledger: Ledger) -> None:
    ledger.delivered("d1", "s/d2/d", published(ledger, 20), ("d2",))
    assert ledger.losses() == []
    assert ledger.trespasses == []


def test_a_death_just_afterwards_explains_what_was_not_saved(ledger: Ledger) -> None:
    published(ledger, 20)
    death = Death(20.5, SAVED)
    ledger.deaths.append(death)
    assert lost(ledger).death is death


def test_a_death_explains_nothing_that_had_been_saved(ledger: Ledger) -> None:
    text = published(ledger, 20)
    ledger.deaths.append(Death(20.5, SAVED + text.encode()))
    assert lost(ledger).death is None


@pytest.mark.parametrize("at", [19.9, 20.02 + WINDOW])
def test_a_death_explains_nothing_from_after_it_or_long_before(ledger: Ledger, at: float) -> None:
    published(ledger, 20)
    ledger.deaths.append(Death(at, SAVED))
    assert lost(ledger).death is None


def test_a_subscription_that_was_not_saved_explains_losses_until_the_next(ledger: Ledger) -> None:
    death = Death(20, b"")
    ledger.deaths.append(death)
    published(ledger, 25)
    assert lost(ledger).death is death
    ledger.subscribed("d1", 30)
    text = published(ledger, 35)
    assert [loss.death for loss in ledger.losses() if loss.message == text] == [None]


def test_a_session_that_is_gone_is_unexplained_if_it_was_saved(ledger: Ledger) -> None:
    ledger.deaths.append(Death(20, SAVED))
    ledger.found_no_session("d1", 21)
    assert ledger.unexplained_sessions() == ["d1"]


def test_what_waited_in_a_session_that_was_given_up_is_not_owed_and_must_not_come(
    ledger: Ledger,
) -> None:
    text = published(ledger, 20)
    ledger.gives_up("d1", 30)
    ledger.gave_up("d1", 30)
    assert ledger.losses() == []
    ledger.delivered("d1", "s/d2/d", text, ("d2",))
    assert len(ledger.trespasses) == 1


@pytest.mark.parametrize(
    ("topic", "allowed"), [("s/d2/d", ()), ("s/d3/d", ("d3",)), ("s/d3/d", ("d2",))]
)
def test_what_a_connection_is_not_allowed_is_a_trespass(
    ledger: Ledger, topic: str, allowed: tuple[str, ...]
) -> None:
    ledger.delivered("d1", topic, published(ledger, 20), allowed)
    assert len(ledger.trespasses) == 1
