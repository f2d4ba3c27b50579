# SPDX-License-Identifier: Apache-2.0
"""Which commands there are, where each one is, and what it works on.

A command is loaded when it is typed, or told of: all of them together take longer to load than
most take to run, and a device's processor feels it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from keyfob.cli.pubsub.property_words import PropertyCommand

__all__ = ["COMMANDS", "CommandGroup", "Place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A command that is not loaded yet.

    Attributes:
        at: The module below ``keyfob.cli``, and what the command is called there: a function, or
            a ``typer.Typer`` with commands of its own.
        here: What it works on that no admin API reaches; empty: a register, wherever that is.
        short_help: Its line in the list; empty: its docstring's first.
        form: Its class, where it reads its words in its own way.
        hidden: Nobody types it.
    """

    at: str
    here: str = ""
    short_help: str = ""
    form: type[TyperCommand] | None = None
    hidden: bool = False

    def load(self, name: str) -> Any:  # noqa: ANN401 - Typer moves its commands' class
        """Return it as Click knows commands."""
        module, _, attribute = self.at.partition(":")
        command = getattr(import_module(f"keyfob.cli.{module}"), attribute)
        group = typer.Typer(add_completion=False, rich_markup_mode=None)
        group.callback()(lambda: None)  # else a command that is alone would be the group itself
        short_help = self.short_help or None
        if isinstance(command, typer.Typer):
            group.add_typer(command, name=name, short_help=short_help)
        else:
            group.command(name, cls=self.form, short_help=short_help, hidden=self.hidden)(command)
        return get_command(group).commands[name]  # type: ignore[attr-defined]


_AS_A_DEVICE: Final = "asks an authorization server as a device; which one, --issuer says"

COMMANDS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "init": Place(at="up:init", here="makes an installation in a folder of this machine"),
        "up": Place(at="up:up", here="runs an installation of this machine"),
        "server": Place(at="serve:server", here="runs here"),
        "guard": Place(at="guarding:guard", here="runs here"),
        "guard-worker": Place(at="guarding:guard_worker", here="runs here", hidden=True),
        "token": Place(
            at="token:token", here=_AS_A_DEVICE, short_help="Get a token, or keep one fresh."
        ),
        "login": Place(
            at="login:login", here=_AS_A_DEVICE, short_help="Have somebody approve this device."
        ),
        "doctor": Place(
            at="doctor.command:doctor",
            here=_AS_A_DEVICE,
            short_help="Say what is wrong with a device's token and broker.",
        ),
        "pub": Place(
            at="pubsub.publish:pub",
            here=_AS_A_DEVICE,
            short_help="Publish as mosquitto_pub does.",
            form=PropertyCommand,
        ),
        "sub": Place(
            at="pubsub.subscribe:sub",
            here=_AS_A_DEVICE,
            short_help="Subscribe as mosquitto_sub does.",
            form=PropertyCommand,
        ),
        "inspect": Place(
            at="inspecting:inspect",
            here="judges by the issuers that this machine's configuration trusts",
            short_help="Show what is in a token, and whether it is good.",
        ),
        "simulate": Place(
            at="simulate:simulate",
            here="asks as devices, or no server at all",
            short_help="Tell when a fleet renews its tokens, or run one.",
        ),
        "explain": Place(
            at="explaining:explain",
            here="decides by this machine's configuration and its guard's sessions",
        ),
        "audit": Place(at="audit:audit"),
        "device": Place(at="device:app"),
        "group": Place(at="group:app"),
        "application": Place(at="application:app"),
        "grant": Place(at="grant:app"),
        "key": Place(at="key:app"),
        "service": Place(at="service:app"),
        "receiver": Place(at="receiver:app"),
        "registration-token": Place(at="registration_token:app"),
        "operator": Place(at="operator:app"),
        "config": Place(at="config:app", here="is about the configuration file of this machine"),
        "database": Place(
            at="database:app", here="opens the database itself, before any server does"
        ),
        "mosquitto": Place(
            at="mosquitto:app",
            here="is about the Mosquitto of this machine",
            short_help="Build and configure the plugin.",
        ),
    }
)


class _Loaded(Mapping[str, Any]):
    """Commands by their names, each loaded when somebody asks for it."""

    def __init__(self) -> None:
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - see above
        if name not in self._commands:
            self._commands[name] = COMMANDS[name].load(name)
        return self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class CommandGroup(TyperGroup):
    """``keyfob`` itself."""

    def __init__(self, **attributes: Any) -> None:
        """Make it; Typer does."""
        super().__init__(**attributes)
        self.commands = _Loaded()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - Typer moves its context
        """Return the commands' names, in the order of the list."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002 - see above
        """Return a command, or None; what fails while it is loaded is no missing command."""
        return self.commands[cmd_name] if cmd_name in COMMANDS else None
