# SPDX-License-Identifier: Apache-2.0
"""A broker that commands connect to: where it is, whom it is trusted by, what it is shown."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties

from keyfob.cli.profile_sources import file_of
from keyfob.cli.profiles import Profile
from keyfob.device.paho import Session, attach
from keyfob.device.paho_public import PublicSession
from keyfob.device.tokens import Tokens
from keyfob.errors import ConfigError, UpstreamError

__all__ = [
    "V5",
    "V311",
    "Address",
    "BrokerTarget",
    "BrokerTls",
    "attached_client",
    "connect",
    "parse_broker",
    "target_of",
    "unreachable",
]


V311: Final = int(mqtt.MQTTv311)
V5: Final = int(mqtt.MQTTv5)
"""Protocol levels, as CONNECT carries them (MQTT 5.0 section 3.1.2.2)."""


@dataclass(frozen=True, slots=True)
class _Scheme:
    port: int
    tls: bool
    transport: Literal["tcp", "websockets"]


_SCHEMES: Final[Mapping[str, _Scheme]] = MappingProxyType(
    {
        "mqtt": _Scheme(1883, tls=False, transport="tcp"),
        "mqtts": _Scheme(8883, tls=True, transport="tcp"),
        "ws": _Scheme(80, tls=False, transport="websockets"),
        "wss": _Scheme(443, tls=True, transport="websockets"),
    }
)

WEBSOCKET_PATH: Final = "/mqtt"
"""Where a URL names no path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a broker listens.

    Attributes:
        host: Its name or address; it is what its certificate has to be for.
        port: TCP's.
        tls: Whether it speaks TLS.
        transport: ``tcp``, or ``websockets``.
        path: The resource of the WebSocket handshake.
    """

    host: str
    port: int
    tls: bool = False
    transport: Literal["tcp", "websockets"] = "tcp"
    path: str = WEBSOCKET_PATH

    def __str__(self) -> str:
        """Return it as a URL, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = next(
            name
            for name, one in _SCHEMES.items()
            if (one.tls, one.transport) == (self.tls, self.transport)
        )
        return f"{scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTls:
    """How TLS is spoken with a broker.

    Attributes:
        ca: A file of certificates that alone are trusted; None, and no ``ca_folder``: the system's.
        ca_folder: A folder of such files, as ``openssl rehash`` names them.
        certificate: A file with our certificate.
        key: A file with its key; None: it stands beside the certificate.
        any_name: Whether the certificate may be for another host.
        least: The lowest version.
        ciphers: In the notation of OpenSSL, for TLS 1.2; empty: as Python has them.
        alpn: The one protocol for RFC 7301; empty: none is named.
    """

    ca: Path | None = None
    ca_folder: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    any_name: bool = False
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = ""
    alpn: str = ""

    def context(self) -> ssl.SSLContext:
        """Make what paho speaks TLS by.

        Raises:
            ConfigError: A file is unusable, or the ciphers are none.
        """
        context = self._trusting()
        context.minimum_version = self.least
        context.check_hostname = not self.any_name
        if self.certificate is not None:
            try:
                # An empty password: else OpenSSL asks whoever sits at the terminal.
                context.load_cert_chain(self.certificate, self.key, password="")
            except (OSError, ssl.SSLError) as error:
                said = f"{self.certificate}: no certificate with its key, unencrypted"
                raise ConfigError(f"{said} ({error.strerror})") from error
        elif self.key is not None:
            raise ConfigError("a key needs the certificate that it is for")
        try:
            if self.ciphers:
                context.set_ciphers(self.ciphers)
        except ssl.SSLError as error:
            raise ConfigError("no cipher of these is known (openssl ciphers)") from error
        if self.alpn:
            context.set_alpn_protocols([self.alpn])
        return context

    def _trusting(self) -> ssl.SSLContext:
        named = self.ca or self.ca_folder
        if self.ca_folder is not None and not self.ca_folder.is_dir():
            raise ConfigError(f"{self.ca_folder}: no folder of certificates")
        try:
            return ssl.create_default_context(cafile=self.ca, capath=self.ca_folder)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{named}: no certificates to trust ({error.strerror})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerTarget:
    """A broker, and what it is shown beside the token.

    Attributes:
        address: Where it is.
        tls: How TLS is spoken, where it is.
        carry: Where a CONNECT carries the token, as ``attach`` takes it.
        username: MQTT's username, beside a token that goes elsewhere; empty: as ``attach`` does.
        client_identifier: MQTT's client identifier; empty: the broker assigns one.
    """

    address: Address
    tls: BrokerTls = field(default_factory=BrokerTls)
    carry: str = "password"
    username: str = ""
    client_identifier: str = ""


