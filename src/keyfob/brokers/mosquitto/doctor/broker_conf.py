# SPDX-License-Identifier: Apache-2.0
"""What the lines of a mosquitto.conf amount to: listeners, plugins, and who decides where.

An option belongs to the listener above it in the same file; an included file begins again with
the default listener (``cur_listener`` in ``config__read_file_core``). With ``per_listener_settings
true`` that holds for the security options too; otherwise all listeners share one set of those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from keyfob.brokers.mosquitto.doctor.conf_lines import Line, Place

__all__ = ["SECURITY", "BrokerConf", "Listener", "Plugin", "Problem", "interpret"]

_SWITCHES = {"true": True, "1": True, "false": False, "0": False}
_PLUGIN = ("plugin", "auth_plugin", "global_plugin")
_OPTION = re.compile(r"(?:plugin|auth)_opt_(.*)", re.DOTALL)
_OF_LISTENER = frozenset(
    {
        "use_identity_as_username",
        "use_subject_as_username",
        "use_username_as_clientid",
        "certfile",
        "psk_hint",
        "bind_address",
        "mount_point",
    }
)
SECURITY = frozenset({"allow_anonymous", "password_file", "acl_file", "psk_file"})
_MAKE_NO_LISTENER = frozenset({"allow_anonymous", "acl_file"})
_NUMBERS = frozenset({"max_packet_size"})
_SWITCHED = frozenset(
    {
        "use_identity_as_username",
        "use_subject_as_username",
        "use_username_as_clientid",
        "check_retain_source",
        "allow_anonymous",
        "per_listener_settings",
    }
)


@dataclass(slots=True)
class Listener:
    """A listener; the default one, which has no ``listener`` line, has port 0 until it is given."""

    port: int
    host: str
    place: Place
    lines: dict[str, Line] = field(default_factory=dict)
    plugins: list[Plugin] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What to call it."""
        return f"listener {self.port or self.host}" if self.place.line else "the default listener"

    def is_on(self, name: str) -> bool:
        """Tell whether a switch of this listener is on."""
        line = self.lines.get(name)
        return line is not None and _SWITCHES.get(line.word, False)


