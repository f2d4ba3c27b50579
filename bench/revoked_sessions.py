# SPDX-License-Identifier: Apache-2.0
"""What one revocation costs the guard's event loop, which decides nothing meanwhile.

The guard has 100,000 sessions (``KEYFOB_BENCH_SESSIONS``) in memory, and a revocation names one of
them: that is found, marked and ended. Without a name, of what an issuer issued until a moment, it
looks at each, and ends one here, too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from bench.rounds import ROUNDS, interleave, print_table
from keyfob.guard.audit import AuditLog
from keyfob.guard.endings import Endings
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.sessions import SessionStore
from tests.guard.world import ISSUER, NOW, session

SIZE: Final = int(os.environ.get("KEYFOB_BENCH_SESSIONS", "100_000"))


def run() -> None:
    """Measure and print."""
    sessions = SessionStore()
    for number in range(SIZE):
        sessions.put(
            session(
                f"dev{number}",
                subject=f"subject{number}",
                client=f"client{number}",
                token_id=f"token{number}",
                issued_at=NOW + number,
            )
        )
    endings = Endings(sessions, RevocationStore(), AuditLog(), lambda: NOW)
    names: dict[str, Callable[[int], dict[str, Any]]] = {
        "a token (jti)": lambda number: {"token_id": f"token{number}"},
        "an OAuth client": lambda number: {"client_id": f"client{number}"},
        "a subject": lambda number: {"subject": f"subject{number}"},
        "a moment alone": lambda number: {"issued_before": NOW + number},
    }
    # From the first on: whoever is named by a moment is the earliest that is not ended yet.
    numbers = iter(range(SIZE))
    variants = {name: _revoking(endings, each, numbers) for name, each in names.items()}
    results = interleave(variants, ROUNDS)
    rows = [
        (name, f"{series['cpu'].median:.3g} ({series['cpu'].spread})")
        for name, series in results.items()
    ]
    print_table(f"one revocation among {SIZE:,} sessions", ("it names", "CPU ms"), rows)


def _revoking(
    endings: Endings, named: Callable[[int], dict[str, Any]], numbers: Iterator[int]
) -> Callable[[], Mapping[str, float]]:
    def once() -> Mapping[str, float]:
        revocation = Revocation(issuer=ISSUER, until=NOW + SIZE, **named(next(numbers)))
        began = time.process_time()
        ended = endings.revoke(revocation)
        cpu = time.process_time() - began
        if len(ended) != 1:
            raise RuntimeError(f"{revocation} ended {len(ended)} sessions")
        return {"cpu": cpu * 1e3}

    return once
