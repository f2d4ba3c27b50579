# SPDX-License-Identifier: Apache-2.0
"""Devices over the admin API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec

from keyfob.server import devices, wishes
from keyfob.server.admin.certificates import CertificateForm
from keyfob.server.admin.operations import Call, Name, Operation, Page
from keyfob.server.admin_scopes import DEVICES_READ, DEVICES_WRITE
from keyfob.server.client_keys import MAX_CLIENT_KEYS
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.devices import Device
from keyfob.server.groups import GROUP_PATTERN, MAX_GROUPS, check_group_name
from keyfob.server.labels import MAX_LABELS, parse_label
from keyfob.server.lifetimes import MAX_LIFETIME, MIN_LIFETIME
from keyfob.server.rotation import MAX_OVERLAP
from keyfob.server.scopes import MAX_SCOPES
from keyfob.server.stores.fleet import Selection
from keyfob.server.wishes import ChangeWish, DeviceWish

__all__ = ["OPERATIONS", "DevicePage", "IssuedDevice", "JwkSet", "NewDevice", "Rights"]

_MANY: Final = msgspec.Meta(max_length=MAX_SCOPES)
# What describes them for programs; ``scopes`` says what they are in the end.
_LEVEL: Final = r"([^+#/{}\x00-\x1f\x7f-\x9f]|\{device\}|\{sub\})*"
_FILTER: Final = rf"^((\+|{_LEVEL})/)*(#|\+|{_LEVEL})$"
_SCOPE: Final = r"^[!#-\[\]-~]+$"
_EXAMPLE_KEY: Final = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "7f3tQ3zbA7ouhSi_BmE4ThGAeQAjBSHVPIcUeAP3IY0",
    "kid": "2027",
}
Filters = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=1_000, pattern=_FILTER)], ...],
    _MANY,
    msgspec.Meta(description="MQTT topic filters; {device} stands for the device's name."),
]
Scopes = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=1_000, pattern=_SCOPE)], ...],
    _MANY,
    msgspec.Meta(description="Further scopes, each as it is."),
]
Lifetime = Annotated[
    int,
    msgspec.Meta(ge=MIN_LIFETIME, le=MAX_LIFETIME, description="Seconds that its tokens live."),
]


Overlap = Annotated[
    int,
    msgspec.Meta(ge=0, le=MAX_OVERLAP, description="Seconds that the old secret works, too."),
]
UntilUsed = Annotated[
    bool, msgspec.Meta(description="Whether it ends earlier, once the new one was used.")
]
Groups = Annotated[
    tuple[Annotated[str, msgspec.Meta(pattern=GROUP_PATTERN, max_length=64)], ...],
    msgspec.Meta(max_length=MAX_GROUPS),
]
Labels = Annotated[
    dict[
        Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=63)],
        Annotated[str, msgspec.Meta(max_length=128)],
    ],
    msgspec.Meta(max_length=MAX_LABELS),
]


class Selected(Page, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which devices, and which part of their list."""

    group: Annotated[str, msgspec.Meta(max_length=64, description="Those in this group.")] = ""
    label: Annotated[
        str, msgspec.Meta(max_length=200, description="Those with this label: key=value.")
    ] = ""
    state: Annotated[
        Literal["", "pending", "active", "disabled"],
        msgspec.Meta(description="Those in this state."),
    ] = ""

    @property
    def selection(self) -> Selection:
        """The same for the register.

        Raises:
            ConfigError: The group's name, or the label, is none.
        """
        if self.group:
            check_group_name(self.group)
        label = parse_label(self.label) if self.label else None
        return Selection(group=self.group, label=label, state=self.state or None)


class Rights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a device's tokens allow beside to connect."""

    publish: Filters = ()
    subscribe: Filters = ()
    scopes: Scopes = ()

    @property
    def wish(self) -> wishes.Rights:
        """The same for the register."""
        return wishes.Rights(publish=self.publish, subscribe=self.subscribe, scopes=self.scopes)


class JwkSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Public keys (RFC 7517 section 5)."""

    keys: Annotated[
        tuple[dict[str, Any], ...],
        msgspec.Meta(min_length=1, max_length=MAX_CLIENT_KEYS, examples=[[_EXAMPLE_KEY]]),
    ]

    @property
    def document(self) -> bytes:
        """The set as the register takes it."""
        return msgspec.json.encode(self)


class TokenForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What access tokens are, and what they are bound to; empty: as the server says."""

    dpop_bound_access_tokens: bool = False
    access_token_format: Literal["", "jwt", "opaque"] = ""
    access_token_confirmation: Literal["", "jwk", "symmetric"] = ""

    @property
    def metadata(self) -> ClientMetadata:
        """The same for the register."""
        return ClientMetadata(**msgspec.structs.asdict(self))


class NewDevice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device to register; a pending one gets no token yet.

    With keys or a certificate it has no secret.
    """

    id: Name
    rights: Rights = Rights()
    lifetime: Lifetime | None = None
    jwks: JwkSet | None = None
    groups: Groups = ()
    labels: Labels = {}
    pending: bool = False
    tokens: TokenForm = TokenForm()
    certificate: CertificateForm | None = None
    certificate_bound: bool = False

    @property
    def wish(self) -> DeviceWish:
        """The same for the register."""
        return DeviceWish(
            self.id,
            rights=self.rights.wish,
            lifetime=self.lifetime,
            jwks=None if self.jwks is None else self.jwks.document,
            groups=self.groups,
            labels=self.labels,
            pending=self.pending,
            metadata=self.tokens.metadata,
            certificate=None if self.certificate is None else self.certificate.identity,
            certificate_bound=self.certificate_bound,
        )


class DeviceChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be other than it was; what is left out stays. Rights are replaced as a whole.

    The device is put into groups (``into``) and taken out of others (``out_of``); it gets labels,
    and loses those of the keys in ``unlabel``.
    """

    rights: Rights | msgspec.UnsetType = msgspec.UNSET
    into: Groups = ()
    out_of: Groups = ()
    labels: Labels = {}
    unlabel: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=63)], ...], msgspec.Meta(max_length=32)
    ] = ()
    lifetime: Lifetime | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def wish(self) -> ChangeWish:
        """The same for the register."""
        return ChangeWish(
            into=self.into,
            out_of=self.out_of,
            labels=self.labels,
            unlabel=self.unlabel,
            lifetime=None if self.lifetime is msgspec.UNSET else self.lifetime or 0,
            rights=None if self.rights is msgspec.UNSET else self.rights.wish,
        )


class NewKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Public keys that a client has from now on, instead of those before."""

    jwks: JwkSet
    remove_secret: bool = False


class NewSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a secret is followed by another."""

    overlap: Overlap = 0
    until_used: UntilUsed = False


class DeviceRights(msgspec.Struct, frozen=True, kw_only=True):
    """What a device's tokens may say: its own scopes and those of its groups."""

    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedDevice:
    """A device, and its new secret where it has one; it is shown this once."""

    device: Device
    client_secret: str | None = field(repr=False)

    @classmethod
    def of(cls, issued: devices.IssuedDevice) -> IssuedDevice:
        """Return what the register has made."""
        return cls(device=issued.device, client_secret=issued.secret or None)


