# SPDX-License-Identifier: Apache-2.0
"""What a receiver's answer means, whatever it answers."""

from __future__ import annotations

import email.utils
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.events.answer import MAX_DELAY, MAX_RETRY_AFTER, Verdict, delay, judged

NOW = 1_800_000_000.0


def refused(err: object) -> bytes:
    return json.dumps({"err": err, "description": "no"}).encode()


@pytest.mark.parametrize(
    ("status", "body", "verdict", "reason"),
    [
        (202, b"", Verdict.DELIVERED, ""),
        (200, b"", Verdict.FAILED, "status_200"),  # a web page where the receiver should be
        (204, b"", Verdict.FAILED, "status_204"),
        (400, refused("invalid_request"), Verdict.REJECTED, "invalid_request"),
        (400, refused("something_of_its_own"), Verdict.REJECTED, "something_of_its_own"),
        (400, refused("invalid_audience"), Verdict.FAILED, "invalid_audience"),
        (400, refused("invalid_issuer"), Verdict.FAILED, "invalid_issuer"),
        (400, refused("invalid_key"), Verdict.FAILED, "invalid_key"),
        (400, refused("authentication_failed"), Verdict.FAILED, "authentication_failed"),
        (400, refused("access_denied"), Verdict.FAILED, "access_denied"),
        (400, b"", Verdict.FAILED, "status_400"),
        (400, b"<html>", Verdict.FAILED, "status_400"),
        (400, b"[" * 4_000, Verdict.FAILED, "status_400"),
        (400, b'["err"]', Verdict.FAILED, "status_400"),
        (400, refused("a secret, or\nworse"), Verdict.FAILED, "status_400"),
        (400, refused("x" * 65), Verdict.FAILED, "status_400"),
        (400, refused(7), Verdict.FAILED, "status_400"),
        (301, b"", Verdict.FAILED, "status_301"),
        (401, refused("authentication_failed"), Verdict.FAILED, "status_401"),
        (403, b"", Verdict.FAILED, "status_403"),
        (404, b"", Verdict.FAILED, "status_404"),
        (429, b"", Verdict.FAILED, "status_429"),
        (500, refused("invalid_request"), Verdict.FAILED, "status_500"),
        (503, b"", Verdict.FAILED, "status_503"),
    ],
)
def test_only_a_code_about_this_event_loses_it_and_only_a_202_delivers_it(
    status: int, body: bytes, verdict: Verdict, reason: str
) -> None:
    found = judged(status, body=body)
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0.0),
        ("7", 7.0),
        ("999999999999999", MAX_RETRY_AFTER),
        ("-1", 0.0),
        ("soon", 0.0),
        ("٣", 0.0),
        (email.utils.formatdate(NOW + 20, usegmt=True), 20.0),
        (email.utils.formatdate(NOW - 20, usegmt=True), 0.0),
        (email.utils.formatdate(NOW + 86_400, usegmt=True), MAX_RETRY_AFTER),
        ("Mon, 99 Foo 2026 99:99:99 GMT", 0.0),
    ],
)
def test_retry_after_is_honoured_up_to_a_bound(header: str, seconds: float) -> None:
    assert judged(503, retry_after=header, now=NOW).retry_after == seconds


@given(st.integers(100, 599), st.binary(max_size=200), st.text(max_size=60))
def test_whatever_comes_is_judged_and_shows_nothing_of_it(
    status: int, body: bytes, header: str
) -> None:
    found = judged(status, body=body, retry_after=header, now=NOW)
    assert found.reason == "" or found.reason.replace("_", "").isalnum()
    assert 0.0 <= found.retry_after <= MAX_RETRY_AFTER
    assert (found.verdict is Verdict.DELIVERED) == (status == 202)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_wait_grows_to_its_ceiling_and_never_beyond(attempts: int, part: float) -> None:
    assert 0 <= delay(attempts, lambda ceiling: part * ceiling) <= MAX_DELAY
    assert delay(attempts, lambda ceiling: ceiling) <= delay(attempts + 1, lambda ceiling: ceiling)
    assert delay(1_000, lambda ceiling: ceiling) == MAX_DELAY
