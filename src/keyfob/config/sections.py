# SPDX-License-Identifier: Apache-2.0
"""The sections of keyfob.toml: every key with its type and default.

What each means to whoever writes the file stands in docs/configuration.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

__all__ = [
    "AuthorizationDetailsSection",
    "Document",
    "EmqxAclSection",
    "EventsSection",
    "GuardSection",
    "HttpSection",
    "IntrospectionSection",
    "IssuerSection",
    "GrantLifetimesSection",
    "LimitsSection",
    "MosquittoSection",
    "OpenIdSection",
    "PolicySection",
    "ProxySection",
    "RabbitmqSection",
    "ResourceSection",
    "Rights",
    "ServerSection",
    "TrustedIssuerSection",
]

Rights = Literal["scopes", "authorization_details", "aif", "emqx_acl", "rabbitmq"]
"""Ways to write rights into a token."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class HttpSection(_Section, frozen=True):
    """``[guard.http]`` and ``[server.metrics]``: where operators ask; port 0: nowhere.

    The guard's also takes security events.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    private_key: Path | None = None


class LimitsSection(_Section, frozen=True):
    """``[server.limits]``: how often somebody may ask for something, and be wrong.

    So many at once (``burst``), and from then on so many a second (``rate``).
    """

    enabled: bool = True
    client_burst: int = 60
    client_rate: float = 1.0
    service_burst: int = 4000
    service_rate: float = 2000.0
    address_burst: int = 10000
    address_rate: float = 500.0
    failure_burst: int = 10
    failure_rate: float = 0.1
    address_failure_burst: int = 500
    address_failure_rate: float = 5.0
    tracked: int = 65536


class ProxySection(_Section, frozen=True):
    """``[server.proxy]``: the proxies in front that may say who really asks.

    ``trusted`` are their addresses and networks. ``certificate_header`` is the header in which
    they hand over the certificate of a client; ``verification_header`` is the one that says
    ``SUCCESS`` where they have verified it, and ``only_verified`` is whether they let no other
    through.
    """

    trusted: tuple[str, ...] = ()
    certificate_header: str = ""
    certificate_format: Literal["url-encoded-pem", "rfc9440"] = "url-encoded-pem"
    verification_header: str = ""
    only_verified: bool = False


class GrantLifetimesSection(_Section, frozen=True):
    """``[server.grant_lifetimes]``: how many seconds tokens live at most, by grant.

    0 leaves it to the device, its groups and ``token_lifetime``.
    """

    client_credentials: int = 0
    password: int = 0
    refresh_token: int = 0
    device_code: int = 0
    jwt_bearer: int = 0
    token_exchange: int = 0


class OpenIdSection(_Section, frozen=True):
    """``[server.openid]``: another issuer by which operators sign in; empty ``issuer``: none.

    ``client_secret`` is a reference. ``claim`` is the claim of an ID token that says which
    operator it is.
    """

    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    claim: str = "sub"
    ca: Path | None = None


class ResourceSection(_Section, frozen=True):
    """``[[server.resource]]``: what tokens may be asked for (RFC 8707), and their ``aud``."""

    uri: str
    audience: str


class TrustedIssuerSection(_Section, frozen=True):
    """``[[server.trusted_issuer]]``: whose assertions get devices tokens (RFC 7523).

    Its keys come from ``jwks`` (a JWK Set as JSON text), ``jwks_file`` or ``jwks_uri``.
    ``devices`` are names, or names with one ``*``; ``lifetime`` is in seconds.
    """

    name: str
    issuer: str
    devices: tuple[str, ...]
    algorithms: tuple[str, ...] = ("ES256",)
    jwks: str = ""
    jwks_file: Path | None = None
    jwks_uri: str = ""
    ca: Path | None = None
    device_claim: str = "sub"
    device_prefix: str = ""
    audience: tuple[str, ...] = ()
    lifetime: int = 3600
    single_use: bool = True
    without_client: bool = False


class ServerSection(_Section, frozen=True):
    """``[server]``: the authorization server.

    ``issuer`` is the URL that tokens carry as ``iss`` and that clients discover the server by;
    ``audience`` is what they carry as ``aud``; lifetimes are in seconds. ``audit`` is the file of
    issued and refused tokens.

    ``key_rotation_days`` is how long a signing key signs (0: until somebody rotates it),
    ``key_announcement`` how many seconds it is published before. ``key_encryption`` is a reference
    to the key that signing keys are encrypted with; empty: they are stored as they are.

    ``database`` is a SQLite file, the URL of a PostgreSQL database, or a reference to such a URL;
    ``migrate`` is whether the server brings it to its own schema when it starts.

    ``token_endpoint_audience`` and ``assertion_lifetime`` (seconds) are about the assertions that
    clients authenticate with: whom they may be for, and for how long.

    ``client_ca`` is a file of authorities that certificates of clients are verified by; none: no
    client is asked for one. ``certificate_bound_tokens`` is whether every token is bound to one.
    ``mtls_url`` is where clients with a certificate find the server, if not at ``issuer``.
    ``dpop_nonce`` is whether DPoP proofs need a nonce, ``access_token_format`` what access tokens
    are unless a client is registered for another. ``device_code_lifetime`` (seconds) is how long a
    device may wait for an approval.
    ``admin_api`` is whether services with admin scopes may change the register over HTTP.
    """

    issuer: str = "https://localhost:8443"
    host: str = "127.0.0.1"
    port: int = 8443
    audience: str = "mqtt"
    token_lifetime: int = 3600
    refresh_token_lifetime: int = 7_776_000
    refresh_token_idle_lifetime: int = 1_209_600
    signing_algorithm: Literal["ES256", "EdDSA", "RS256"] = "ES256"
    key_rotation_days: int = 90
    key_announcement: int = 600
    key_encryption: str = ""
    token_endpoint_audience: bool = True
    assertion_lifetime: int = 600
    dpop_nonce: Literal["required", "off"] = "required"
    access_token_format: Literal["jwt", "opaque"] = "jwt"  # noqa: S105 - a form
    database: str = "server.db"
    migrate: bool = True
    admin_api: bool = True
    device_code_lifetime: int = 600
    certificate: Path = Path("server.pem")
    private_key: Path = Path("server.key")
    client_ca: Path | None = None
    certificate_bound_tokens: bool = False
    mtls_url: str = ""
    audit: Path = Path("log/server-audit.jsonl")
    limits: LimitsSection = LimitsSection()
    grant_lifetimes: GrantLifetimesSection = GrantLifetimesSection()
    metrics: HttpSection = HttpSection()
    openid: OpenIdSection = OpenIdSection()
    proxy: ProxySection = ProxySection()
    resource: tuple[ResourceSection, ...] = ()
    trusted_issuer: tuple[TrustedIssuerSection, ...] = ()


class GuardSection(_Section, frozen=True):
    """``[guard]``: the resource server beside the broker.

    ``token_fields`` are the CONNECT fields that may carry a token, ``authentication_methods`` the
    names of MQTT 5's enhanced authentication that are known. ``socket_users`` are users,
    beside our own and root, that the broker may run as, and ``socket_group`` is a group that may
    reach the socket: a broker that runs as another user needs both. ``audit`` names the sinks,
    each as ``AuditTarget.parse`` reads it. ``ready_timeout`` is how many seconds the guard waits
    for an issuer's keys and revocations before it opens its socket without them;
    ``blocking_wait_ms`` is how long a broker that stops meanwhile may be kept waiting for keys or
    introspection.
    """

    database: Path = Path("guard.db")
    socket: Path = Path("run/guard.sock")
    workers: int = 1
    audit: tuple[str, ...] = ("file:log/audit.jsonl", "console")
    socket_users: tuple[str, ...] = ()
    socket_group: str = ""
    token_fields: tuple[Literal["password", "username"], ...] = ("password", "username")
    authentication_methods: tuple[str, ...] = ("OAUTH2-JWT", "ace", "OAUTH2-DPOP")
    empty_client_id: Literal["accept", "refuse"] = "accept"
    ready_timeout: float = 10.0
    blocking_wait_ms: int = 20
    http: HttpSection = HttpSection()


class PolicySection(_Section, frozen=True):
    """``[[issuer.policy]]``: what a scope, or the value of a claim, allows.

    Exactly one of ``scope`` and ``claim`` (with ``value``) is given. Filters may hold the
    placeholders ``{device}``, ``{sub}``, ``{client_id}`` and ``{claim:NAME}``.
    """

    scope: str = ""
    claim: str = ""
    value: str | bool | int = ""
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


class AuthorizationDetailsSection(_Section, frozen=True):
    """``[issuer.authorization_details]``: what this broker is called there (RFC 9396)."""

    locations: tuple[str, ...] = ()


class EmqxAclSection(_Section, frozen=True):
    """``[issuer.emqx_acl]``: the claim that holds EMQX's rules."""

    claim: str = "acl"


