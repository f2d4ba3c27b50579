# SPDX-License-Identifier: Apache-2.0
"""What a client is registered with comes back as it was, and nothing else is taken for it."""

import pytest

from keyfob.errors import ConfigError
from keyfob.server.client_metadata import NO_METADATA, metadata_text, read_metadata


def test_no_metadata_is_an_empty_object() -> None:
    assert metadata_text(NO_METADATA) == "{}"
    assert read_metadata("{}") is NO_METADATA


@pytest.mark.parametrize("text", ["", "[]", "{", '{"of_tomorrow": 1}'])
def test_what_another_keyfob_wrote_is_named_and_not_guessed(text: str) -> None:
    with pytest.raises(ConfigError, match="another Keyfob"):
        read_metadata(text)
