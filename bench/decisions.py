# SPDX-License-Identifier: Apache-2.0
"""What one decision costs the guard: in process and through its socket, fresh and repeated tokens.

The yardstick is a bare `cryptography` ES256 verify of the same token's signature, in the same
round. CPU is the process's own time: of this process in-process, of the guard's process through
the socket (/proc/PID/schedstat, all threads). Audit to a file is on, as in `keyfob up`, and every
batch of decisions ends with its lines written, so that no round pays for another's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bench.cpu import cpu_seconds
from bench.decision_parts import PARTS, part_variants, split
from bench.rounds import Series, interleave, print_table
from keyfob.authorization.decision import ConnectRequest
from keyfob.authorization.policy import Policy
from keyfob.brokers.mosquitto import frames, wire
from keyfob.cli.collector import calm_collector
from keyfob.cli.server_database import server_database
from keyfob.guard.audit import AuditLog
from keyfob.guard.audit_sinks import JsonLinesSink
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import StaticKeySource
from keyfob.server.stores.store import open_store
from keyfob.tokens.base64url import decode
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import TrustedIssuer
from tests.running import Installation, installation

ISSUER: Final = "https://as.example"
BATCH: Final = 200
ROUNDS: Final = 15
_FRESH_TOKENS: Final = BATCH * (ROUNDS + 1)
_FRESH: Final = "Guard.decide, fresh token"
_REPEATED: Final = "Guard.decide, repeated token"


def claims(issuer: str, number: int) -> dict[str, object]:
    """A token of a device with two filters, as our server issues it."""
    now = int(time.time())
    return {
        "iss": issuer,
        "sub": f"device-{number}",
        "client_id": f"device-{number}",
        "aud": "mqtt",
        "iat": now,
        "exp": now + 3600,
        "jti": f"{number:032x}",
        "scope": (
            f"mqtt.connect mqtt.publish:devices/device-{number}/#"
            f" mqtt.subscribe:devices/device-{number}/#"
        ),
    }


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_in_process(Path(folder)))
        with installation(Path(folder) / "data") as running:
            _through_the_socket(running)


async def _in_process(folder: Path) -> None:
    key = SigningKey.generate("ES256")
    count = _FRESH_TOKENS * (1 + len(PARTS))
    tokens = [key.sign(claims(ISSUER, number)).encode() for number in range(count)]
    trusted = TrustedIssuer(
        name="bench",
        issuer=ISSUER,
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset({"ES256"}),
    )
    keys = StaticKeySource(KeySet.from_jwks({"keys": [key.public_jwk()]}))
    binding = IssuerBinding(trusted=trusted, keys=keys, policy=Policy())
    with AuditLog([JsonLinesSink(folder / "audit.jsonl")]) as audit:
        guard = Guard({ISSUER: binding}, audit=audit)
        calm_collector()  # as `keyfob guard` does
        fresh = iter(range(count))

        def fresh_batch() -> list[int]:
            return [next(fresh) for _ in range(BATCH)]

        fresh_tokens = ([tokens[number] for number in fresh_batch()] for _ in itertools.count())
        results = interleave(
            {
                "bare ES256 verify": _bare_verify(key, tokens),
                _FRESH: lambda: _decide(guard, audit, tokens, fresh_batch()),
                _REPEATED: lambda: _decide(guard, audit, tokens, [0] * BATCH),
                **part_variants(binding, fresh_tokens, audit),
            },
            ROUNDS,
        )
    cpu = {name: figures["cpu"] for name, figures in results.items()}
    parts = {name: cpu.pop(name) for name in PARTS}
    rows = []
    for name, series in cpu.items():
        ratio = series.over(cpu["bare ES256 verify"])
        rows.append([name, _shown(series), f"{ratio.median:.2f} ({ratio.spread})"])
    print_table(
        "Decisions in process, audit on: median (quartiles) of interleaved rounds",
        ["what", "CPU us each", "over bare verify"],
        rows,
    )
    whole = cpu[_FRESH]
    told = split(whole, cpu[_REPEATED], parts)
    print_table(
        "Where the time of a fresh token goes: each part timed alone in the same rounds",
        ["part", "CPU us each", "what"],
        [
            *([name, _shown(series), what] for name, series, what in told),
            ["", _shown(whole), _FRESH],
        ],
    )


def _shown(series: Series) -> str:
    return f"{series.median:.1f} ({series.spread})"


def _bare_verify(key: SigningKey, tokens: Sequence[bytes]) -> Callable[[], Mapping[str, float]]:
    jwk = key.public_jwk()
    x, y = (int.from_bytes(decode(jwk[name].encode()), "big") for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    prepared = []
    for token in tokens[:BATCH]:
        signed, _, signature = token.rpartition(b".")
        raw = decode(signature)
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        prepared.append((der, signed))
    algorithm = ec.ECDSA(hashes.SHA256())

    def verify() -> Mapping[str, float]:
        began = time.process_time()
        for der, signed in prepared:
            public.verify(der, signed, algorithm)
        return {"cpu": (time.process_time() - began) / BATCH * 1e6}

    return verify


def _decide(
    guard: Guard, audit: AuditLog, tokens: Sequence[bytes], numbers: Sequence[int]
) -> Mapping[str, float]:
    requests = [
        ConnectRequest(client_id=f"device-{number}", password=tokens[number], peer="127.0.0.1")
        for number in numbers
    ]
    began = time.process_time()
    for request in requests:
        decision = guard.decide(request, broker="bench")
        assert decision.allowed, decision.reason
    audit.flush()
    return {"cpu": (time.process_time() - began) / BATCH * 1e6}


def _through_the_socket(running: Installation) -> None:
    store = open_store(server_database(running.settings))
    key = SigningKey.from_pem(store.keys.all()[0].private_key)
    store.close()
    issuer = running.settings.server.issuer
    tokens = [key.sign(claims(issuer, number)).encode() for number in range(_FRESH_TOKENS)]
    pid = running.pid("guard")
    fresh = iter(range(_FRESH_TOKENS))
    with _Plugin(running.settings.guard.socket) as plugin:

        def ask_fresh() -> Mapping[str, float]:
            return plugin.ask(pid, [(n, tokens[n]) for n in (next(fresh) for _ in range(BATCH))])

        results = interleave(
            {
                "bare ES256 verify": _bare_verify(key, tokens),
                "through the socket, fresh token": ask_fresh,
                "through the socket, repeated token": lambda: plugin.ask(
                    pid, [(0, tokens[0])] * BATCH
                ),
            },
            ROUNDS,
        )
    bare = results["bare ES256 verify"]["cpu"]
    rows = []
    for name, figures in results.items():
        ratio = figures["cpu"].over(bare)
        latency = figures.get("latency")
        rows.append(
            [
                name,
                f"{figures['cpu'].median:.1f} ({figures['cpu'].spread})",
                f"{ratio.median:.2f} ({ratio.spread})",
                f"{latency.median:.0f} ({latency.spread})" if latency else "",
            ]
        )
    print_table(
        "Decisions through the guard's socket, one at a time, audit on, with ADMITTED and OFFLINE",
        ["what", "guard CPU us each", "over bare verify", "latency us"],
        rows,
    )


class _Plugin(contextlib.AbstractContextManager["_Plugin"]):
    """The plugin's side of a guard link, for one more broker."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._epoch = 0
        hello = frames.Hello(
            lowest=frames.PROTOCOL_VERSION,
            highest=frames.PROTOCOL_VERSION,
            broker_instance=os.urandom(16),
            epoch=0,
            broker_version=2_000_011,
            broker_name="bench",
        )
        self._socket.sendall(wire.encode(hello) + wire.encode(frames.RecordsEnd()))
        # WELCOME and the rest may come in one piece.
        opening = (frame for frame in self._frames() if isinstance(frame, frames.RecordsEnd))
        next(opening)

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _frames(self) -> Iterator[frames.Frame]:
        reader = wire.FrameReader()
        while data := self._socket.recv(1 << 16):
            for frame, _ in reader.feed(data):
                yield frame

    def ask(self, pid: int, asked: Sequence[tuple[int, bytes]]) -> Mapping[str, float]:
        """Send each CONNECT, wait for its DECISION, say ADMITTED and OFFLINE."""
        prepared = []
        for number, token in asked:
            self._epoch += 1
            connect = frames.Connect(
                epoch=self._epoch,
                clean=True,
                assigned=False,
                protocol_level=5,
                client_id=f"device-{number}",
                username=None,
                password=token,
                peer="127.0.0.1",
                certificate_thumbprint=b"",
                delayed=False,
                wait_ms=200,
            )
            admitted = frames.Admitted(epoch=self._epoch, client_id=f"device-{number}")
            offline = frames.Offline(epoch=self._epoch, client_id=f"device-{number}", kept=False)
            prepared.append(
                (
                    wire.encode(connect, self._epoch),
                    wire.encode(admitted) + wire.encode(offline),
                )
            )
        cpu, began = cpu_seconds(pid), time.perf_counter()
        for connect_bytes, following in prepared:
            self._socket.sendall(connect_bytes)
            header = self._exactly(12)
            (length,) = struct.unpack_from("!I", header)
            body = self._exactly(length)
            assert body[8] == 0, f"refused with {body[8]:#x}"
            self._socket.sendall(following)
        elapsed = time.perf_counter() - began
        time.sleep(0.15)  # the audit and the session file follow in batches: they count too
        used = cpu_seconds(pid) - cpu
        return {"cpu": used / len(asked) * 1e6, "latency": elapsed / len(asked) * 1e6}

    def _exactly(self, length: int) -> bytes:
        parts = b""
        while len(parts) < length:
            part = self._socket.recv(length - len(parts))
            if not part:
                raise ConnectionError("the guard closed the link")
            parts += part
        return parts


if __name__ == "__main__":
    run()
