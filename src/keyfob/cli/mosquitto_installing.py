# SPDX-License-Identifier: Apache-2.0
"""``keyfob mosquitto install`` and ``uninstall``: the plugin in the distribution's Mosquitto."""

from __future__ import annotations

import os
import pwd
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from keyfob.brokers.mosquitto.build import PLUGIN_FILE, own_mark, provide_plugin, read_mark
from keyfob.brokers.mosquitto.conf import Mode, PluginSettings, render_plugin
from keyfob.brokers.mosquitto.doctor.broker_conf import BrokerConf, interpret
from keyfob.brokers.mosquitto.doctor.conf_lines import Line
from keyfob.brokers.mosquitto.trial import try_to_start
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import Installation, settings_of
from keyfob.cli.mosquitto_doctor import DEFAULT_CONF, BrokerName, ConfFile
from keyfob.cli.mosquitto_facts import broker_program, conf_lines
from keyfob.cli.output import Json, answer
from keyfob.errors import ConfigError

__all__ = ["install", "uninstall"]

SNIPPET_NAME: Final = "keyfob.conf"
_HEADER: Final = "# Made by `keyfob mosquitto install`; `keyfob mosquitto uninstall` removes it."
_DYNAMIC_SECURITY: Final = "mosquitto_dynamic_security.so"

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
PluginPath = Annotated[
    Path | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Where the plugin goes.",
        show_default="beside Mosquitto's own",
    ),
]


@dataclass(frozen=True, slots=True)
class _Change:
    """One thing to do; empty texts where nothing is to be done."""

    plugin: Path
    snippet: Path
    text: str
    plugin_stale: bool
    snippet_stale: bool

    def steps(self) -> list[str]:
        """What would be done, one line each."""
        return [
            *([f"put the plugin at {self.plugin}"] if self.plugin_stale else []),
            *(["start Mosquitto with it on a free loopback port, and stop it again"]
              if self.plugin_stale or self.snippet_stale else []),
            *([f"write {self.snippet}"] if self.snippet_stale else []),
        ]  # fmt: skip


def install(
    conf: ConfFile = DEFAULT_CONF,
    broker: BrokerName = "mosquitto",
    plugin: PluginPath = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="`mixed`: what is no token is left to the broker's other ways in.",
            show_default="as installed, or exclusive",
        ),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Put the plugin and its lines into this machine's Mosquitto.

    Mosquitto is started once with them, aside, before its configuration is changed. Doing it again
    changes nothing. What runs is not restarted.
    """
    conf = conf.absolute()
    installation = settings_of(directory)
    lines = _lines(conf)
    change = _change(installation, conf, lines, (plugin or _default_plugin()).absolute(), mode)
    steps = change.steps()
    if steps and not dry_run:
        _ask(steps, yes=yes)
        _apply(change, broker, lines)
    _report(change, steps, installation, dry_run=dry_run, as_json=as_json)


def uninstall(
    conf: ConfFile = DEFAULT_CONF,
    plugin: PluginPath = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take out again what install put in.

    Mosquitto then lets in whom the rest of its configuration lets in, from its next start on.
    """
    snippet = _include_folder(conf.absolute()) / SNIPPET_NAME
    found = []
    if _is_ours(snippet):
        used = interpret(snippet, conf_lines(snippet)).every_plugin
        found = [one.path for one in used] if plugin is None else [plugin.absolute()]
        found = [file for file in found if _mark_of(file) is not None]
    files = [*([snippet] if _is_ours(snippet) else []), *found]
    steps = [f"remove {file}" for file in files]
    if steps and not dry_run:
        _ask(steps, yes=yes)
        for file in files:
            _remove(file)
    text = "\n".join([f"would {step}" if dry_run else step.replace("remove", "removed", 1)
                      for step in steps]) or "nothing to do"  # fmt: skip
    if steps and not dry_run:
        text += "\nnext: systemctl restart mosquitto"
    answer({"removed": [str(file) for file in files], "dry_run": dry_run}, text, as_json=as_json)


def _change(
    installation: Installation, conf: Path, lines: list[Line], plugin: Path, mode: Mode | None
) -> _Change:
    snippet = _include_folder(conf) / SNIPPET_NAME
    others = [line for line in lines if line.place.file != snippet]
    read = interpret(conf, others)
    _refuse(read, snippet)
    text = _snippet(installation, read, plugin, mode or _mode_of(snippet))
    return _Change(
        plugin=plugin,
        snippet=snippet,
        text=text,
        plugin_stale=_mark_of(plugin) != own_mark(),
        snippet_stale=not snippet.exists() or snippet.read_text(encoding="utf-8") != text,
    )


def _refuse(conf: BrokerConf, snippet: Path) -> None:
    """Refuse where a snippet would not do what it says.

    Raises:
        ConfigError: What stands elsewhere must be mended first.
    """
    loaded = [plugin for plugin in conf.every_plugin if plugin.is_keyfob]
    if loaded:
        raise ConfigError(f"{loaded[0].place} loads the plugin already: remove its lines there")
    if conf.per_listener:
        place = conf.shared["per_listener_settings"].place
        raise ConfigError(
            f"{place}: with per_listener_settings true the plugin's lines belong below each "
            "listener. Write `per_listener_settings false`, or put there what "
            "`keyfob mosquitto config` prints"
        )
    if snippet.exists() and not _is_ours(snippet):
        raise ConfigError(f"{snippet} is there and was not made by this command: rename it")


