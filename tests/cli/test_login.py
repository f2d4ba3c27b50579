# SPDX-License-Identifier: Apache-2.0
"""`keyfob login`: an operator approves in a browser; a profile's token is renewed from then on."""

from __future__ import annotations

import asyncio
import re
import ssl
import stat
from pathlib import Path

import httpx
import pytest

from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register, operators_of
from keyfob.cli.login import invitation_text
from keyfob.cli.profiles import Profile, read_profile, write_profile
from keyfob.device import FileStore, Invitation, Token
from keyfob.errors import ConfigError, NotFoundError
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.cli.commands import Program, Shell, started
from tests.server.approving import PASSWORD, Approver

WHO = ("login", "--profile", "x", "--issuer", "https://localhost:1", "--client-id", "c")


@pytest.fixture(scope="module")
def desk(serving: Installation) -> Installation:
    """The server that runs, with an operator, a device and a program that may log in."""
    with operators_of(serving.directory) as operators:
        operators.add("alice", PASSWORD)
    with open_register(serving) as register:
        register.add_device(DeviceWish("approved", rights=Rights(publish=["a/#"]), lifetime=10))
        register.add_application(
            ApplicationWish("login-tool", public=True, device_code=True, refresh=True)
        )
    return serving


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of profiles, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "keyfob"


def decide(desk: Installation, login: Program, decision: str) -> None:
    """Do what the terminal says, as the operator."""
    login.until("within")
    code = re.search(r"code:  (\S+)", login.output())
    assert code, login.output()
    asyncio.run(_decide(desk, code[1], decision))


async def _decide(desk: Installation, code: str, decision: str) -> None:
    origin = desk.settings.server.issuer
    trusted = ssl.create_default_context(cafile=desk.directory / "ca.pem")
    async with httpx.AsyncClient(base_url=origin, verify=trusted, trust_env=False) as http:
        approver = Approver(http, origin)
        await approver.sign_in()
        page = await approver.decide(code, decision)
        assert page.status == 200, page.text


def arguments(desk: Installation) -> tuple[str, ...]:
    issuer, ca = desk.settings.server.issuer, str(desk.directory / "ca.pem")
    who = ("--issuer", issuer, "--client-id", "login-tool", "--device", "approved")
    return ("login", *who, "--ca", ca, "--profile", "mine")


