# SPDX-License-Identifier: Apache-2.0
"""What is sent to the admin API for what somebody wants of a register.

What the API cannot be asked for is refused here; nothing of a wish is left out in silence.
"""

from __future__ import annotations

from typing import Any

import msgspec

from keyfob.errors import ConfigError
from keyfob.server import wishes
from keyfob.server.admin.applications import NewApplication
from keyfob.server.admin.certificates import CertificateForm, NewCertificate
from keyfob.server.admin.devices import DeviceChange, JwkSet, NewDevice, Rights, TokenForm
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish
from keyfob.tokens import json_strict

__all__ = [
    "device_change",
    "key_set",
    "new_application",
    "new_certificate",
    "new_device",
    "token_form",
]


def new_device(wish: DeviceWish) -> NewDevice:
    """Return what asks for a device.

    Raises:
        ConfigError: The keys are no JWK Set.
    """
    return NewDevice(
        id=wish.id,
        rights=_rights(wish.rights),
        lifetime=wish.lifetime,
        groups=tuple(wish.groups),
        labels=dict(wish.labels),
        pending=wish.pending,
        **_authentication(wish),
    )


def device_change(change: ChangeWish) -> DeviceChange:
    """Return what asks for a change of a device."""
    return DeviceChange(
        rights=msgspec.UNSET if change.rights is None else _rights(change.rights),
        lifetime=msgspec.UNSET if change.lifetime is None else change.lifetime or None,
        into=tuple(change.into),
        out_of=tuple(change.out_of),
        labels=dict(change.labels),
        unlabel=tuple(change.unlabel),
    )


def new_application(wish: ApplicationWish) -> NewApplication:
    """Return what asks for an application.

    Raises:
        ConfigError: As for a device.
    """
    return NewApplication(
        id=wish.id,
        public=wish.public,
        refresh=wish.refresh,
        device_code=wish.device_code,
        **_authentication(wish),
    )


def new_certificate(
    identity: CertificateIdentity | None, *, bound: bool | None, remove_secret: bool
) -> NewCertificate:
    """Return what asks for another certificate.

    Args:
        identity: What it has to be; an empty one takes it away, None leaves it.
        bound: Whether tokens are bound to it; None leaves that.
        remove_secret: Whether the secret stops.
    """
    form: CertificateForm | msgspec.UnsetType | None = msgspec.UNSET
    if identity is not None:
        form = CertificateForm.of(identity) if identity else None
    return NewCertificate(
        certificate=form,
        bound=msgspec.UNSET if bound is None else bound,
        remove_secret=remove_secret,
    )


def token_form(metadata: ClientMetadata) -> TokenForm:
    """Return what the API knows of metadata.

    Raises:
        ConfigError: There is more.
    """
    members = {name: getattr(metadata, name) for name in TokenForm.__struct_fields__}
    form = TokenForm(**members)
    if form.metadata != metadata:
        raise ConfigError("not all of this can be registered over --server; do it at the server")
    return form


def key_set(document: bytes) -> JwkSet:
    """Return the keys of a JWK Set, or one key as a set; the server says what is wrong with them.

    Raises:
        ConfigError: It is neither.
    """
    try:
        parsed = json_strict.loads(document)
    except json_strict.JsonError as error:
        raise ConfigError(f"the keys are no JWK Set: {error}") from None
    if isinstance(parsed, dict) and "kty" in parsed:
        parsed = {"keys": [parsed]}
    keys = parsed.get("keys") if isinstance(parsed, dict) else None
    try:
        return msgspec.convert({"keys": keys}, JwkSet)
    except msgspec.ValidationError:
        raise ConfigError('the keys are no JWK Set: {"keys": [...]} (RFC 7517)') from None


def _authentication(wish: DeviceWish | ApplicationWish) -> dict[str, Any]:
    """Return the members that tell how a client authenticates, and what its tokens are."""
    named = wish.certificate
    return {
        "jwks": None if wish.jwks is None else key_set(wish.jwks),
        "tokens": token_form(wish.metadata),
        "certificate": None if named is None else CertificateForm.of(named),
        "certificate_bound": wish.certificate_bound,
    }


def _rights(rights: wishes.Rights) -> Rights:
    single = [scope for text in rights.scopes for scope in text.split()]
    return Rights(
        publish=tuple(rights.publish), subscribe=tuple(rights.subscribe), scopes=tuple(single)
    )
