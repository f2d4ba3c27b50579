# SPDX-License-Identifier: Apache-2.0
"""Waiting for a turn: until it is free, and not for ever; the sleep is what a test says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from keyfob.device import FileStore, MemoryStore, TokenStore
from keyfob.device.turns import TURN_PATIENCE, TURN_POLL, in_turn
from keyfob.errors import TokenUnavailableError


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "token")


def test_who_waits_for_a_turn_has_it_once_it_is_given_back(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, naps = store.turn(), list[float]()
    assert other.take()

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            other.give_back()

    monkeypatch.setattr(time, "sleep", sleep)
    with in_turn(store.turn()):
        assert not other.take()
    assert naps == [TURN_POLL] * 3
    assert other.take()


def test_who_has_a_turn_for_ever_is_not_waited_for_as_long(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, naps = store.turn(), list[float]()
    assert other.take()
    monkeypatch.setattr(time, "sleep", naps.append)
    without_end = pytest.raises(TokenUnavailableError, match="does not come to an end")
    with without_end, in_turn(store.turn()):
        pytest.fail("it was not ours")
    assert sum(naps) == pytest.approx(TURN_PATIENCE)
    other.give_back()
    assert store.turn().take()


def test_a_turn_is_given_back_whatever_happens_in_it(store: TokenStore) -> None:
    with pytest.raises(KeyError), in_turn(store.turn()):
        raise KeyError
    assert store.turn().take()
