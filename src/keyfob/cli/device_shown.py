# SPDX-License-Identifier: Apache-2.0
"""How ``keyfob device`` tells of a device, for people and for programs."""

from __future__ import annotations

from keyfob.cli.certificate_options import certificate_data
from keyfob.cli.output import answer, fields
from keyfob.cli.shown import time_of
from keyfob.cli.token_options import shown_tokens
from keyfob.server.devices import Device, IssuedDevice

__all__ = ["answer_issued", "answer_keys", "device_data", "device_time"]


def answer_keys(device: Device, *, as_json: bool) -> None:
    """Tell of what a device authenticates by."""
    data: dict[str, object] = {
        "client_id": device.id,
        "authentication": _methods(device),
        **({"keys": _keys(device)} if device.keys else {}),
        **certificate_data(device.certificate, bound=device.certificate_bound),
        "scope": " ".join(device.scopes),
    }
    answer(data, fields(data), as_json=as_json)


def _methods(device: Device) -> str:
    ways = (
        ("client_secret", device.has_secret),
        ("private_key_jwt", bool(device.keys)),
        ("tls_client_auth", device.certificate.names),
        ("self_signed_tls_client_auth", bool(device.certificate.thumbprints)),
    )
    return " ".join(way for way, has in ways if has)


def _keys(device: Device) -> str:
    return " ".join(f"{key.kid}:{key.algorithm}" for key in device.keys)


def answer_issued(issued: IssuedDevice, *, as_json: bool) -> None:
    """Tell of a device and its new secret, or of what it has instead."""
    if not issued.secret:
        answer_keys(issued.device, as_json=as_json)
        return
    data = {
        "client_id": issued.device.id,
        "client_secret": issued.secret,
        "scope": " ".join(issued.device.scopes),
    }
    answer(data, fields(data), as_json=as_json)


def device_data(device: Device) -> dict[str, object]:
    """Return what is told of a device."""
    return {
        "client_id": device.id,
        "state": device.state,
        "authentication": _methods(device),
        "keys": _keys(device) or None,
        **certificate_data(device.certificate, bound=device.certificate_bound),
        "scope": " ".join(device.scopes),
        "groups": list(device.groups),
        "labels": dict(device.labels),
        "lifetime": device.lifetime,
        "tokens": shown_tokens(device.metadata) or None,
        "created_at": device_time(device.created_at),
        "last_token_at": device_time(device.last_token_at),
    }


def device_time(seconds: float | None) -> str | None:
    """Return a moment as an ISO date in UTC; None for none."""
    return None if seconds is None else time_of(seconds)
