# SPDX-License-Identifier: Apache-2.0
"""A real Chromium, and what its tests look at: names, contrast, width."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

__all__ = ["chromium", "contrasts", "loaded", "overflow", "phone", "unnamed"]

_INTERACTIVE = {"button", "checkbox", "link", "textbox"}
# WCAG 2.2 section 1.4.3: the ratio of the luminances of a text and of what is behind it.
_CONTRASTS = """
const channel = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
const behind = element => {
  for (let one = element; one; one = one.parentElement) {
    const colour = numbers(getComputedStyle(one).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  throw new Error('there is nothing behind ' + element.tagName);
};
return [...document.querySelectorAll('body *')]
  .filter(one => one.tagName === 'INPUT' && one.type !== 'hidden'
    || [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(one => {
    const [a, b] = [luminance(numbers(getComputedStyle(one).color)), luminance(behind(one))];
    return [one.tagName, (Math.max(a, b) + .05) / (Math.min(a, b) + .05)];
  });
"""


@contextlib.contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run one without a window; it takes the certificate of an installation."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert program is not None, "`make test` installs chromium"
    assert driver is not None, "`make test` installs chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    options.accept_insecure_certs = True
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(switch)
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


@contextlib.contextmanager
def phone(browser: webdriver.Chrome, *, width: int = 320) -> Iterator[None]:
    """Be a small telephone."""
    size = {"width": width, "height": 568, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def loaded(browser: webdriver.Chrome) -> bool:
    """Tell whether the page is whole."""
    return bool(browser.execute_script("return document.readyState === 'complete'"))


def overflow(browser: webdriver.Chrome) -> int:
    """Return by how many pixels the page is wider than the window."""
    found: int = browser.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found


def unnamed(browser: webdriver.Chrome) -> list[Any]:
    """Return what a screen reader has no name for, of all that one can use."""
    tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    usable = [
        node
        for node in tree
        if not node.get("ignored") and node.get("role", {}).get("value") in _INTERACTIVE
    ]
    assert usable
    return [node for node in usable if not node.get("name", {}).get("value", "").strip()]


def contrasts(browser: webdriver.Chrome, scheme: str) -> list[tuple[str, float]]:
    """Return the contrast of every text of the page, where somebody prefers light or dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    found: list[tuple[str, float]] = browser.execute_script(_CONTRASTS)
    return found
