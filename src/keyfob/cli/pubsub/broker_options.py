# SPDX-License-Identifier: Apache-2.0
"""Where the broker is and how one speaks with it: options of ``keyfob pub`` and ``keyfob sub``.

They are Mosquitto's; what a profile says counts where an option does not.
"""

from __future__ import annotations

import dataclasses
import os
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer
from paho.mqtt.properties import Properties
from typer.models import OptionInfo

from keyfob.cli.broker_target import (
    V5,
    V311,
    Address,
    BrokerTarget,
    BrokerTls,
    parse_broker,
)
from keyfob.cli.profile_sources import file_of
from keyfob.cli.profiles import Profile
from keyfob.cli.pubsub.properties import read_properties
from keyfob.cli.pubsub.property_words import words_of
from keyfob.device.carrying import Carry
from keyfob.errors import ConfigError
from keyfob.loopback import is_loopback
from keyfob.mqtt.topics import TopicName

__all__ = ["BrokerOptions", "Wish", "read_url", "wish_of"]

FOREVER: Final = 0xFFFFFFFF
"""A session that never ends (MQTT 5.0 section 3.1.2.11.2)."""

Version = Literal["mqttv5", "5", "mqttv311", "311"]


def _hidden(why: str, *names: str) -> OptionInfo:
    """Return an option of Mosquitto's that is refused by its name."""

    def refuse(parameter: typer.CallbackParam, value: str) -> str:
        if value:
            raise ConfigError(f"{parameter.opts[-1]} is not offered: {why}")
        return value

    option: OptionInfo = typer.Option(*names, hidden=True, callback=refuse)
    return option