class RabbitmqSection(_Section, frozen=True):
    """``[issuer.rabbitmq]``: RabbitMQ's scopes; no ``scope_prefix``: ``resource_server_id.``.

    ``resource_server_type`` is the type of its ``authorization_details``; empty: not read.
    """

    resource_server_id: str = "rabbitmq"
    scope_prefix: str | None = None
    vhost: str = "/"
    exchange: str = "amq.topic"
    resource_server_type: str = ""
    aliases: Mapping[str, tuple[str, ...]] = {}


class IntrospectionSection(_Section, frozen=True):
    """``[issuer.introspection]``: asking the issuer about tokens (RFC 7662).

    ``client_secret`` and ``private_key`` are references. ``timeout_ms`` is in milliseconds;
    ``cache``, ``negative_cache`` and ``reask`` are in seconds.
    """

    use: Literal["opaque", "always"] = "opaque"
    endpoint: str = ""
    client_id: str = ""
    authentication: Literal["client_secret_basic", "client_secret_post", "private_key_jwt"] = (
        "client_secret_basic"
    )
    client_secret: str = ""
    private_key: str = ""
    key_id: str = ""
    algorithm: str = "ES256"
    prefix: str = ""
    missing_audience: Literal["refuse", "accept"] = "refuse"
    timeout_ms: int = 2000
    cache: int = 30
    negative_cache: int = 10
    reask: int = 60


