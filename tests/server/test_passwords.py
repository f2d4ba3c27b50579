# SPDX-License-Identifier: Apache-2.0
"""Passwords of operators: scrypt with its numbers in the stored form, and a bound on the work."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from keyfob.errors import ConfigError
from keyfob.server import passwords
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.passwords import (
    PasswordChecker,
    check_password,
    generate_password,
    hash_password,
    verify_password,
)

PASSWORD = "Zwölf Kräne heben"
HASHED = hash_password(PASSWORD)


def test_the_stored_form_says_how_it_was_made_and_holds_no_password() -> None:
    assert HASHED.startswith("v1$scrypt$15$8$3$")
    assert "Kräne" not in HASHED
    assert hash_password(PASSWORD) != HASHED


def test_only_the_password_itself_is_right_however_its_letters_are_composed() -> None:
    assert verify_password(PASSWORD, HASHED)
    assert verify_password(unicodedata.normalize("NFD", PASSWORD), HASHED)
    for other in ("", PASSWORD.lower(), PASSWORD + "\0", PASSWORD + "x" * 5_000, "\ud800"):
        assert not verify_password(other, HASHED)
    assert not verify_password(PASSWORD, None)


@pytest.mark.parametrize(
    "damage",
    [
        ("$15$", "$30$"),
        ("$8$", "$999999$"),
        ("v1$", "v2$"),
        ("scrypt", "plain"),
        ("==$", "$"),
    ],
)
def test_a_damaged_row_lets_nobody_in_and_costs_no_more(damage: tuple[str, str]) -> None:
    assert damage[0] in HASHED
    assert not verify_password(PASSWORD, HASHED.replace(*damage, 1))


@pytest.mark.parametrize(
    "password", ["", "short", "a" * 11, "a" * 40, "abababababab", "a1" * 600, "abcdefgh\tijkl\0"]
)
def test_what_is_soon_guessed_is_refused(password: str) -> None:
    with pytest.raises(ConfigError):
        check_password(password)


def test_a_generated_password_is_allowed_and_another_each_time() -> None:
    made = {generate_password() for _ in range(50)}
    assert len(made) == 50
    for each in made:
        check_password(each)


@pytest.mark.anyio
async def test_those_who_wait_are_bounded_and_the_loop_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "_MAX_WAITING", 3)
    monkeypatch.setattr(passwords, "_MAX_WAITING_OF_NETWORK", 2)
    checker = PasswordChecker()

    def ask(network: str) -> asyncio.Task[bool]:
        return asyncio.create_task(checker.verify(PASSWORD, HASHED, network=network))

    waiting = [ask("a"), ask("a")]
    await asyncio.sleep(0)
    with pytest.raises(OAuthError, match="sign_in_busy"):
        await ask("a")
    waiting.append(ask("b"))  # somebody elsewhere still has a place
    await asyncio.sleep(0)
    with pytest.raises(OAuthError, match="sign_in_busy"):
        await ask("c")
    assert not any(task.done() for task in waiting)  # this loop was not held up meanwhile
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert await checker.verify("wrong", HASHED, network="a") is False
    checker.close()


@pytest.mark.anyio
async def test_strangers_who_fill_every_place_keep_nobody_out_where_somebody_signed_in_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passwords, "_MAX_WAITING", 2)
    monkeypatch.setattr(passwords, "_MAX_WAITING_OF_NETWORK", 1)
    checker = PasswordChecker()
    assert await checker.verify(PASSWORD, HASHED, network="office")
    strangers = [
        asyncio.create_task(checker.verify("wrong", None, network=one)) for one in ("a", "b")
    ]
    await asyncio.sleep(0)
    again = asyncio.create_task(checker.verify(PASSWORD, HASHED, network="office"))
    await asyncio.sleep(0)
    for full in ("c", "office"):  # strangers of elsewhere, and more than its own places there
        with pytest.raises(OAuthError, match="sign_in_busy"):
            await checker.verify(PASSWORD, HASHED, network=full)
    assert await asyncio.gather(again, *strangers) == [True, False, False]
    checker.close()
