# SPDX-License-Identifier: Apache-2.0
"""What a profile's tokens come from."""

from __future__ import annotations

from pathlib import Path

from keyfob.cli.profiles import Profile, profiles_folder, read_profile, store_of
from keyfob.config import SecretReference
from keyfob.device import (
    ClientCredentials,
    ClientSecretBasic,
    DeviceCode,
    Grant,
    Invitation,
    Password,
    PrivateKeyJwt,
    PublicClient,
    TokenSource,
    TokenStore,
)
from keyfob.errors import ConfigError, NotFoundError, TokenRequestError
from keyfob.oauth.client_authentication import ClientAuthentication

__all__ = ["absolute_file", "absolute_reference", "file_of", "profile_source", "source_of"]


def profile_source(name: str) -> TokenSource:
    """Return what renews a profile's token, without a person.

    Raises:
        NotFoundError: There is no such profile, or nobody has logged in.
        ConfigError: Something in it does not fit, or a secret is not where it says.
    """
    profile = read_profile(name)
    again = f"nobody is logged in: keyfob login --profile {name}"

    def nobody(_: Invitation) -> None:
        raise TokenRequestError(again, error="invalid_grant")

    source = source_of(profile, store=store_of(name), prompt=DeviceCode(prompt=nobody))
    if profile.grant == "device_code" and source.token is None:
        raise NotFoundError(again)
    return source


def source_of(profile: Profile, *, store: TokenStore | None, prompt: DeviceCode) -> TokenSource:
    """Return what gets a profile's tokens; secrets are read now.

    Args:
        profile: Who asks whom for what.
        store: Where the token is kept; None: in memory.
        prompt: The grant where a person approves.

    Raises:
        ConfigError: Something in it does not fit, or a secret is not where it says.
    """
    hint = {"login_hint": profile.device} if profile.grant == "device_code" else {}
    return TokenSource(
        profile.issuer,
        auth=_authentication(profile),
        grant=_grant(profile, prompt),
        scope=profile.scope,
        audience=profile.audience,
        resource=profile.resource,
        parameters={name: value for name, value in hint.items() if value} or None,
        ca=file_of(profile.ca),
        certificate=file_of(profile.certificate),
        store=store,
    )


def file_of(text: str) -> Path | None:
    """Return a file that a profile names; None: it names none."""
    return profiles_folder() / text if text else None


def absolute_file(path: Path | None) -> str:
    """Return a file as a profile names it, so that it holds from everywhere; empty: none."""
    return "" if path is None else str(path.absolute())


def absolute_reference(text: str) -> str:
    """Return a reference to a secret that holds from everywhere; empty: none.

    Raises:
        ConfigError: It is none; the message does not repeat the text.
    """
    if not text:
        return ""
    reference = SecretReference.parse(text, Path.cwd())
    return text if reference.kind == "env" else f"file:{Path(reference.place).absolute()}"


def _grant(profile: Profile, prompt: DeviceCode) -> Grant:
    if profile.grant == "device_code":
        _none("password", profile.password)
        return prompt
    if profile.grant == "client_credentials":
        _none("password", profile.password)
        _none("device", profile.device)
        return ClientCredentials()
    if not profile.device or not profile.password:
        raise ConfigError("the password grant needs device and password")
    return Password(username=profile.device, password=_secret(profile.password))


def _none(key: str, text: str) -> None:
    if text:
        raise ConfigError(f"{key} goes with another grant", key=key)


def _authentication(profile: Profile) -> ClientAuthentication:
    client_id = profile.client_id
    ways = [profile.client_secret, profile.private_key, profile.certificate]
    if sum(map(bool, ways)) > 1:
        raise ConfigError("one of client_secret, private_key and certificate says who asks")
    if (key := file_of(profile.private_key)) is not None:
        return PrivateKeyJwt.from_pem(
            key.read_bytes(), client_id=client_id, audience=profile.issuer
        )
    if profile.client_secret:
        secret = _secret(profile.client_secret)
        return ClientSecretBasic(client_id=client_id, client_secret=secret)
    if profile.grant == "client_credentials" and not profile.certificate:
        raise ConfigError("client_credentials needs client_secret, private_key or certificate")
    return PublicClient(client_id=client_id)


def _secret(text: str) -> str:
    return SecretReference.parse(text, profiles_folder()).read()