@dataclass(slots=True)
class Plugin:
    """A plugin, and its options as it is given them."""

    path: Path
    place: Place
    options: dict[str, tuple[str, Place]] = field(default_factory=dict)

    @property
    def is_keyfob(self) -> bool:
        """Tell whether it is ours: by its name, or by the one option that it must have."""
        return "keyfob" in self.path.name or "guard_socket" in self.options

    @property
    def is_mixed(self) -> bool:
        """Tell whether it leaves what is no token to others."""
        return self.options.get("mode", ("",))[0] == "mixed"


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that Mosquitto does not start with."""

    place: Place
    what: str


@dataclass(slots=True)
class BrokerConf:
    """A whole configuration.

    ``shared`` has what holds for all listeners, by name: the last line of each. ``default`` is what
    stands before the first ``listener``.
    """

    default: Listener
    shared: dict[str, Line] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    plugins: list[Plugin] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def per_listener(self) -> bool:
        """Tell whether each listener has security options of its own."""
        return self.is_on("per_listener_settings")

    def is_on(self, name: str) -> bool:
        """Tell whether a switch that holds for all is on."""
        line = self.shared.get(name)
        return line is not None and _SWITCHES.get(line.word, False)

    @property
    def local_only(self) -> bool:
        """Tell whether Mosquitto serves this machine alone, for want of a listener."""
        return not self.every_listener

    @property
    def every_listener(self) -> list[Listener]:
        """The listeners that it opens: what stands before the first may make one more, at 1883."""
        default = self.default
        made = default.port or default.plugins or default.lines.keys() - _MAKE_NO_LISTENER
        return [default, *self.listeners] if made else list(self.listeners)

    @property
    def every_plugin(self) -> list[Plugin]:
        """The plugins, in the order in which they are asked; each once."""
        every = [*self.plugins, *self.default.plugins]
        every += [one for listener in self.listeners for one in listener.plugins]
        return list({id(one): one for one in every}.values())

    @property
    def user(self) -> str:
        """Whom a broker that is started as root becomes."""
        line = self.shared.get("user")
        return line.text if line else "mosquitto"


@dataclass(slots=True)
class _Reading:
    conf: BrokerConf
    listener: Listener
    plugin: Plugin | None = None
    named: dict[str, Plugin] = field(default_factory=dict)
    security_seen: bool = False

    def wrong(self, line: Line, what: str) -> None:
        self.conf.problems.append(Problem(line.place, f"{line.name}: {what}"))

    def take(self, line: Line) -> None:
        if line.name in _SWITCHED and line.word not in _SWITCHES:
            self.wrong(line, f"{line.word!r} is neither true nor false")
        elif line.name in _NUMBERS and not re.match(r"[+-]?\d", line.word):
            self.wrong(line, f"{line.word!r} is not a number")
        elif line.name.startswith("#"):
            self.wrong(line, "a comment begins at the first byte of its line, or it is none")
        elif line.name == "listener":
            self._listener(line)
        elif line.name == "port":
            self.conf.default.port = _number(line.word)
        elif line.name in _PLUGIN or line.name in {"plugin_load", "plugin_use"}:
            self._plugin(line)
        elif option := _OPTION.fullmatch(line.name):
            self._option(line, option[1])
        else:
            self._setting(line)

    def _listener(self, line: Line) -> None:
        words = line.rest.split(" ")
        words = [word for word in words if word]
        host = words[1] if len(words) > 1 and not words[1].startswith("#") else ""
        self.listener = Listener(_number(line.word), host, line.place)
        self.conf.listeners.append(self.listener)

    def _plugin(self, line: Line) -> None:
        if not line.text:
            self.wrong(line, "no plugin is named")
            return
        if line.name == "plugin_use":
            self._use(line)
            return
        name, path = "", line.text
        if line.name == "plugin_load":
            name, _, path = line.text.partition(" ")
        self.plugin = Plugin(Path(path.strip()), line.place)
        if name:
            self.named[name] = self.plugin
            return
        self.security_seen = True
        everywhere = line.name == "global_plugin" or not self.conf.per_listener
        (self.conf if everywhere else self.listener).plugins.append(self.plugin)

    def _use(self, line: Line) -> None:
        self.plugin = self.named.get(line.text)
        if self.plugin is None:
            self.wrong(line, f"no plugin_load names {line.text!r}")
        else:
            self.listener.plugins.append(self.plugin)

    def _option(self, line: Line, name: str) -> None:
        if self.plugin is None:
            self.wrong(line, "stands before the line that names its plugin, in this file")
        elif len(name) < 3:
            self.wrong(line, "Mosquitto takes no option with so short a name")
        elif not line.plugin_value:
            self.wrong(line, "has no value")
        else:
            self.plugin.options[name] = (line.plugin_value, line.place)

    def _setting(self, line: Line) -> None:
        conf = self.conf
        if line.name == "per_listener_settings":
            if self.security_seen and _SWITCHES[line.word]:
                self.wrong(line, "must stand before every security option")
        elif line.name in SECURITY or line.name == "auto_id_prefix":
            self.security_seen = True
        listens = line.name in _OF_LISTENER or line.name.startswith("listener_")
        if listens or (line.name in SECURITY and conf.per_listener):
            self.listener.lines[line.name.removeprefix("listener_")] = line
            if line.name.startswith("listener_"):
                self.listener.lines[line.name] = line
        else:
            conf.shared[line.name] = line


def interpret(file: Path, lines: Iterable[Line]) -> BrokerConf:
    """Return what the lines say together, as Mosquitto takes them."""
    default = Listener(0, "", Place(file))
    reading = _Reading(BrokerConf(default), default)
    current = file
    outside: tuple[Listener, Plugin | None] = (default, None)
    for line in lines:
        if line.place.file != current:
            if current == file:
                outside = (reading.listener, reading.plugin)
            inside = line.place.file != file
            reading.listener, reading.plugin = (default, None) if inside else outside
            current = line.place.file
        reading.take(line)
    return reading.conf


def _number(word: str) -> int:
    found = re.match(r"[+-]?\d+", word)  # atoi(3)
    return int(found[0]) if found else 0
