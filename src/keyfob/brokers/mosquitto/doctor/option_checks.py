# SPDX-License-Identifier: Apache-2.0
"""Whether the plugin is loaded at all, and would start with the options that it is given."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from keyfob.brokers.mosquitto.doctor.broker_conf import BrokerConf, Plugin
from keyfob.brokers.mosquitto.doctor.conf_lines import Place
from keyfob.brokers.mosquitto.doctor.facts import Facts
from keyfob.brokers.mosquitto.doctor.finding import Edit, Finding
from keyfob.brokers.mosquitto.plugin_options import OPTIONS, problem_of

__all__ = ["check_options"]

Findings = Iterator[Finding]


def check_options(conf: BrokerConf, facts: Facts) -> Findings:
    """Yield what is wrong with the plugin's lines."""
    ours = [plugin for plugin in conf.every_plugin if plugin.is_keyfob]
    if not ours:
        yield Finding(
            "plugin_not_loaded",
            "no line loads the plugin: nobody is asked for a token",
            "run `keyfob mosquitto install`, or write what `keyfob mosquitto config` prints",
            conf.default.place,
        )
    for plugin in ours:
        yield from _options(plugin)
        yield from _users(plugin, facts)
        yield from _delayed(plugin, conf, facts)
        yield from _prefix(plugin, conf)


def _options(plugin: Plugin) -> Findings:
    if "guard_socket" not in plugin.options:
        yield Finding(
            "option_missing",
            "plugin_opt_guard_socket is missing: Mosquitto does not start",
            "write `plugin_opt_guard_socket PATH` below it, the path of guard.socket",
            plugin.place,
        )
    for name, (value, place) in plugin.options.items():
        bare = value.rstrip()
        if bare != value:
            yield _blank_behind(name, bare, place)
        if problem := problem_of(name, bare):
            yield _invalid(name, problem, place)


def _blank_behind(name: str, bare: str, place: Place) -> Finding:
    text = f"plugin_opt_{name} {bare}"
    return Finding(
        "option_blank_behind",
        f"plugin_opt_{name} has blanks behind its value, and Mosquitto makes them part of it",
        f"write `{text}` without them",
        place,
        Edit(place, text),
    )


def _invalid(name: str, problem: str, place: Place) -> Finding:
    edit = None
    mend = "correct it, or remove the line: the default is used then"
    if name not in OPTIONS:
        near = difflib.get_close_matches(name, OPTIONS, n=1)
        mend = f"did you mean plugin_opt_{near[0]}? Else remove the line" if near else "remove it"
    if name != "guard_socket":
        edit = Edit(place, None)
    what = f"plugin_opt_{name} {problem}: Mosquitto does not start"
    return Finding("option_invalid", what, mend, place, edit)


def _users(plugin: Plugin, facts: Facts) -> Findings:
    if facts.missing_users:
        place = plugin.options["guard_users"][1]
        names = ", ".join(facts.missing_users)
        yield Finding(
            "option_invalid",
            f"plugin_opt_guard_users names who is not on this machine ({names}): Mosquitto does "
            "not start",
            "write the user that the guard runs as, or remove the line",
            place,
            Edit(place, None),
        )


def _delayed(plugin: Plugin, conf: BrokerConf, facts: Facts) -> Findings:
    value, place = plugin.options.get("decisions", ("", plugin.place))
    if value == "delayed" and facts.version is not None and facts.version < (2, 1, 0):
        text = "plugin_opt_decisions auto"
        yield Finding(
            "delayed_needs_2_1",
            "plugin_opt_decisions delayed needs Mosquitto 2.1: this one does not start",
            f"write `{text}`",
            place,
            Edit(place, text),
        )
    elif value == "delayed":
        yield from _read_ahead(conf, place)


def _read_ahead(conf: BrokerConf, place: Place) -> Findings:
    """Say so where Mosquitto 2.1 reads on behind a packet of a client that waits (ADR 31)."""
    size = conf.shared.get("packet_buffer_size")
    if size is None or size.word != "1":
        yield Finding(
            "delayed_reads_ahead",
            "with plugin_opt_decisions delayed anybody can end this Mosquitto by what it reads "
            "ahead of a client that waits for its decision",
            "remove the line; or write `packet_buffer_size 1`, with which there are no WebSockets",
            place,
            Edit(place, None),
        )


def _prefix(plugin: Plugin, conf: BrokerConf) -> Findings:
    told = plugin.options.get("auto_id_prefix", ("auto-", plugin.place))[0]
    line = conf.shared.get("auto_id_prefix")
    used = line.text if line else "auto-"
    if told != used:
        yield Finding(
            "auto_id_prefix_differs",
            f"Mosquitto begins the identifiers that it assigns with {used!r}, the plugin expects "
            f"{told!r}: devices without an identifier of their own are refused",
            f"write `plugin_opt_auto_id_prefix {used}` below the plugin's line",
            plugin.options.get("auto_id_prefix", ("", plugin.place))[1],
            Edit(plugin.options["auto_id_prefix"][1], f"plugin_opt_auto_id_prefix {used}")
            if "auto_id_prefix" in plugin.options
            else None,
        )
