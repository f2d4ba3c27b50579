# SPDX-License-Identifier: Apache-2.0
"""The checks that need no broker to be seen: each says its code, its place and its cure."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.doctor.broker_conf import interpret
from keyfob.brokers.mosquitto.doctor.examination import examine
from keyfob.brokers.mosquitto.doctor.facts import (
    Facts,
    GuardFacts,
    Node,
    PluginFile,
    SocketFacts,
    User,
    Way,
)
from keyfob.brokers.mosquitto.doctor.finding import CODES, Finding
from tests.brokers.mosquitto.doctor.test_conf_lines import MAIN, lines_of

ROOT = Path(__file__).parents[4]
BROKER, GUARD = User("mosquitto", 102, frozenset({105})), User("keyfob", 900, frozenset({105}))
PLUGIN, SOCKET = Path("/usr/lib/keyfob_mosquitto.so"), Path("/run/keyfob/guard.sock")
GOOD = f"""\
per_listener_settings false
allow_anonymous false
plugin {PLUGIN}
plugin_opt_guard_socket {SOCKET}
plugin_opt_guard_users keyfob
listener 8883
certfile /etc/server.pem
keyfile /etc/server.key
"""


def way(path: Path, mode: int, *, uid: int = 0, gid: int = 0, folder: int = 0o755) -> Way:
    """A path whose last folder has a mode of its own."""
    every = [*reversed(path.parents), path]
    modes = [stat.S_IFDIR | 0o755] * (len(every) - 2) + [stat.S_IFDIR | folder, mode]
    return tuple(Node(one, mode, uid, gid) for one, mode in zip(every, modes, strict=True))


FACTS = Facts(
    version=(2, 0, 11),
    broker_user=BROKER,
    plugin=PluginFile(PLUGIN, way(PLUGIN, stat.S_IFREG | 0o755), True, True, True, 2, "ab"),
    socket=SocketFacts(
        SOCKET,
        way(SOCKET, stat.S_IFSOCK | 0o660, uid=900, gid=105, folder=0o750),
        True,
        "answers",
        GUARD,
    ),
    guard=GuardFacts(Path("/var/lib/keyfob/keyfob.toml"), "keyfob", SOCKET, ("mosquitto",), "m"),
    guard_users=frozenset({900}),
    wire=2,
    sources="ab",
)


def findings(text: str = GOOD, facts: Facts = FACTS) -> list[Finding]:
    return list(examine(interpret(MAIN, lines_of({str(MAIN): text})), facts))


def codes(text: str = GOOD, facts: Facts = FACTS) -> list[str]:
    return [finding.code for finding in findings(text, facts)]


def test_nothing_is_wrong_where_nothing_is() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GOOD.replace("certfile /etc/server.pem\n", ""), "listener_without_tls"),
        (GOOD + "listener 1883\n", "listener_without_tls"),
        (GOOD + "listener 1883 192.0.2.1\n", "listener_without_tls"),
        (GOOD + "plugin /usr/lib/mosquitto_dynamic_security.so\n", "other_plugin"),
        (GOOD + "password_file /etc/passwords\n", "other_file"),
        (GOOD.replace(f"plugin_opt_guard_socket {SOCKET}\n", ""), "option_missing"),
        (GOOD + "  # a remark\n", "conf_invalid"),
        ("plugin_opt_decisions\n" + GOOD, "conf_invalid"),
        (GOOD + "auto_id_prefix other\n", "auto_id_prefix_differs"),
        (GOOD + "max_packet_size 100000\n", "max_packet_size"),
        (GOOD + "check_retain_source 1\n", "check_retain_source"),
        (GOOD + "mount_point site/\n", "mount_point"),
        (GOOD.replace("mous false", "mous 1"), "anonymous_allowed"),
    ],
)
def test_a_configuration_with_one_thing_wrong_has_one_finding(text: str, code: str) -> None:
    assert codes(text) == [code]


@pytest.mark.parametrize(
    "lines",
    [
        "listener 1883 127.0.0.1",
        "listener 1883 ::1",
        "listener 1883 localhost",
        "listener 0 /run/mosquitto.sock",
        "listener 8884\ncertfile /x",
        "plugin /usr/lib/mosquitto/mosquitto_persist_sqlite.so",
        "max_packet_size 262144",
        "check_retain_source false",
    ],
)
def test_what_is_right_is_not_found(lines: str) -> None:
    assert codes(GOOD + lines + "\n") == []


def test_a_plugin_before_ours_is_said_to_be_asked_first() -> None:
    (before,) = findings("plugin /x/go-auth.so\n" + GOOD)
    (behind,) = findings(GOOD + "plugin /x/go-auth.so\n")
    assert "asked first" in before.what
    assert "never asked" in behind.what


def test_the_mode_mixed_leaves_something_to_others_that_stand_behind() -> None:
    mixed = GOOD.replace("listener 8883", "plugin_opt_mode mixed\nlistener 8883")
    assert codes(mixed + "password_file /p\nacl_file /a\nplugin /x/go-auth.so\n") == []
    (before,) = findings("plugin /x/go-auth.so\n" + mixed)
    assert before.code == "other_plugin"
    assert "behind" in before.mend
    assert codes(mixed.replace("mode mixed", "mode both")) == ["option_invalid"]


def test_an_empty_configuration_is_open_to_this_machine() -> None:
    nothing = dataclasses.replace(FACTS, plugin=None, socket=None)
    assert codes("", nothing) == ["no_listener", "anonymous_allowed", "plugin_not_loaded"]


def test_each_listener_has_a_plugin_of_its_own_where_it_has_settings_of_its_own() -> None:
    own = f"plugin {PLUGIN}\nplugin_opt_guard_socket {SOCKET}\n"
    text = f"per_listener_settings true\nlistener 1 127.0.0.1\n{own}listener 2 127.0.0.1\n"
    newer = dataclasses.replace(FACTS, version=(2, 1, 2))
    assert codes(text, newer) == ["listener_without_plugin"]
    assert codes(text + own, newer) == []
    assert codes(text + own) == ["per_listener_settings"]
    ticking = dataclasses.replace(FACTS, version=(2, 0, 21))
    assert codes(text + own, ticking) == ["per_listener_settings"]
    everywhere = text.replace(f"listener 1 127.0.0.1\nplugin {PLUGIN}", f"global_plugin {PLUGIN}")
    assert "listener_without_plugin" not in codes(everywhere, newer)


def test_what_stands_before_every_listener_makes_one_more_on_2_0_and_no_start_on_2_1() -> None:
    text = GOOD.replace("settings false", "settings true").replace("allow_anonymous false\n", "")
    newer = dataclasses.replace(FACTS, version=(2, 1, 2))
    assert codes(text) == [
        "listener_without_tls",
        "per_listener_settings",
        "listener_without_plugin",
    ]
    assert "conf_invalid" in codes(text, newer)


def test_delayed_decisions_need_2_1() -> None:
    text = GOOD.replace("plugin_opt_guard_users keyfob", "plugin_opt_decisions delayed")
    facts = dataclasses.replace(FACTS, guard_users=frozenset({900}))
    assert codes(text, facts) == ["delayed_needs_2_1"]
    newer = dataclasses.replace(facts, version=(2, 1, 0))
    assert codes(text, newer) == ["delayed_reads_ahead"]
    assert codes(text + "packet_buffer_size 1\n", newer) == []


def test_two_ends_that_do_not_expect_each_other() -> None:
    facts = dataclasses.replace(
        FACTS,
        guard_users=frozenset(),
        guard=dataclasses.replace(FACTS.guard, socket_users=()) if FACTS.guard else None,
    )
    assert codes(facts=facts) == ["guard_user_unexpected", "broker_user_unexpected"]
    same = dataclasses.replace(facts, broker_user=GUARD)
    assert codes(facts=same) == []
    root = User("root", 0, frozenset({0}))
    socket = dataclasses.replace(FACTS.socket, guard=root) if FACTS.socket else None
    assert codes(facts=dataclasses.replace(facts, socket=socket)) == ["broker_user_unexpected"]


@pytest.mark.parametrize(
    ("folder", "mode", "gid"),
    [(0o700, 0o660, 105), (0o750, 0o600, 105), (0o750, 0o640, 105), (0o750, 0o660, 0)],
)
def test_a_socket_that_the_broker_cannot_reach(folder: int, mode: int, gid: int) -> None:
    shut = way(SOCKET, stat.S_IFSOCK | mode, uid=900, gid=gid, folder=folder)
    socket = dataclasses.replace(FACTS.socket, way=shut) if FACTS.socket else None
    facts = dataclasses.replace(FACTS, socket=socket)
    (finding,) = findings(facts=facts)
    assert finding.code == "socket_unreachable"
    assert 'socket_group = "mosquitto"' in finding.mend


def test_the_machine_without_broker_user_or_keyfob() -> None:
    facts = Facts(version=None, broker_user=None)
    text = GOOD.replace("plugin_opt_guard_users keyfob\n", "")
    assert codes(text, facts) == ["broker_missing", "broker_user_missing", "installation_missing"]
    old = dataclasses.replace(FACTS, version=(1, 6, 9))
    assert codes(facts=old) == ["broker_version"]


def test_a_users_own_rights_count_before_those_of_the_group_and_of_others() -> None:
    node = Node(PLUGIN, stat.S_IFREG | 0o077, 102, 105)
    assert not node.lets(BROKER, 4)
    assert node.lets(User("x", 7, frozenset({105})), 4)
    assert node.lets(User("root", 0, frozenset()), 4)
    assert not Node(PLUGIN, stat.S_IFREG | 0o707, 0, 105).lets(BROKER, 4)


def test_the_example_is_right() -> None:
    text = (ROOT / "examples" / "mosquitto.conf").read_text(encoding="utf-8")
    assert findings(text) == []


def test_every_code_is_named_in_the_documentation() -> None:
    text = (ROOT / "docs" / "mosquitto.md").read_text(encoding="utf-8")
    assert [code for code in sorted(CODES) if f"`{code}`" not in text] == []
