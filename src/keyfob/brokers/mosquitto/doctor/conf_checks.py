# SPDX-License-Identifier: Apache-2.0
"""What a mosquitto.conf says that lets somebody in without a token, or keeps the plugin out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from keyfob.brokers.mosquitto.conf import LEAST_PACKET
from keyfob.brokers.mosquitto.doctor.broker_conf import SECURITY, BrokerConf, Listener
from keyfob.brokers.mosquitto.doctor.conf_lines import Line, Place
from keyfob.brokers.mosquitto.doctor.finding import Edit, Finding

__all__ = ["check_conf"]

Findings = Iterator[Finding]

# They keep messages or look at them; they let nobody in.
_HARMLESS: Final = ("mosquitto_persist_sqlite", "mosquitto_sparkplug_aware")
_PASSED_OVER: Final = ("password_file", "acl_file")


def check_conf(conf: BrokerConf, version: tuple[int, int, int] | None) -> Findings:
    """Yield what is wrong with the configuration alone.

    Args:
        conf: The configuration.
        version: The broker's; None: not known, and taken for 2.0.
    """
    for problem in conf.problems:
        mend = f"correct {problem.place}"
        yield Finding("conf_invalid", problem.what, mend, problem.place)
    yield from _listeners(conf)
    yield from _anonymous(conf)
    yield from _per_listener(conf, version or (2, 0, 0))
    yield from _identities(conf)
    yield from _mount_points(conf)
    yield from _messages(conf)
    yield from _others(conf)


def _switched(code: str, what: str, line: Line, value: str = "false") -> Finding:
    text = f"{line.name} {value}"
    return Finding(code, what, f"write `{text}`", line.place, Edit(line.place, text))


def _listeners(conf: BrokerConf) -> Findings:
    if conf.local_only:
        yield Finding(
            "no_listener",
            "there is no listener: Mosquitto serves this machine alone, without TLS",
            "write `listener 8883` with `certfile` and `keyfile` below it",
            conf.default.place,
        )
    for listener in conf.every_listener:
        if "certfile" in listener.lines or "psk_hint" in listener.lines or _is_local(listener):
            continue
        port = listener.port or 1883
        yield Finding(
            "listener_without_tls",
            f"{listener.name} takes tokens from the network without TLS: whoever reads "
            "along has them",
            f"write `certfile` and `keyfile` below it, or `listener {port} 127.0.0.1`",
            listener.place,
            Edit(listener.place, f"listener {port} 127.0.0.1") if listener.place.line else None,
        )


def _is_local(listener: Listener) -> bool:
    bound = listener.lines.get("bind_address")
    host = listener.host or (bound.text if bound else "")
    if listener.place.line and not listener.port:
        return True  # a Unix socket
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _anonymous(conf: BrokerConf) -> Findings:
    what = (
        "whoever shows no credentials is let in wherever the plugin is not asked or not loaded: "
        "it is no second line of defence"
    )
    lines = [one.lines.get("allow_anonymous") for one in [conf.default, *conf.listeners]]
    for line in [conf.shared.get("allow_anonymous"), *lines]:
        if line is not None and line.word in {"true", "1"}:
            yield _switched("anonymous_allowed", what, line)
    if conf.local_only and "allow_anonymous" not in conf.shared:
        mend = "write `allow_anonymous false`"
        unset = "allow_anonymous is not set, and without a listener that means true"
        yield Finding("anonymous_allowed", unset, mend, conf.default.place)


def _per_listener(conf: BrokerConf, version: tuple[int, int, int]) -> Findings:
    if not conf.per_listener:
        return
    line = conf.shared["per_listener_settings"]
    if version < (2, 0, 15):
        what = (
            "Mosquitto up to 2.0.14 never calls a plugin's timer then: connections do not end when "
            "their token does, nor at a revocation, until another client connects"
        )
        yield _switched("per_listener_settings", what, line)
    elif version < (2, 1, 0):
        what = "Mosquitto 2.0 queues nothing then for clients that are away"
        yield _switched("per_listener_settings", what, line)
    else:
        yield from _before_a_listener(conf)
    if any(one.is_keyfob for one in conf.plugins):
        return  # a global_plugin
    for listener in conf.every_listener:
        if not any(one.is_keyfob for one in listener.plugins):
            yield Finding(
                "listener_without_plugin",
                f"{listener.name} has a set of rules of its own, and no plugin in it",
                f"write `per_listener_settings false`, or the plugin's lines below {listener.place}"
                " too",
                listener.place,
                Edit(line.place, "per_listener_settings false"),
            )


def _before_a_listener(conf: BrokerConf) -> Findings:
    """Mosquitto 2.1 has no default listener for what each has of its own."""
    default = conf.default
    places = [plugin.place for plugin in default.plugins]
    places += [line.place for name, line in default.lines.items() if name in SECURITY]
    for place in places:
        what = "with per_listener_settings true this belongs below a listener: 2.1 does not start"
        yield Finding("conf_invalid", what, "put it below one, or behind each", place)


def _identities(conf: BrokerConf) -> Findings:
    for listener in [conf.default, *conf.listeners]:
        for name in ("use_identity_as_username", "use_subject_as_username"):
            if listener.is_on(name):
                yield _switched(
                    "identity_as_username",
                    f"{name}: Mosquitto lets certificates in without asking a plugin, and their "
                    "client identifier is their own choice: they can throw devices out",
                    listener.lines[name],
                )
        if listener.is_on("use_username_as_clientid"):
            yield _switched(
                "username_as_clientid",
                "use_username_as_clientid: a token in the username becomes the client identifier, "
                "which is written to logs and to the broker's database",
                listener.lines["use_username_as_clientid"],
            )


def _mount_points(conf: BrokerConf) -> Findings:
    for listener in [conf.default, *conf.listeners]:
        line = listener.lines.get("mount_point")
        if line is not None:
            yield Finding(
                "mount_point",
                f"mount_point {line.text}: Mosquitto asks about every topic with that before it, "
                "so a device whose rights do not begin with it may do nothing",
                "remove the line",
                line.place,
                Edit(line.place, None),
            )


def _messages(conf: BrokerConf) -> Findings:
    if conf.is_on("check_retain_source"):
        yield _switched(
            "check_retain_source",
            "check_retain_source: retained messages of whoever is not connected are withheld",
            conf.shared["check_retain_source"],
        )
    size = conf.shared.get("max_packet_size")
    if size is not None and size.word.lstrip("+").isdigit() and int(size.word) < LEAST_PACKET:
        yield _switched(
            "max_packet_size",
            f"max_packet_size {size.word} is less than a CONNECT with its tokens may have: "
            "Mosquitto closes such a connection before anybody is asked",
            size,
            str(LEAST_PACKET),
        )


def _others(conf: BrokerConf) -> Findings:
    ours = [plugin for plugin in conf.every_plugin if plugin.is_keyfob]
    mixed = any(plugin.is_mixed for plugin in ours)
    for plugin in conf.every_plugin:
        if plugin.is_keyfob or plugin.path.name.startswith(_HARMLESS):
            continue
        before = bool(ours) and conf.every_plugin.index(plugin) < conf.every_plugin.index(ours[0])
        if mixed and not before:
            continue  # what is no token is left to it
        yield Finding(
            "other_plugin",
            f"{plugin.path.name} is loaded, too, and "
            + ("is asked first: whom it lets in shows no token" if before else "is never asked"),
            "put its lines behind this plugin's" if mixed else "remove its lines",
            plugin.place,
        )
    for name, line in () if mixed else _passed_over(conf):
        yield Finding(
            "other_file",
            f"{name}: the plugin decides about everybody, so this file is not asked",
            "remove the line",
            line,
            Edit(line, None),
        )


def _passed_over(conf: BrokerConf) -> Iterator[tuple[str, Place]]:
    for lines in [conf.shared, *(one.lines for one in [conf.default, *conf.listeners])]:
        for name in _PASSED_OVER:
            if name in lines:
                yield name, lines[name].place