@dataclass(frozen=True, kw_only=True)
class BrokerOptions:
    """Mosquitto's options about the connection, and those that a token cannot stand beside."""

    broker: Annotated[
        str,
        typer.Option(metavar="URL", help="mqtt://, mqtts://, ws:// or wss://HOST[:PORT][/PATH]"),
    ] = ""
    host: Annotated[
        str, typer.Option("-h", "--host", metavar="HOST", help="The broker; else localhost.")
    ] = ""
    port: Annotated[
        int, typer.Option("-p", "--port", min=0, max=65535, help="Else 1883; 8883 over TLS.")
    ] = 0
    bind: Annotated[
        str, typer.Option("-A", metavar="ADDRESS", help="Use this address of this machine.")
    ] = ""
    carry: Annotated[
        str,
        typer.Option(
            metavar="HOW", help="Where the token goes: password, username, header, auth:METHOD."
        ),
    ] = ""
    username: Annotated[
        str, typer.Option("-u", "--username", metavar="NAME", help="MQTT's, beside the token.")
    ] = ""
    id: Annotated[
        str, typer.Option("-i", "--id", metavar="ID", help="The MQTT client identifier.")
    ] = ""
    id_prefix: Annotated[
        str,
        typer.Option(
            "-I", "--id-prefix", metavar="TEXT", help="The same, with the process behind."
        ),
    ] = ""
    keepalive: Annotated[
        int, typer.Option("-k", "--keepalive", min=5, max=65535, metavar="SECONDS")
    ] = 60
    keep_session: Annotated[
        bool, typer.Option("-c", "--disable-clean-session", help="The session outlives this.")
    ] = False
    session_expiry: Annotated[
        str,
        typer.Option(
            "-x", "--session-expiry-interval", metavar="SECONDS", help="For how long; -1: for ever."
        ),
    ] = ""
    version: Annotated[Version, typer.Option("-V", "--protocol-version", help="Of MQTT.")] = (
        "mqttv5"
    )
    property: Annotated[
        list[str] | None,
        typer.Option(
            "-D", "--property", metavar="COMMAND NAME VALUE", help="A property of MQTT 5."
        ),
    ] = None
    will_topic: Annotated[str, typer.Option(metavar="TOPIC", help="Of the will.")] = ""
    will_payload: Annotated[str | None, typer.Option(metavar="TEXT", help="Of the will.")] = None
    will_qos: Annotated[int, typer.Option(min=0, max=2, help="Of the will.")] = 0
    will_retain: Annotated[bool, typer.Option("--will-retain", help="Of the will.")] = False
    cafile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates to trust the broker by.")
    ] = None
    capath: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The same, as openssl rehash names them.")
    ] = None
    tls_use_os_certs: Annotated[
        bool, typer.Option("--tls-use-os-certs", help="TLS, with the system's certificates.")
    ] = False
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="A certificate to show.")] = None
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key.")] = None
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Take a certificate for another host: for tests.")
    ] = False
    tls_version: Annotated[
        Literal["tlsv1.2", "tlsv1.3"] | None, typer.Option(help="The lowest.")
    ] = None
    ciphers: Annotated[str, typer.Option(metavar="LIST", help="As OpenSSL writes them.")] = ""
    tls_alpn: Annotated[str, typer.Option(metavar="PROTOCOL", help="For RFC 7301.")] = ""
    nodelay: Annotated[bool, typer.Option("--nodelay", help="Send small packets at once.")] = False
    debug: Annotated[
        bool, typer.Option("-d", "--debug", help="Tell what is sent and received.")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="Tell no errors.")] = False
    pw: Annotated[
        str,
        _hidden(
            "the token takes this place; its secret never stands on a command line", "-P", "--pw"
        ),
    ] = ""
    psk: Annotated[str, _hidden("Python's TLS has no pre-shared keys for this", "--psk")] = ""
    psk_identity: Annotated[
        str, _hidden("Python's TLS has no pre-shared keys for this", "--psk-identity")
    ] = ""
    proxy: Annotated[str, _hidden("there is no SOCKS here; use a tunnel (ssh -L)", "--proxy")] = ""
    unix: Annotated[str, _hidden("a broker is reached by TCP or WebSocket", "--unix")] = ""
    srv: Annotated[bool, _hidden("no SRV records are looked up; name the broker", "-S")] = False
    keyform: Annotated[str, _hidden("keys are files with PEM", "--keyform")] = ""
    tls_engine: Annotated[str, _hidden("keys are files with PEM", "--tls-engine")] = ""
    tls_engine_kpass_sha1: Annotated[
        str, _hidden("keys are files with PEM", "--tls-engine-kpass-sha1")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A connection as it is wished for.

    Attributes:
        target: The broker.
        version: ``V5`` or ``V311``.
        keepalive: Seconds.
        bind: The address of this machine; empty: any.
        keep_session: Whether the session is there before and after.
        session_expiry: Seconds, where it was said.
        properties: By the packet that they go into.
        will: Topic, payload, QoS, and whether it is retained; None: none.
        nodelay: Whether small packets are sent at once.
        debug: Whether to tell what is sent and received.
        quiet: Whether to tell no errors.
    """

    target: BrokerTarget
    version: int
    keepalive: int
    bind: str
    keep_session: bool
    session_expiry: int | None
    properties: dict[str, Properties]
    will: tuple[str, bytes, int, bool] | None
    nodelay: bool
    debug: bool
    quiet: bool


def read_url(url: str) -> tuple[Address | None, str]:
    """Read what -L says: a broker and, behind it, a topic.

    Raises:
        ConfigError: It is no such URL.
    """
    if not url:
        return None, ""
    scheme, sign, rest = url.partition("://")
    place, _, topic = rest.partition("/")
    if not sign or scheme not in {"mqtt", "mqtts"}:
        raise ConfigError("-L is mqtt://HOST[:PORT]/TOPIC or mqtts://…")
    return parse_broker(f"{scheme}://{place}"), topic


def wish_of(
    options: BrokerOptions,
    profile: Profile,
    url: Address | None,
    *,
    identifier: str,
    commands: tuple[str, ...],
) -> Wish:
    """Return the connection that options and profile mean.

    Args:
        options: What was typed.
        profile: What counts where nothing was.
        url: What -L says.
        identifier: The client identifier where none is said.
        commands: The packets that -D may be about.

    Raises:
        ConfigError: Something does not fit.
    """
    version = V5 if options.version in {"mqttv5", "5"} else V311
    if version == V311 and (options.property or options.session_expiry):
        raise ConfigError("-D and -x are of MQTT 5: -V mqttv5")
    properties = read_properties([words_of(one) for one in options.property or ()], commands)
    return Wish(
        target=_target(options, profile, url, identifier),
        version=version,
        keepalive=options.keepalive,
        bind=options.bind,
        keep_session=options.keep_session,
        session_expiry=_expiry(options.session_expiry),
        properties=dict(properties),
        will=_will(options),
        nodelay=options.nodelay,
        debug=options.debug,
        quiet=options.quiet,
    )


def _target(
    options: BrokerOptions, profile: Profile, url: Address | None, identifier: str
) -> BrokerTarget:
    if options.id and options.id_prefix:
        raise ConfigError("one of -i and -I says the client identifier")
    prefixed = f"{options.id_prefix}{os.getpid()}" if options.id_prefix else ""
    named = options.id or prefixed or profile.client_identifier or identifier
    if options.keep_session and not named:
        raise ConfigError("-c keeps a session by its client identifier: give -i")
    carry = options.carry or profile.carry or "password"
    Carry.parse(carry)
    username = options.username or profile.username
    if username and carry == "username":
        raise ConfigError("the token goes into the username: leave -u out")
    return BrokerTarget(
        address=_address(options, profile, url),
        tls=_tls(options, profile),
        carry=carry,
        username=username,
        client_identifier=named,
    )


def _address(options: BrokerOptions, profile: Profile, url: Address | None) -> Address:
    if url is not None or options.broker:
        if (url is not None and options.broker) or options.host or options.port:
            raise ConfigError("one of -L, --broker, and -h with -p says where the broker is")
        address = url if url is not None else parse_broker(options.broker)
    else:
        known = parse_broker(profile.broker) if profile.broker else None
        tls = options.port == 8883 or (known is not None and known.tls and options.port != 1883)
        tls = tls or bool(options.cafile or options.capath or options.tls_use_os_certs)
        address = known or Address(host="localhost", port=8883 if tls else 1883)
        if options.host:
            usual = 8883 if tls else 1883
            address = dataclasses.replace(address, host=options.host, port=usual)
        address = dataclasses.replace(address, port=options.port or address.port, tls=tls)
    if not address.tls and not is_loopback(address.host) and not options.quiet:
        sys.stderr.write(f"keyfob: {address} is without TLS: the token can be read on its way\n")
    return address


def _tls(options: BrokerOptions, profile: Profile) -> BrokerTls:
    own = bool(options.cafile or options.capath or options.tls_use_os_certs)
    certificate = options.cert or file_of(profile.broker_certificate)
    return BrokerTls(
        ca=options.cafile if own else file_of(profile.broker_ca),
        ca_folder=options.capath,
        certificate=certificate,
        key=options.key or (None if options.cert else file_of(profile.broker_key)),
        any_name=options.insecure,
        least=ssl.TLSVersion.TLSv1_3
        if options.tls_version == "tlsv1.3"
        else ssl.TLSVersion.TLSv1_2,
        ciphers=options.ciphers,
        alpn=options.tls_alpn,
    )


def _expiry(text: str) -> int | None:
    if not text:
        return None
    if text in {"-1", "∞"}:
        return FOREVER
    if not (text.isascii() and text.isdigit() and int(text[:11]) <= FOREVER):
        raise ConfigError("-x is a number of seconds up to 4294967295, or -1")
    return int(text)


def _will(options: BrokerOptions) -> tuple[str, bytes, int, bool] | None:
    if not options.will_topic:
        if options.will_payload is not None or options.will_qos or options.will_retain:
            raise ConfigError("a will needs --will-topic")
        return None
    payload = os.fsencode(options.will_payload or "")
    topic = str(TopicName.parse(options.will_topic))
    return topic, payload, options.will_qos, options.will_retain
