# SPDX-License-Identifier: Apache-2.0
"""Operators who sign in by another OpenID issuer, a real one, in a real Chromium."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register, operators_of
from keyfob.cli.ports import Ports
from keyfob.server.wishes import ApplicationWish
from tests.cli.chromium import chromium, loaded
from tests.cli.commands import Program, started, wait_for
from tests.interop.foreign.oidc_provider import OidcProvider
from tests.interop.foreign.server import ForeignServer
from tests.interop.foreign.servers import OIDC_PROVIDER


@dataclass
class Served:
    """An installation whose operators are known to oidc-provider."""

    installation: Installation
    log: Program
    http: httpx.Client

    @property
    def url(self) -> str:
        return self.installation.settings.server.issuer


@pytest.fixture(scope="module")
def served(
    foreign_servers: Callable[[str], ForeignServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    provider = foreign_servers(OIDC_PROVIDER)
    assert isinstance(provider, OidcProvider)
    folder = tmp_path_factory.mktemp("openid")
    made = initialise(folder / "data", ports=Ports(server=0, mqtt=0, plain=0))
    url = made.settings.server.issuer
    secret = provider.add_login("keyfob-page", f"{url}/device/openid/back")
    _write(made.directory, provider.issuer, secret)
    with operators_of(made.directory) as operators:
        operators.add("alice", None, openid_subject="alice@there")
    with open_register(made) as register:
        register.add_device("dev1")
        register.add_application(ApplicationWish("setup", public=True, device_code=True))
    context = ssl.create_default_context(cafile=made.directory / "ca.pem")
    with (
        started(folder / "server.log", "server", "--dir", str(made.directory)) as log,
        httpx.Client(verify=context, base_url=url) as http,
    ):
        log.until("ready at")
        yield Served(made, log, http)


def _write(directory: Path, issuer: str, secret: str) -> None:
    (directory / "openid.secret").write_text(secret)
    (directory / "openid.secret").chmod(0o600)
    file = directory / "keyfob.toml"
    section = (
        f'\n[server.openid]\nissuer = "{issuer}"\nclient_id = "keyfob-page"\n'
        'client_secret = "file:openid.secret"\n'
    )
    file.write_text(file.read_text() + section)


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as browser:
        yield browser


@pytest.fixture(autouse=True)
def _nobody_is_signed_in(driver: webdriver.Chrome) -> None:
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})


def sign_in_there(driver: webdriver.Chrome, url: str, person: str) -> None:
    """Go to the issuer from our page, and through its own pages."""
    driver.find_element(By.PARTIAL_LINK_TEXT, "sign in with 127.0.0.1").click()
    there = WebDriverWait(driver, 30)
    there.until(lambda browser: browser.find_element(By.NAME, "login")).send_keys(person)
    driver.find_element(By.NAME, "password").send_keys("any")
    driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    there.until(lambda browser: loaded(browser) and "consent" in browser.page_source.lower())
    driver.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    there.until(lambda browser: browser.current_url.startswith(url))


def expect(driver: webdriver.Chrome, heading: str) -> None:
    """Wait for the page with this heading."""

    def is_there(browser: webdriver.Chrome) -> bool:
        found = browser.find_elements(By.TAG_NAME, "h1")
        return loaded(browser) and [one.text for one in found] == [heading]

    WebDriverWait(driver, 30, ignored_exceptions=[StaleElementReferenceException]).until(is_there)


def test_an_operator_of_the_other_issuer_signs_in_and_approves(
    served: Served, driver: webdriver.Chrome
) -> None:
    form = {"client_id": "setup", "login_hint": "dev1"}
    begun = served.http.post("/oauth2/device_authorization", data=form).json()
    driver.get(begun["verification_uri_complete"])
    sign_in_there(driver, served.url, "alice@there")
    expect(driver, "Approve a device")
    assert "Signed in as alice" in driver.find_element(By.TAG_NAME, "header").text
    shown = driver.find_element(By.ID, "user_code").get_attribute("value")
    assert shown == begun["user_code"]
    driver.find_element(By.CSS_SELECTOR, "main button").click()
    expect(driver, "Approve this device?")
    driver.find_element(By.ID, "compared").click()
    driver.find_element(By.XPATH, "//button[.='Approve']").click()
    expect(driver, "Approved")
    with open_register(served.installation) as register:
        (line,) = [one for one in register.list_actions() if one.action == "device-code.approve"]
    assert line.actor == "alice at 127.0.0.1"


def test_somebody_who_is_no_operator_here_is_not_let_in(
    served: Served, driver: webdriver.Chrome
) -> None:
    for person in ("mallory@there", "alice"):  # the name of an account is not a subject
        driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        driver.get(f"{served.url}/device")
        sign_in_there(driver, served.url, person)
        expect(driver, "Not signed in")
        assert "openid_no_operator" in served.log.output()
        driver.get(f"{served.url}/device")
        expect(driver, "Sign in")


def test_a_session_ends_with_the_account(served: Served, driver: webdriver.Chrome) -> None:
    with operators_of(served.installation.directory) as operators:
        operators.add("bob", None, openid_subject="bob@there")
    driver.get(f"{served.url}/device")
    sign_in_there(driver, served.url, "bob@there")
    expect(driver, "Approve a device")
    with operators_of(served.installation.directory) as operators:
        operators.remove("bob")
    driver.refresh()
    expect(driver, "Sign in")


def test_an_account_without_a_password_has_none_that_is_right(served: Served) -> None:
    page = served.http.get("/device")
    token = page.text.partition('name="token" value="')[2].partition('"')[0]
    for password in ("", "None", "any"):
        form = {"token": token, "username": "alice", "password": password}
        answer = served.http.post("/device/sign-in", data=form, headers={"Origin": served.url})
        assert answer.status_code == 403


def left(served: Served) -> dict[str, Any]:
    """Leave for the issuer, and return what the browser was sent with."""
    served.http.cookies.clear()
    answer = served.http.get("/device/openid?user_code=bcdf-ghjk")
    assert answer.status_code == 303
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    return {name: values[0] for name, values in query.items()}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": ""}, "openid_state_wrong"),
        ({"state": "x"}, "openid_state_wrong"),
        ({"state": "x.BCDFGHJK"}, "openid_state_wrong"),
        ({"iss": "https://evil.example"}, "openid_iss_wrong"),
        ({"iss": ""}, "openid_iss_wrong"),
        ({"code": ""}, "openid_refused"),
        ({"error": "access_denied"}, "openid_refused"),
        ({"code": "made-up"}, "openid_code_refused"),
        ({"code": "x" * 5_000}, "openid_refused"),
    ],
)
def test_what_does_not_come_back_from_there_signs_nobody_in(
    served: Served, changes: dict[str, str], reason: str
) -> None:
    provider = urlsplit(served.http.get("/device/openid").headers["location"])
    sent = left(served)
    query = {
        "state": sent["state"],
        "code": "made-up",
        "iss": f"{provider.scheme}://{provider.netloc}",
    }
    answer = served.http.get("/device/openid/back", params=query | changes)
    assert answer.status_code == 403
    wait_for(reason, lambda: served.log.output().splitlines()[-1].endswith(f"({reason})"))
    assert "keyfob-session" not in answer.headers.get("set-cookie", "")


def test_the_state_of_another_browser_is_not_good(served: Served) -> None:
    stolen = left(served)["state"]
    left(served)
    params = {"state": stolen, "code": "made-up"}
    answer = served.http.get("/device/openid/back", params=params)
    assert answer.status_code == 403
    assert "openid_state_wrong" in served.log.output()
    served.http.cookies.clear()
    assert served.http.get("/device/openid/back", params=params).status_code == 403