def parse_broker(url: str) -> Address:
    """Read where a broker is.

    Args:
        url: Such as ``mqtts://broker.example.com`` or ``wss://broker.example.com:8084/mqtt``.

    Raises:
        ConfigError: It is no such URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError("a broker's URL has a host and a port up to 65535") from error
    return _address(parts, port)


def _address(parts: SplitResult, port: int | None) -> Address:
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigError(f"a broker's URL begins with one of {known}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("a broker's URL has no name and password: the token takes their place")
    if not parts.hostname or port == 0:
        raise ConfigError("a broker's URL names a host, and a port above 0 if any")
    websockets = scheme.transport == "websockets"
    if parts.fragment or (not websockets and (parts.path.strip("/") or parts.query)):
        raise ConfigError("only a ws:// or wss:// URL has something behind host and port")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Address(
        host=parts.hostname,
        port=port or scheme.port,
        tls=scheme.tls,
        transport=scheme.transport,
        path=path if websockets and path else WEBSOCKET_PATH,
    )


def target_of(profile: Profile) -> BrokerTarget:
    """Return the broker that a profile names.

    Raises:
        ConfigError: It names none, or something about it does not fit.
    """
    if not profile.broker:
        raise ConfigError('the profile names no broker: broker = "mqtts://HOST"', key="broker")
    return BrokerTarget(
        address=parse_broker(profile.broker),
        tls=BrokerTls(
            ca=file_of(profile.broker_ca),
            certificate=file_of(profile.broker_certificate),
            key=file_of(profile.broker_key),
        ),
        carry=profile.carry or "password",
        username=profile.username,
        client_identifier=profile.client_identifier or profile.device_name,
    )


def attached_client(
    target: BrokerTarget,
    source: Tokens,
    *,
    version: int = V5,
    clean: bool = True,
    renew: str = "auto",
) -> tuple[mqtt.Client, Session | PublicSession]:
    """Make a paho client that shows a good token at every CONNECT; nothing is connected yet.

    Args:
        target: The broker.
        source: Where the tokens come from.
        version: ``V5`` or ``V311``.
        clean: For 3.1.1, whether a session ends with its connection; in 5 the first CONNECT's
            ``clean_start`` says that (``connect``).
        renew: As ``attach`` has it.

    Raises:
        ConfigError: These do not fit together, or a file is unusable.
    """
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=target.client_identifier,
        clean_session=clean if version != V5 else None,
        protocol=MQTTProtocolVersion(version),
        transport=target.address.transport,
        reconnect_on_failure=True,
    )
    if target.address.transport == "websockets":
        client.ws_set_options(path=target.address.path)
    if target.address.tls:
        client.tls_set_context(target.tls.context())
        client.tls_insecure_set(target.tls.any_name)
    if target.username:
        client.username_pw_set(target.username)
    return client, attach(client, source, carry=target.carry, renew=renew)


def connect(
    client: mqtt.Client,
    address: Address,
    *,
    keepalive: int = 60,
    bind_address: str = "",
    clean_start: bool | None = None,
    properties: Properties | None = None,
) -> None:
    """Make the connection and send CONNECT; the answer comes when the client's loop runs.

    Args:
        client: From ``attached_client``.
        address: Where the broker is.
        keepalive: Seconds.
        bind_address: The address of this machine to use; empty: any.
        clean_start: For MQTT 5, for every CONNECT; None: true for the first one alone.
        properties: CONNECT's.

    Raises:
        UpstreamError: The broker is not reached, or not trusted, or there is no token.
    """
    start: Any = mqtt.MQTT_CLEAN_START_FIRST_ONLY if clean_start is None else clean_start
    try:
        client.connect(address.host, address.port, keepalive, bind_address, 0, start, properties)
    except (OSError, mqtt.WebsocketConnectionError) as error:
        raise unreachable(address, error) from None
    except UnicodeError as error:  # of the name, by IDNA
        raise ConfigError(f"{address.host!r} is no name of a host") from error


def unreachable(address: Address, error: Exception) -> UpstreamError:
    """Say why there is no connection."""
    if isinstance(error, UpstreamError):  # there is no token
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamError(f"{address}: its certificate is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return UpstreamError(f"{address}: no TLS there: {error.reason or 'it ended'}")
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UpstreamError(f"{address}: {said}")
