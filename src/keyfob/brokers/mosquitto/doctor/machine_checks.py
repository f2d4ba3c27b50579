# SPDX-License-Identifier: Apache-2.0
"""Whether the broker's user can read the plugin and reach the guard, and both expect each other."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from keyfob.brokers.mosquitto.doctor.facts import Facts, PluginFile, SocketFacts, User, Way
from keyfob.brokers.mosquitto.doctor.finding import Finding

__all__ = ["check_machine"]

Findings = Iterator[Finding]
_READ, _WRITE, _ENTER = 4, 2, 1


def check_machine(facts: Facts) -> Findings:
    """Yield what is wrong outside the configuration."""
    yield from _broker(facts)
    if facts.plugin is not None:
        yield from _plugin(facts.plugin, facts)
    if facts.guard is None:
        yield Finding(
            "installation_missing",
            "no keyfob.toml was read: what the guard expects of the broker is not known",
            "name the guard's folder with --dir",
        )
    if facts.socket is not None:
        yield from _socket(facts.socket, facts)


def _broker(facts: Facts) -> Findings:
    if facts.version is None:
        mend = "apt install mosquitto, or name it with --broker"
        yield Finding("broker_missing", "there is no mosquitto that could be asked", mend)
    elif facts.version[:2] < (2, 0) or facts.version[0] > 2:
        shown = ".".join(map(str, facts.version))
        what = f"this is Mosquitto {shown}; the plugin is for 2.0 and 2.1"
        yield Finding("broker_version", what, "install one of those")
    if facts.broker_user is None:
        yield Finding(
            "broker_user_missing",
            "the user that Mosquitto would become is not on this machine: it does not start as "
            "root",
            "write `user NAME` with one that is",
        )


def _plugin(plugin: PluginFile, facts: Facts) -> Findings:
    shown = shlex.quote(str(plugin.path))
    build = f"run `keyfob mosquitto build --out {shlex.quote(str(plugin.path.parent))}`"
    if not plugin.exists:
        what = f"{plugin.path} is not there: Mosquitto does not start"
        yield Finding("plugin_missing", what, build)
        return
    if blocked := _blocked(plugin.way, facts.broker_user, _READ):
        yield Finding(
            "plugin_unreadable",
            f"{_name(facts.broker_user)} may not read {plugin.path}"
            + ("" if blocked == plugin.path else f", for it may not enter {blocked}")
            + ": Mosquitto does not start",
            f"run `chmod a+r {shown}`"
            if blocked == plugin.path
            else "put it where everybody may read: run "
            "`keyfob mosquitto build --out /usr/lib/keyfob`, and name that file",
        )
        return
    if not plugin.is_plugin:
        yield Finding("plugin_not_one", f"{plugin.path} is not this plugin", build)
    elif not plugin.machine_fits:
        what = f"{plugin.path} was built for another machine: Mosquitto does not start"
        yield Finding("plugin_other_machine", what, build)
    elif (plugin.wire, plugin.sources) != (facts.wire, facts.sources):
        understood = "they do not understand each other: everybody is refused as unavailable"
        yield Finding(
            "plugin_other_release",
            f"{plugin.path} is of another release than this Keyfob"
            + ("" if plugin.wire == facts.wire else f", and {understood}"),
            f"{build}, then restart Mosquitto",
        )
    if plugin.replaced_under:
        running = ", ".join(map(str, plugin.replaced_under))
        what = f"a running Mosquitto (process {running}) still has an older {plugin.path} loaded"
        yield Finding("plugin_replaced", what, "restart Mosquitto; a reload is not enough")


def _socket(found: SocketFacts, facts: Facts) -> Findings:
    guard = facts.guard
    if guard is not None and guard.socket != found.path:
        yield Finding(
            "socket_differs",
            f"the plugin asks at {found.path}, the guard listens at {guard.socket}",
            f"write `plugin_opt_guard_socket {guard.socket}`",
        )
    start = f"start it: `keyfob guard --dir {shlex.quote(str(guard.conf.parent))}`" if guard else (
        "start it: `keyfob guard --dir FOLDER`"
    )  # fmt: skip
    if not found.exists:
        what = f"the guard is not running: there is no socket at {found.path}"
        yield Finding("socket_missing", what, start)
    elif found.answer == "refused":
        what = f"the guard is not running: nobody answers at {found.path}"
        yield Finding("socket_refused", what, start)
    if blocked := _blocked(found.way, facts.broker_user, _READ | _WRITE):
        yield _unreachable(found, blocked, facts)
    yield from _trust(found, facts)


def _unreachable(found: SocketFacts, blocked: Path, facts: Facts) -> Finding:
    user = facts.broker_user
    assert user is not None  # noqa: S101 - only known users are kept out
    folder, name = found.path.parent, user.name
    lines = f'`socket_users = ["{name}"]` and `socket_group = "{name}"` into [guard] of keyfob.toml'
    if blocked in {found.path, folder}:
        mend = f"write {lines}, run `chgrp {name} {folder} && chmod g+x,o-w {folder}`, and restart "
        mend += "the guard"
    else:
        owner = f"-o {facts.guard.owner} " if facts.guard else ""
        mend = f'write `socket = "/run/keyfob/guard.sock"`, {lines}, run '
        mend += f"`install -d -m 0750 {owner}-g {name} /run/keyfob`, restart the guard, and run "
        mend += "`keyfob mosquitto install` again"
    what = f"{user.name} may not reach the guard's socket {found.path}: {blocked} keeps it out"
    return Finding("socket_unreachable", what, mend)


def _trust(found: SocketFacts, facts: Facts) -> Findings:
    """Each end takes its own user and root; everybody else must be named to it."""
    user, guard = facts.broker_user, facts.guard
    if user is None or found.guard is None or found.guard.uid == user.uid:
        return
    if found.guard.uid not in {0, *facts.guard_users}:
        yield Finding(
            "guard_user_unexpected",
            f"the guard runs as {found.guard.name}, whom the plugin does not expect",
            f"write `plugin_opt_guard_users {found.guard.name}` below the plugin's line",
        )
    if guard is not None and user.uid != 0 and user.name not in guard.socket_users:
        yield Finding(
            "broker_user_unexpected",
            f"the guard does not expect {user.name}, whom Mosquitto runs as: it ends the link",
            f'write `socket_users = ["{user.name}"]` into [guard] of {guard.conf}, and restart '
            "the guard",
        )


def _blocked(way: Way, user: User | None, want: int) -> Path | None:
    """Return what on a way keeps a user out; None: nothing, or nothing is known."""
    if user is None or not way:
        return None
    for node in way[:-1]:
        if not node.lets(user, _ENTER):
            return node.path
    last = way[-1]
    is_end = last.is_file or last.is_socket
    return None if last.lets(user, want if is_end else _ENTER) else last.path


def _name(user: User | None) -> str:
    return user.name if user else "the broker's user"