class EventsSection(_Section, frozen=True):
    """``[issuer.events]``: security events that the issuer pushes (RFC 8417, RFC 8935).

    ``authorization`` is a reference to the secret that a push shows; empty: its signature alone.
    """

    audience: str = ""
    authorization: str = ""


class IssuerSection(_Section, frozen=True):
    """``[[issuer]]``: an authorization server whose tokens are trusted.

    Its keys come from ``jwks`` (a JWK Set as JSON text), ``jwks_file``, ``jwks_uri``, or else by
    discovery from ``issuer`` (RFC 8414). ``leeway`` in seconds applies to ``nbf`` and ``iat``,
    ``expiry_leeway`` to ``exp``. ``require`` maps claims to the text that each must be.
    ``revocation_client`` and ``revocation_secret`` are what the guard reads the issuer's
    revocations with; empty where the issuer has no such feed. No ``introspection``: the issuer is
    never asked; no ``events``: it pushes none.
    """

    name: str
    issuer: str
    audience: tuple[str, ...]
    preset: str = ""
    audience_claim: str = "aud"
    algorithms: tuple[str, ...] = ("ES256",)
    required_scopes: tuple[str, ...] = ("mqtt.connect",)
    scope_claim: str = "scope"
    device_claim: str = "sub"
    types: tuple[str, ...] = ("at+jwt",)
    require: Mapping[str, str] = {}
    leeway: int = 60
    expiry_leeway: int = 0
    max_lifetime: int = 0
    client_id_template: str = "{device}"
    jwks: str = ""
    jwks_file: Path | None = None
    jwks_uri: str = ""
    jwks_refresh: int = 900
    jwks_cooldown: int = 30
    ca: Path | None = None
    revocation_client: str = ""
    revocation_secret: str = ""
    rights: tuple[Rights, ...] = ("scopes",)
    policy: tuple[PolicySection, ...] = ()
    authorization_details: AuthorizationDetailsSection = AuthorizationDetailsSection()
    emqx_acl: EmqxAclSection = EmqxAclSection()
    rabbitmq: RabbitmqSection = RabbitmqSection()
    introspection: IntrospectionSection | None = None
    events: EventsSection | None = None


class MosquittoSection(_Section, frozen=True):
    """``[mosquitto]``: the broker that ``keyfob up`` manages.

    ``plain_port`` opens a listener without TLS on the loopback address, ``websockets_port`` one for
    MQTT over WebSockets over TLS beside the first (0: none).
    ``save_every_change`` writes the broker's state to disk after each change, so that even a
    killed broker owes nothing; it wears flash storage, so the default saves every
    ``autosave_interval`` seconds and at every orderly stop. ``decisions`` is whether the broker
    stops while it waits for one. A client has ``exchange_timeout_ms`` to answer when it is asked
    for more (enhanced authentication).
    """

    program: str = "mosquitto"
    host: str = "127.0.0.1"
    port: int = 8883
    plain_port: int = 0
    websockets_port: int = 0
    directory: Path = Path("mosquitto")
    save_every_change: bool = False
    autosave_interval: int = 60
    guard_timeout_ms: int = 200
    exchange_timeout_ms: int = 30_000
    decisions: Literal["auto", "blocking", "delayed"] = "auto"


class Document(_Section, frozen=True):
    """The whole file."""

    server: ServerSection = ServerSection()
    guard: GuardSection = GuardSection()
    issuer: tuple[IssuerSection, ...] = ()
    mosquitto: MosquittoSection = MosquittoSection()
