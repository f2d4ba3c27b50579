# SPDX-License-Identifier: Apache-2.0
"""One thing that is wrong: a code, what it is, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from keyfob import findings
from keyfob.brokers.mosquitto.doctor.conf_lines import Place

__all__ = ["CODES", "Edit", "Finding"]

CODES: Final = frozenset(
    {
        # the configuration
        "conf_unreadable",
        "conf_invalid",
        "plugin_not_loaded",
        "option_missing",
        "option_invalid",
        "option_blank_behind",
        "delayed_needs_2_1",
        "delayed_reads_ahead",
        "auto_id_prefix_differs",
        "anonymous_allowed",
        "per_listener_settings",
        "listener_without_plugin",
        "no_listener",
        "listener_without_tls",
        "identity_as_username",
        "username_as_clientid",
        "check_retain_source",
        "mount_point",
        "max_packet_size",
        "other_plugin",
        "other_file",
        # the broker and the plugin
        "broker_missing",
        "broker_version",
        "broker_user_missing",
        "plugin_missing",
        "plugin_unreadable",
        "plugin_not_one",
        "plugin_other_machine",
        "plugin_other_release",
        "plugin_replaced",
        # the guard
        "installation_missing",
        "socket_missing",
        "socket_refused",
        "socket_unreachable",
        "socket_differs",
        "guard_user_unexpected",
        "broker_user_unexpected",
    }
)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change to one line of mosquitto.conf; ``text`` None: the line goes."""

    place: Place
    text: str | None


@dataclass(frozen=True, slots=True)
class Finding(findings.Finding):
    """Something that is wrong with a Mosquitto.

    Args:
        place: Where it stands; None: not in a file.
        edit: The same, where it is one line of mosquitto.conf.
    """

    codes: ClassVar[frozenset[str]] = CODES

    place: Place | None = None
    edit: Edit | None = None

    @property
    def file(self) -> Path | None:
        """The file that it is about, if there is one."""
        return self.place.file if self.place else None
