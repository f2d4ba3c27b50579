# SPDX-License-Identifier: Apache-2.0
"""The device binding: which client identifiers the token of a device may connect with.

A template says it per issuer.
``{device}`` alone asks for the device's name; ``{device}-*`` also lets one device hold several
connections, such as ``dev1-app`` and ``dev1-shell``.
A client identifier must never fit two devices, so with ``*`` the text between ``{device}`` and
``*`` is a separator, and a device whose name holds any character of it is refused: no name can
then be the beginning of what another may use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["ClientIdTemplate", "client_id_matches"]

_GRAMMAR: Final = re.compile(r"([^{}*]*)\{device\}([^{}*]*)(\*?)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdTemplate:
    """A parsed template: literal text around one ``{device}``, and ``*`` at the end or not."""

    prefix: str
    suffix: str
    is_open: bool

    @classmethod
    def parse(cls, text: str) -> ClientIdTemplate:
        """Return the template that ``text`` is.

        Raises:
            ConfigError: Not one ``{device}``, ``*`` elsewhere than at the end, or ``*`` without a
                separator before it.
        """
        found = _GRAMMAR.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"client identifier template {text!r}: write one {{device}}, and * only at the end"
            )
        prefix, suffix, star = found.groups()
        if star and not suffix:
            raise ConfigError(
                f"client identifier template {text!r}: write a separator before *, as {{device}}-*"
            )
        return cls(prefix=prefix, suffix=suffix, is_open=bool(star))

    def accepts_device(self, device: str) -> bool:
        """Tell whether a device of this name can be bound: not empty, and without a separator."""
        if not device:
            return False
        return not self.is_open or not any(character in device for character in self.suffix)

    def matches(self, device: str, client_id: str) -> bool:
        """Tell whether the token of ``device`` may connect with ``client_id``."""
        if not self.accepts_device(device):
            return False
        beginning = f"{self.prefix}{device}{self.suffix}"
        if not self.is_open:
            return client_id == beginning
        return client_id.startswith(beginning) and len(client_id) > len(beginning)


def client_id_matches(template: str, device: str, client_id: str) -> bool:
    """Tell whether ``template`` lets the token of ``device`` connect with ``client_id``.

    Raises:
        ConfigError: ``template`` is not a template.
    """
    return _parsed(template).matches(device, client_id)


_parsed = lru_cache(maxsize=64)(ClientIdTemplate.parse)