class DevicePage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list; ``next`` is what ``after`` has to be for the next one, if there is."""

    items: tuple[Device, ...]
    next: str | None


def _list(call: Call) -> DevicePage:
    query: Selected = call.query
    items, following = query.read(
        lambda after, limit: call.register.list_devices(query.selection, after=after, limit=limit),
        lambda one: one.id,
    )
    return DevicePage(items=items, next=following)


def _create(call: Call) -> IssuedDevice:
    new: NewDevice = call.body
    return IssuedDevice.of(call.register.add_device(new.wish))


def _change(call: Call) -> Device:
    change: DeviceChange = call.body
    return call.register.change_device(call.target, change.wish)


def _rights(call: Call) -> DeviceRights:
    call.register.show_device(call.target)  # that it is one
    return DeviceRights(scopes=call.register.fleet.rights(call.target))


def _set_keys(call: Call) -> Device:
    wish: NewKeys = call.body
    return call.register.set_device_jwks(
        call.target, wish.jwks.document, remove_secret=wish.remove_secret
    )


def _rotate_secret(call: Call) -> IssuedDevice:
    wish: NewSecret = call.body
    return IssuedDevice.of(
        call.register.rotate_secret(call.target, overlap=wish.overlap, until_used=wish.until_used)
    )


_ONE: Final = "/devices/{id}"

OPERATIONS: Final = (
    Operation(
        name="listDevices",
        method="get",
        path="/devices",
        summary="List devices, by name.",
        scope=DEVICES_READ,
        query=Selected,
        answer=DevicePage,
        work=_list,
    ),
    Operation(
        name="addDevice",
        method="post",
        path="/devices",
        summary="Register a device; its secret is shown this once.",
        scope=DEVICES_WRITE,
        body=NewDevice,
        answer=IssuedDevice,
        created=True,
        location=lambda issued: f"/devices/{quote(issued.device.id)}",
        statuses=(404, 409),  # 404: there is no such group
        work=_create,
    ),
    Operation(
        name="getDevice",
        method="get",
        path=_ONE,
        summary="Show a device.",
        scope=DEVICES_READ,
        answer=Device,
        work=lambda call: call.register.show_device(call.target),
    ),
    Operation(
        name="getDeviceRights",
        method="get",
        path=_ONE + "/rights",
        summary="Show what a device's tokens may say, with what its groups give.",
        scope=DEVICES_READ,
        answer=DeviceRights,
        work=_rights,
    ),
    Operation(
        name="changeDevice",
        method="patch",
        path=_ONE,
        summary="Change a device's rights, lifetime, groups or labels.",
        scope=DEVICES_WRITE,
        body=DeviceChange,
        answer=Device,
        work=_change,
    ),
    Operation(
        name="removeDevice",
        method="delete",
        path=_ONE,
        summary="Forget a device, and revoke the tokens that it has.",
        scope=DEVICES_WRITE,
        work=lambda call: call.register.remove_device(call.target),
    ),
    Operation(
        name="disableDevice",
        method="post",
        path=_ONE + "/disable",
        summary="Give a device no new token, and revoke those that it has.",
        scope=DEVICES_WRITE,
        answer=Device,
        work=lambda call: call.register.disable_device(call.target),
    ),
    Operation(
        name="enableDevice",
        method="post",
        path=_ONE + "/enable",
        summary="Let a disabled or pending device have tokens; old ones stay revoked.",
        scope=DEVICES_WRITE,
        answer=Device,
        work=lambda call: call.register.enable_device(call.target),
    ),
    Operation(
        name="rotateDeviceSecret",
        method="post",
        path=_ONE + "/rotate-secret",
        summary="Give a device a new secret, shown this once.",
        scope=DEVICES_WRITE,
        body=NewSecret,
        answer=IssuedDevice,
        statuses=(409,),
        work=_rotate_secret,
    ),
    Operation(
        name="setDeviceKeys",
        method="put",
        path=_ONE + "/keys",
        summary="Give a device other public keys; those before stop now.",
        scope=DEVICES_WRITE,
        body=NewKeys,
        answer=Device,
        work=_set_keys,
    ),
    Operation(
        name="setDeviceTokens",
        method="put",
        path=_ONE + "/tokens",
        summary="Change what a device's next tokens are, and what they are bound to.",
        scope=DEVICES_WRITE,
        body=TokenForm,
        answer=Device,
        work=lambda call: call.register.set_device_tokens(call.target, call.body.metadata),
    ),
    Operation(
        name="revokeDeviceTokens",
        method="post",
        path=_ONE + "/revoke-tokens",
        summary="Revoke the tokens that a device has; it may get new ones.",
        scope=DEVICES_WRITE,
        work=lambda call: call.register.revoke_device_tokens(call.target),
    ),
)
