# SPDX-License-Identifier: Apache-2.0
"""A mosquitto.conf is split as Mosquitto splits it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.brokers.mosquitto.doctor.broker_conf import interpret
from keyfob.brokers.mosquitto.doctor.conf_lines import Line, read_lines

MAIN = Path("/etc/mosquitto.conf")


def lines_of(files: Mapping[str, str]) -> list[Line]:
    """Read files that are not on any disk; the first is the main one."""
    named = {Path(name): text for name, text in files.items()}

    def read(file: Path) -> str:
        if file not in named:
            raise FileNotFoundError(2, "No such file or directory", str(file))
        return named[file]

    def names(folder: Path) -> list[str]:
        found = [file.name for file in named if file.parent == folder]
        if not found:
            raise FileNotFoundError(2, "No such file or directory", str(folder))
        return found

    return list(read_lines(next(iter(named)), read, names))


def pairs(text: str) -> list[tuple[str, str]]:
    return [(line.name, line.rest) for line in lines_of({str(MAIN): text})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a b\nuser x\n", [("user", "x")]),
        ("\n\r\nuser x\r\n", [("user", "x")]),
        ("  user x", [("user", "x")]),
        (" # no comment", [("#", "no comment")]),
        ("user\tx", [("user\tx", "")]),
        ("plugin_opt_a  x ", [("plugin_opt_a", " x ")]),
        ("   \n", []),
    ],
)
def test_lines_are_split_at_spaces_and_comments_begin_at_the_first_byte(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert pairs(text) == expected


def test_a_plugin_is_given_the_blanks_behind_a_value_and_nobody_else_is() -> None:
    (line,) = lines_of({str(MAIN): "plugin_opt_guard_socket   /run/a b  "})
    assert line.plugin_value == "/run/a b  "
    assert line.text == "/run/a b"
    assert line.word == "/run/a"


def test_folders_are_read_in_mosquittos_order_and_only_from_the_main_file() -> None:
    found = lines_of(
        {
            "/m.conf": "a 1\ninclude_dir /d\nz 1",
            "/d/b.conf": "b 1\ninclude_dir /e",
            "/d/A.conf": "A 1",
            "/d/a.conf": "a 2",
            "/d/_.conf": "_ 1",
            "/d/.conf": "never 1",
            "/d/c.conf.old": "never 1",
            "/e/never.conf": "never 1",
        }
    )
    assert [line.name for line in found] == ["a", "A", "a", "b", "_", "z"]
    assert str(found[1].place) == "/d/A.conf:1"


def test_a_folder_with_a_blank_before_its_name_is_another_folder() -> None:
    with pytest.raises(FileNotFoundError, match="/d"):
        lines_of({"/m.conf": "include_dir  /d", "/d/a.conf": ""})


def test_an_included_file_begins_with_the_default_listener_and_ends_where_it_was() -> None:
    found = lines_of(
        {
            "/m.conf": "listener 1\ninclude_dir /d\nuse_username_as_clientid true",
            "/d/a.conf": "use_identity_as_username true\nlistener 2\nuse_subject_as_username 1",
        }
    )
    conf = interpret(Path("/m.conf"), found)
    assert conf.default.is_on("use_identity_as_username")
    assert conf.listeners[0].is_on("use_username_as_clientid")
    assert conf.listeners[1].is_on("use_subject_as_username")
    assert len(conf.listeners[1].lines) == 1


def test_an_option_in_another_file_than_its_plugin_has_none() -> None:
    files = {
        "/m.conf": "plugin /p.so\ninclude_dir /d\nplugin_opt_one a",
        "/d/a.conf": "plugin_opt_two b",
    }
    conf = interpret(Path("/m.conf"), lines_of(files))
    assert [str(problem.place) for problem in conf.problems] == ["/d/a.conf:1"]
    assert list(conf.every_plugin[0].options) == ["one"]


def test_plugins_of_2_1_are_loaded_once_and_used_by_name() -> None:
    text = (
        "per_listener_settings true\nplugin_load k /keyfob.so\nplugin_opt_guard_socket /s\n"
        "listener 1\nplugin_use k\nlistener 2\nplugin_use k\nlistener 3\nplugin_use other\n"
    )
    conf = interpret(MAIN, lines_of({str(MAIN): text}))
    assert [len(listener.plugins) for listener in conf.listeners] == [1, 1, 0]
    assert len(conf.every_plugin) == 1
    assert conf.every_plugin[0].options["guard_socket"][0] == "/s"
    assert len(conf.problems) == 1


@given(st.text(alphabet="ab #\t\n\r_1", max_size=80))
def test_no_text_upsets_the_reader(text: str) -> None:
    lines = lines_of({str(MAIN): text})
    assert all(line.name and " " not in line.name for line in lines)
    interpret(MAIN, lines)


@given(
    st.lists(
        st.sampled_from(
            ["per_listener_settings true", "allow_anonymous true", "listener 1883", "listener",
             "plugin /a.so", "plugin", "plugin_opt_guard_socket /s", "plugin_opt_x y", "port x",
             "plugin_use a", "plugin_load a /b.so", "max_packet_size", "max_packet_size 5"]
        )
    )
)  # fmt: skip
def test_no_order_of_lines_upsets_what_they_amount_to(lines: list[str]) -> None:
    conf = interpret(MAIN, lines_of({str(MAIN): "\n".join(lines)}))
    opened = any(line.startswith("listener") for line in lines)
    assert not (opened and conf.local_only)
    assert len(conf.every_plugin) == len({id(plugin) for plugin in conf.every_plugin})
