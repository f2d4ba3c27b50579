# SPDX-License-Identifier: Apache-2.0
"""The device binding: no client identifier ever fits two devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.binding import ClientIdTemplate, client_id_matches
from keyfob.errors import ConfigError

TEMPLATES = ("{device}", "p-{device}", "{device}-s", "{device}-*", "p{device}--*", "{device}:-*")
texts = st.text(st.sampled_from("abp-:*s"), max_size=5)


@pytest.mark.parametrize(
    ("template", "device", "client_id", "expected"),
    [
        ("{device}", "dev1", "dev1", True),
        ("{device}", "dev1", "dev2", False),
        ("{device}", "dev1", "DEV1", False),
        ("{device}", "dev1", "dev1 ", False),
        ("{device}", "dev1", "", False),
        ("{device}", "", "", False),
        ("{device}", "a-b", "a-b", True),
        ("{device}", "*", "x", False),
        ("{device}", "{device}", "{device}", True),
        ("gw-{device}", "dev1", "gw-dev1", True),
        ("gw-{device}", "dev1", "dev1", False),
        ("{device}.mqtt", "dev1", "dev1.mqtt", True),
        ("{device}-s", "a-b", "a-b-s", True),
        ("{device}-*", "dev1", "dev1-app", True),
        ("{device}-*", "dev1", "dev1-a-b", True),
        ("{device}-*", "dev1", "dev1", False),
        ("{device}-*", "dev1", "dev1-", False),
        ("{device}-*", "dev1", "dev10-app", False),
        ("{device}-*", "dev1-x", "dev1-x-app", False),
        ("{device}--*", "dev-1", "dev-1--app", False),
        ("{device}-*", "", "-app", False),
    ],
)
def test_a_client_identifier_fits_as_the_template_says(
    template: str, device: str, client_id: str, expected: bool
) -> None:
    assert client_id_matches(template, device, client_id) is expected


@given(st.sampled_from(TEMPLATES), texts, texts, texts)
def test_no_client_identifier_fits_two_devices(
    template: str, one: str, other: str, ending: str
) -> None:
    parsed = ClientIdTemplate.parse(template)
    client_id = f"{parsed.prefix}{one}{parsed.suffix}{ending}"
    if one != other and client_id_matches(template, one, client_id):
        assert not client_id_matches(template, other, client_id)


@given(st.sampled_from(TEMPLATES), texts)
def test_an_accepted_device_has_a_client_identifier(template: str, device: str) -> None:
    parsed = ClientIdTemplate.parse(template)
    client_id = f"{parsed.prefix}{device}{parsed.suffix}{'x' if parsed.is_open else ''}"
    assert client_id_matches(template, device, client_id) is parsed.accepts_device(device)


@pytest.mark.parametrize(
    "template",
    [
        "",
        "*",
        "dev1",
        "{device}*",
        "*{device}",
        "{device}-*-x",
        "{device}-**",
        "{device}{device}",
        "{device}-{sub}",
        "{devic}",
        "{device}}",
        "{{device}",
    ],
)
def test_a_template_that_could_fit_two_devices_or_none_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="template"):
        client_id_matches(template, "dev1", "dev1")
