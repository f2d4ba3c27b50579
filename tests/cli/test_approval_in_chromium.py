# SPDX-License-Identifier: Apache-2.0
"""Approving a device in a real Chromium, at a real `keyfob server`, over TLS."""

from __future__ import annotations

import contextlib
import http.server
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register, operators_of
from keyfob.cli.ports import Ports
from keyfob.server.passwords import generate_password
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.cli.chromium import chromium, contrasts, loaded, overflow, phone, unnamed
from tests.cli.commands import started

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
LONG = "sensor-" + "w" * 121


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with chromium() as browser:
        yield browser


@dataclass
class Desk:
    """An operator before Chromium, and an application that asks for devices."""

    browser: webdriver.Chrome
    url: str
    password: str
    http: httpx.Client
    installation: Installation

    def begun(self, device: str = "dev1", **more: str) -> dict[str, Any]:
        form = {"client_id": "setup", "login_hint": device, **more}
        answer = self.http.post(f"{self.url}/oauth2/device_authorization", data=form)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def poll(self, begun: dict[str, Any]) -> str:
        """Return the scope of the token, or the error."""
        form = {
            "client_id": "setup",
            "grant_type": DEVICE_CODE,
            "device_code": begun["device_code"],
        }
        document = self.http.post(f"{self.url}/oauth2/token", data=form).json()
        return str(document.get("error") or document["scope"])

    @property
    def heading(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "h1").text

    @property
    def error(self) -> str:
        found = self.browser.find_elements(By.CSS_SELECTOR, "[role=alert]")
        return found[0].text if found else ""

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def open(self, url: str = "") -> None:
        self.browser.get(url or f"{self.url}/device")

    def click(self, text: str) -> None:
        """Press a button, and wait for the next page."""
        with self.next_page():
            self.browser.find_element(By.XPATH, f"//button[normalize-space()='{text}']").click()

    @contextlib.contextmanager
    def next_page(self) -> Iterator[None]:
        before = self.browser.find_element(By.TAG_NAME, "html")
        yield
        WebDriverWait(self.browser, 30).until(
            lambda browser: browser.find_element(By.TAG_NAME, "html") != before and loaded(browser)
        )

    def sign_in(self, password: str = "") -> None:
        self.find("#username").clear()
        self.find("#username").send_keys("alice")
        self.find("#password").send_keys(password or self.password)
        self.click("Sign in")

    def compare(self, user_code: str) -> None:
        self.find("#user_code").send_keys(user_code)
        self.click("Continue")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of its own, whose server runs."""
    folder = tmp_path_factory.mktemp("approving")
    installation = initialise(folder / "data", ports=Ports(server=0, mqtt=0, plain=0))
    with started(folder / "server.log", "server", "--dir", str(installation.directory)) as server:
        server.until("ready at")
        yield installation


@pytest.fixture(scope="module")
def password(installed: Installation) -> str:
    made = generate_password()
    with operators_of(installed.directory) as operators:
        operators.add("alice", made)
    with open_register(installed) as register:
        register.add_device(DeviceWish("dev1", rights=Rights(publish=["{device}/#"])))
        register.add_device(
            DeviceWish(LONG, rights=Rights(publish=["{device}/" + "x" * 200], scopes=["y" * 200]))
        )
        register.add_application(ApplicationWish("setup", public=True, device_code=True))
    return made


@pytest.fixture
def desk(driver: webdriver.Chrome, installed: Installation, password: str) -> Iterator[Desk]:
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    context = ssl.create_default_context(cafile=installed.directory / "ca.pem")
    with httpx.Client(verify=context) as client:
        yield Desk(driver, installed.settings.server.issuer, password, client, installed)


def test_a_device_is_approved_in_the_browser(desk: Desk) -> None:
    begun = desk.begun()
    assert desk.poll(begun) == "authorization_pending"
    desk.open()
    assert desk.heading == "Sign in"
    desk.sign_in("not the password")
    assert desk.error == "Name or password is not right."
    assert desk.find("#username").get_attribute("value") == "alice"
    desk.sign_in()
    assert desk.heading == "Approve a device"
    desk.compare(begun["user_code"].lower())
    assert desk.heading == "Approve this device?"
    shown = desk.find("main").text
    for text in ("dev1", "setup", begun["user_code"], "publish to dev1/#"):
        assert text in shown
    desk.find("#compared").click()
    desk.click("Approve")
    assert desk.heading == "Approved"
    assert desk.poll(begun) == "mqtt.connect mqtt.publish:dev1/#"
    assert desk.poll(begun) == "invalid_grant"
    with open_register(desk.installation) as register:
        (line,) = [one for one in register.list_actions() if one.action == "device-code.approve"]
    assert (line.actor, line.subject) == ("alice at 127.0.0.1", "dev1")


def test_approving_without_having_compared_is_held_up_by_the_browser(desk: Desk) -> None:
    begun = desk.begun()
    desk.open()
    desk.sign_in()
    desk.compare(begun["user_code"])
    desk.browser.find_element(By.XPATH, "//button[normalize-space()='Approve']").click()
    assert desk.find("#compared:invalid").is_displayed()
    assert desk.heading == "Approve this device?"
    desk.click("Deny")  # which needs no comparison
    assert desk.heading == "Denied"
    assert desk.poll(begun) == "access_denied"


def test_a_link_with_a_code_still_asks(desk: Desk) -> None:
    begun = desk.begun()
    desk.open(begun["verification_uri_complete"])
    desk.sign_in()
    assert desk.find("#user_code").get_attribute("value") == begun["user_code"]
    assert "Nothing is approved yet" in desk.find("main").text
    assert desk.poll(begun) == "authorization_pending"
    desk.click("Continue")
    assert desk.heading == "Approve this device?"
    assert desk.poll(begun) != "access_denied"


def test_a_code_that_is_over_or_wrong_is_told_so(desk: Desk) -> None:
    begun = desk.begun()
    desk.open()
    desk.sign_in()
    database = sqlite3.connect(desk.installation.settings.server.database)
    database.execute("UPDATE device_code SET expires_at = 1")
    database.commit()
    database.close()
    for code in (begun["user_code"], "BCDF-GHJK", "no code"):
        desk.compare(code)
        assert "No request waits for this code" in desk.error
        assert desk.browser.title.startswith("Error: ")
        assert desk.find("#user_code") == desk.browser.switch_to.active_element
    assert desk.poll(begun) == "expired_token"


def test_signing_out_is_the_end_of_it(desk: Desk) -> None:
    desk.open()
    desk.sign_in()
    cookies = {one["name"]: one for one in desk.browser.get_cookies()}
    session = cookies["__Host-keyfob-session"]
    assert (session["secure"], session["httpOnly"], session["sameSite"]) == (True, True, "Lax")
    desk.click("Sign out")
    assert desk.heading == "Sign in"
    desk.browser.back()
    desk.browser.refresh()
    desk.open()
    assert desk.heading == "Sign in"


def test_it_works_by_keyboard_alone(desk: Desk) -> None:
    begun = desk.begun()
    desk.open()

    def press(*keys: str) -> None:
        for key in keys:
            desk.browser.switch_to.active_element.send_keys(key)

    press("alice", Keys.TAB, desk.password)
    with desk.next_page():
        press(Keys.ENTER)
    press(begun["user_code"])
    with desk.next_page():
        press(Keys.ENTER)
    order: list[str | None] = []
    for _ in range(4):
        desk.find("body").send_keys(Keys.TAB) if not order else press(Keys.TAB)
        active = desk.browser.switch_to.active_element
        order.append(active.text or active.get_attribute("id"))
        if active.get_attribute("id") == "compared":
            press(Keys.SPACE)
        outline = active.value_of_css_property("outline-style")
        assert outline not in ("", "none"), order
    assert order == ["Sign out", "compared", "Approve", "Deny"]
    with desk.next_page():
        desk.browser.find_element(By.XPATH, "//button[.='Approve']").send_keys(Keys.ENTER)
    assert desk.heading == "Approved"


def pages(desk: Desk) -> Iterator[str]:
    """Walk through every page, with the longest names that there are."""
    begun, other = desk.begun(LONG), desk.begun("")
    desk.open()
    yield desk.heading
    desk.sign_in("wrong")
    yield desk.error
    desk.sign_in()
    yield desk.heading
    desk.compare("wrong")
    yield desk.error
    desk.compare(other["user_code"])
    yield desk.heading
    desk.find("#device").send_keys("z" * 128)
    desk.click("Continue")
    yield desk.error
    desk.open()
    desk.compare(begun["user_code"])
    yield desk.heading
    desk.find("#compared").click()
    desk.click("Approve")
    yield desk.heading


def test_no_page_is_wider_than_a_small_telephone(desk: Desk) -> None:
    with phone(desk.browser):
        seen = []
        for page in pages(desk):
            seen.append(page)
            assert desk.browser.execute_script("return innerWidth") == 320
            assert overflow(desk.browser) == 0, page
            for button in desk.browser.find_elements(By.CSS_SELECTOR, "main button"):
                assert button.size["height"] >= 44, page  # a finger (WCAG 2.2 section 2.5.5)
    assert len(set(seen)) == 8


def test_everything_has_a_name_and_every_text_can_be_read(desk: Desk) -> None:
    for page in pages(desk):
        assert unnamed(desk.browser) == [], page
        assert desk.find("html").get_attribute("lang") == "en"
        assert len(desk.browser.find_elements(By.TAG_NAME, "h1")) == 1
        for scheme in ("light", "dark"):
            poor = [one for one in contrasts(desk.browser, scheme) if one[1] < 4.5]
            assert poor == [], (page, scheme)
        for field in desk.browser.find_elements(By.CSS_SELECTOR, "main input:not([type=hidden])"):
            label = desk.find(f"label[for={field.get_attribute('id')}]")
            assert label.text, page
    desk.open(f"{desk.url}/device")
    desk.click("Sign out")
    assert desk.find("#password").get_attribute("autocomplete") == "current-password"
    assert desk.find("#username").get_attribute("autocomplete") == "username"


def test_another_site_can_neither_send_a_form_nor_frame_a_page(desk: Desk) -> None:
    begun = desk.begun()
    desk.open()
    desk.sign_in()
    fields = {"user_code": begun["user_code"], "decision": "approve", "compared": "yes"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    page = (
        f'<form method="post" action="{desk.url}/device/decision">{inputs}<button>Win</button>'
        f'</form><iframe src="{desk.url}/device"></iframe>'
    ).encode()

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            desk.open(f"http://127.0.0.1:{site.server_port}/")
            desk.browser.switch_to.frame(0)
            assert desk.browser.find_elements(By.TAG_NAME, "main") == []
            desk.browser.switch_to.default_content()
            desk.click("Win")
        finally:
            site.shutdown()
            thread.join()
    assert desk.heading == "Not from here"
    assert desk.poll(begun) == "authorization_pending"
    desk.open()
    assert desk.heading == "Approve a device"  # still signed in