def test_an_approved_device_has_a_profile_whose_token_is_renewed(
    desk: Installation, online: Shell, home: Path, tmp_path: Path
) -> None:
    with started(tmp_path / "log", *arguments(desk)) as login:
        decide(desk, login, "approve")
        assert login.wait() == 0, login.output()
        assert "renewed from then on" in login.output()
        assert "█" in login.output()
    for name in ("profiles.toml", "mine.token"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600
    assert "kf" not in (home / "profiles.toml").read_text(encoding="utf-8").replace("keyfob", "")
    first = online.plain("token", "--profile", "mine", "--json")
    assert first.code == 0, first
    assert first.json["scope"] == "mqtt.connect mqtt.publish:a/#"
    file = tmp_path / "token"
    with started(tmp_path / "watch", "token", "--profile", "mine", "--watch", str(file)) as watch:
        watch.until("good until")
        before = file.read_text(encoding="ascii")
        while file.read_text(encoding="ascii") == before:
            assert watch.process.poll() is None, watch.output()
    # By a refresh token: nobody approved again.
    assert online.plain("token", "--profile", "mine").code == 0


def test_a_denied_device_has_no_profile(desk: Installation, home: Path, tmp_path: Path) -> None:
    with started(tmp_path / "log", *arguments(desk)) as login:
        decide(desk, login, "deny")
        assert login.wait() == 1
        assert "(access_denied)" in login.output()
    assert not home.exists()


def test_without_a_profile_or_a_login_it_is_said_what_to_do(shell: Shell, home: Path) -> None:
    outcome = shell.plain("token", "--profile", "nobody")
    assert outcome.code == 2
    assert "keyfob login --profile nobody" in outcome.err
    write_profile("known", Profile(issuer="https://localhost:1", client_id="c"))
    outcome = shell.plain("token", "--profile", "known")
    assert outcome.code == 2
    assert "keyfob login --profile known" in outcome.err


@pytest.mark.parametrize(
    "wrong",
    [
        ("login", "--issuer", "https://localhost:1"),
        ("login", "--profile", "x", "--scope", "a"),
        ("login", "--profile", "../x", "--issuer", "https://localhost:1", "--client-id", "c"),
        ("login", "--profile", "x", "--broker", "mqtt://localhost"),
        (*WHO, "--client-secret", "a secret itself"),
        (*WHO, "--broker", "http://localhost"),
        (*WHO, "--carry", "pigeon"),
        (*WHO, "--grant", "client_credentials"),
        (*WHO, "--grant", "password", "--device", "d"),
        (*WHO, "--password", "env:HOME"),
        (*WHO, "--client-secret", "env:HOME", "--private-key", "/dev/null"),
        ("token", "--profile", "../x"),
        ("token", "--profile", "x", "--client-id", "c"),
        ("token", "--profile", "x", "--scope", "a"),
    ],
)
def test_what_does_not_go_together_is_misuse(
    shell: Shell, home: Path, wrong: tuple[str, ...]
) -> None:
    outcome = shell.plain(*wrong)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "upstream" not in outcome.err  # nobody was asked
    assert not home.exists()


def test_a_profile_whose_secret_is_elsewhere_needs_nobody(
    desk: Installation, online: Shell, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_register(desk) as register:
        secret = register.add_device(DeviceWish("alone", rights=Rights(publish=["a/#"]))).secret
    monkeypatch.chdir(tmp_path)
    Path("alone.secret").write_text(f"{secret}\n", encoding="utf-8")
    issuer, ca = desk.settings.server.issuer, str(desk.directory / "ca.pem")
    who = ("--issuer", issuer, "--client-id", "alone", "--ca", ca)
    how = ("--grant", "client_credentials", "--client-secret", "file:alone.secret")
    where = ("--broker", "mqtts://localhost:8883", "--carry", "auth:OAUTH2-JWT")
    outcome = online.plain("login", "--profile", "alone", *who, *how, *where)
    assert outcome.code == 0, outcome
    assert "renewed from then on" in outcome.out
    assert secret not in (home / "profiles.toml").read_text(encoding="utf-8")
    kept = read_profile("alone")
    assert (kept.device_name, kept.broker) == ("alone", "mqtts://localhost:8883")
    monkeypatch.chdir("/")  # the reference holds from everywhere
    (home / "alone.token").unlink()
    assert online.plain("token", "--profile", "alone").code == 0
    Path(tmp_path / "alone.secret").unlink()
    outcome = online.plain("token", "--profile", "alone")
    assert outcome.code == 2
    assert "cannot read the secret" in outcome.err


def test_a_login_keeps_its_token_when_nobody_else_is_renewing_that_profiles(
    desk: Installation, online: Shell, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_register(desk) as register:
        secret = register.add_device(DeviceWish("shared", rights=Rights(publish=["a/#"]))).secret
    (tmp_path / "shared.secret").write_text(f"{secret}\n", encoding="utf-8")
    issuer, ca = desk.settings.server.issuer, str(desk.directory / "ca.pem")
    who = ("--issuer", issuer, "--client-id", "shared", "--ca", ca)
    how = ("--grant", "client_credentials", "--client-secret", f"file:{tmp_path}/shared.secret")
    free: list[bool] = []
    save = FileStore.save

    def watched(store: FileStore, token: Token) -> None:
        turn = store.turn()  # as another process would take it now
        free.append(turn.take())
        turn.give_back()
        save(store, token)

    monkeypatch.setattr(FileStore, "save", watched)
    assert online.plain("login", "--profile", "shared", *who, *how).code == 0
    assert free == [False]
    assert FileStore(home / "shared.token").turn().take()


def test_profiles_are_kept_beside_each_other(home: Path) -> None:
    one = Profile(issuer="https://a.example", client_id='quoted " \\ name', scope="a b")
    other = Profile(issuer="https://b.example", client_id="ü", device="d", ca="/x")
    write_profile("one", one)
    write_profile("other.1", other)
    assert (read_profile("one"), read_profile("other.1")) == (one, other)
    write_profile("one", other)
    assert read_profile("one") == other
    with pytest.raises(NotFoundError):
        read_profile("third")
    with pytest.raises(ConfigError, match="control characters"):
        write_profile("one", Profile(issuer="https://a.example", client_id="a\nb"))
    assert read_profile("one") == other


@pytest.mark.parametrize("text", ["[x", "[one]\nissuer = 1", "[one]\nsecret = 'x'", "\x00"])
def test_a_file_that_is_none_of_ours_is_told_and_kept(home: Path, text: str) -> None:
    home.mkdir(parents=True)
    (home / "profiles.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"profiles\.toml"):
        write_profile("one", Profile(issuer="https://a.example", client_id="c"))
    assert (home / "profiles.toml").read_text(encoding="utf-8") == text


def test_an_invitation_without_a_url_for_a_picture_has_its_code() -> None:
    invitation = Invitation(
        user_code="BCDF-GHJK",
        verification_uri="https://as.example/device",
        verification_uri_complete="",
        expires_in=600.0,
    )
    assert invitation_text(invitation) == (
        "Open https://as.example/device and compare or type the code:  BCDF-GHJK\n"
        "within 10 minutes."
    )