def _mode_of(snippet: Path) -> Mode:
    """Return the mode that was installed: installing again must not shut anybody out."""
    used = interpret(snippet, conf_lines(snippet)).every_plugin if snippet.exists() else []
    return "mixed" if any(plugin.is_mixed for plugin in used) else "exclusive"


def _snippet(installation: Installation, conf: BrokerConf, plugin: Path, mode: Mode) -> str:
    settings = installation.settings
    prefix = conf.shared.get("auto_id_prefix")
    rendered = render_plugin(
        PluginSettings(
            plugin=plugin,
            guard_socket=settings.guard.socket,
            decisions=settings.mosquitto.decisions,
            mode=mode,
            guard_timeout_ms=settings.mosquitto.guard_timeout_ms,
            exchange_timeout_ms=settings.mosquitto.exchange_timeout_ms,
            guard_users=_guard_users(installation.directory, conf.user),
            auto_id_prefix=prefix.text if prefix else "auto-",
        )
    )
    return f"{_HEADER}\nallow_anonymous false\n{rendered}"


def _guard_users(directory: Path, broker_user: str) -> tuple[str, ...]:
    """The guard runs as whom its folder belongs to; root and the broker's own need no mention."""
    try:
        name = pwd.getpwuid(directory.stat().st_uid).pw_name
    except KeyError:
        return ()
    return () if name in {"root", broker_user} else (name,)


def _apply(change: _Change, broker: str, lines: list[Line]) -> None:
    program = broker_program(broker)
    if program is None:
        raise ConfigError(f"there is no {broker} on this machine: apt install mosquitto")
    new = not change.plugin.exists()
    present = [line for line in lines if line.place.file != change.snippet]
    try:
        if change.plugin_stale:
            change.plugin.parent.mkdir(parents=True, exist_ok=True)
            provide_plugin(change.plugin)
        try_to_start(program, present, change.text)
        if change.snippet_stale:
            _write(change.snippet, change.text)
    except (OSError, ConfigError) as error:
        if new:
            change.plugin.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from error
        raise


def _write(file: Path, text: str) -> None:
    made = file.with_name(f".{file.name}.new")  # not *.conf: a broker that starts now skips it
    made.write_text(text, encoding="utf-8")
    made.chmod(0o644)
    made.replace(file)


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{file} cannot be removed: {error.strerror}") from error


def _report(
    change: _Change,
    steps: list[str],
    installation: Installation,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    data = {
        "plugin": str(change.plugin),
        "snippet": str(change.snippet),
        "mosquitto.conf": change.text.splitlines(),
        "steps": steps,
        "dry_run": dry_run,
    }
    if not steps:
        text = f"nothing to do: {change.snippet} and {change.plugin} are in place"
    elif dry_run:
        text = "\n".join(f"would {step}" for step in steps) + f"\n\n{change.text.rstrip()}"
    else:
        placed = f"{change.plugin} and {change.snippet} are in place"
        doctor = f"keyfob mosquitto doctor{installation.option}"
        text = f"{placed}, and Mosquitto starts with them\n"
        text += f"next: systemctl restart mosquitto, then {doctor}"
    answer(data, text, as_json=as_json)


def _ask(steps: list[str], *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("this changes the machine: say --yes, or look first with --dry-run")
    shown = "\n".join(f"  {step}" for step in steps)
    if not typer.confirm(f"This will\n{shown}\nGo on?", err=True):
        raise ConfigError("nothing was done")


def _lines(conf: Path) -> list[Line]:
    try:
        return conf_lines(conf)
    except OSError as error:
        file = os.fsdecode(error.filename or str(conf))
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def _include_folder(conf: Path) -> Path:
    """Return the last folder that a configuration includes.

    Raises:
        ConfigError: It includes none, or cannot be read.
    """
    try:
        text = conf.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{conf} cannot be read: {error.strerror}") from error
    found = [line.removeprefix("include_dir ") for line in text.splitlines()
             if line.startswith("include_dir ")]  # fmt: skip
    if not found:
        raise ConfigError(
            f"{conf} has no include_dir: write `include_dir /etc/mosquitto/conf.d`, or put there "
            "what `keyfob mosquitto config` prints"
        )
    return Path(found[-1])


def _is_ours(snippet: Path) -> bool:
    try:
        return snippet.read_text(encoding="utf-8", errors="replace").startswith(_HEADER)
    except OSError:
        return False


def _mark_of(plugin: Path) -> object:
    try:
        return read_mark(plugin.read_bytes())
    except OSError:
        return None


def _default_plugin() -> Path:
    """Return where the plugin goes: where Mosquitto's own are, or else a folder of ours."""
    for own in sorted(Path("/usr/lib").glob(f"*/mosquitto/{_DYNAMIC_SECURITY}")):
        return own.with_name(PLUGIN_FILE)
    for own in sorted(Path("/usr/lib").glob(f"*/{_DYNAMIC_SECURITY}")):
        return own.with_name(PLUGIN_FILE)
    return Path("/usr/lib/keyfob") / PLUGIN_FILE
