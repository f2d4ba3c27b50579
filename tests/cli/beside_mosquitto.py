# SPDX-License-Identifier: Apache-2.0
"""A guard, and the machine's Mosquitto as its own user beside it, for `keyfob mosquitto doctor`.

Everything is in a folder that both may reach: what a test breaks is the only thing that is wrong.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from keyfob.cli.installation import Installation
from tests.cli.commands import KEYFOB, Program, Shell, started, wait_for
from tests.free_ports import free_port
from tests.running import MOSQUITTO

USER: Final = "mosquitto"
PROGRAM: Final = shutil.which(MOSQUITTO, path=f"{os.environ['PATH']}:/usr/sbin")
RUNNING: Final = re.compile(r"mosquitto version \S+ running")
DEVICE: Final = "dev1"


@dataclass
class Beside:
    """One broker's configuration, its guard, and a device with a token."""

    folder: Path
    installation: Installation
    shell: Shell
    token: str = field(repr=False)
    guards: Guards = field(repr=False)
    port: int = field(default_factory=free_port)
    started: int = 0

    @property
    def conf(self) -> Path:
        return self.folder / "mosquitto.conf"

    @property
    def plugin(self) -> Path:
        return self.folder / "lib" / "keyfob_mosquitto.so"

    @property
    def socket(self) -> Path:
        return self.installation.settings.guard.socket

    def write(self) -> None:
        """Write a configuration that is right."""
        self.conf.write_text(
            "per_listener_settings false\n"
            "allow_anonymous false\n"
            f"plugin {self.plugin}\n"
            f"plugin_opt_guard_socket {self.socket}\n"
            "plugin_opt_guard_timeout_ms 5000\n"
            "plugin_opt_startup_wait_ms 300\n"
            "persistence false\n"
            f"listener {self.port} 127.0.0.1\n",
            encoding="utf-8",
        )

    def change(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.conf.read_text(encoding="utf-8")
        assert old in text, text
        self.conf.write_text(text.replace(old, new, 1), encoding="utf-8")

    @property
    def doctor(self) -> tuple[str, ...]:
        """The command that asks doctor, without --dir."""
        assert PROGRAM is not None
        return ("mosquitto", "doctor", "--conf", str(self.conf), "--broker", PROGRAM)

    def findings(self, *, code: int = 1) -> list[dict[str, Any]]:
        """Ask doctor."""
        outcome = self.shell(*self.doctor, "--json")
        assert outcome.code == code, outcome
        found: list[dict[str, Any]] = outcome.json["findings"]
        return found

    def mend(self, findings: list[dict[str, Any]]) -> None:
        """Do what doctor says, word for word, where it is a line or a command."""
        edits = [finding["edit"] for finding in findings if finding["edit"]]
        for edit in sorted(edits, key=lambda edit: -int(edit["line"])):
            lines = Path(edit["file"]).read_text(encoding="utf-8").split("\n")
            lines[edit["line"] - 1 : edit["line"]] = [edit["text"]] if edit["text"] else []
            Path(edit["file"]).write_text("\n".join(lines), encoding="utf-8")
        for finding in findings:
            if not finding["edit"]:
                for command in re.findall(r"run `([^`]+)`", finding["mend"]):
                    self._run(command)

    def _run(self, command: str) -> None:
        keyfob = shlex.join(KEYFOB)
        shown = re.sub(r"^keyfob ", f"{keyfob} ", command)
        subprocess.run(["sh", "-c", shown], check=True, timeout=120, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def broker(self) -> Iterator[str]:
        """Run the broker as a service does, from root; what it said tells whether it started."""
        assert PROGRAM is not None
        self.started += 1
        log = self.folder / f"broker-{self.started}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [PROGRAM, "-v", "-c", str(self.conf)], stdout=stream, stderr=stream
            )
        try:
            wait_for(
                "the broker to start, or not",
                lambda: (
                    RUNNING.search(log.read_text(errors="replace")) or process.poll() is not None
                ),
            )
            yield log.read_text(errors="replace")
        finally:
            process.kill()
            process.wait()

    def starts(self) -> bool:
        """Tell whether the broker starts at all."""
        with self.broker() as said:
            return RUNNING.search(said) is not None

    def comes_in(self, token: str | None = None, *, client_id: str = DEVICE) -> bool:
        """Tell whether the device gets in with its token, and may publish."""
        with self.broker() as said:
            assert RUNNING.search(said), said
            return self.publishes(token or self.token, client_id=client_id) == ""

    def publishes(self, password: str, *, client_id: str = DEVICE) -> str:
        """Publish; return what mosquitto_pub says, nothing where all is well."""
        identified = ["-i", client_id] if client_id else ["-I", "x"]
        done = subprocess.run(
            ["mosquitto_pub", "-V", "mqttv5", "-h", "127.0.0.1", "-p", str(self.port), *identified,
             *(["-u", "any", "-P", password] if password else []),
             "-q", "1", "-t", f"devices/{DEVICE}/t", "-m", "x"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr + ("" if done.returncode == 0 else " failed")

    @contextlib.contextmanager
    def guard(self) -> Iterator[Program]:
        """Have a guard; the one that runs already, where there is one."""
        if self.guards.program is None or self.guards.program.process.poll() is not None:
            self.guards.start()
        assert self.guards.program is not None
        yield self.guards.program


@dataclass
class Guards:
    """The guard of an installation, which goes on from one test to the next."""

    folder: Path
    program: Program | None = None
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def start(self, *, user: str = "", group: str = "") -> None:
        """Start one, in the place of the one before; as another user where one is named."""
        self.stop()
        log, where = self.folder / "guard.log", ("guard", "--dir", str(self.folder / "data"))
        log.unlink(missing_ok=True)
        run = started(log, *where)
        if user:
            become = ("setpriv", "--reuid", user, "--regid", group, "--init-groups")
            run = started(log, *where, before=become)
        self.program = self.stack.enter_context(run)
        self.program.until("ready at")

    def stop(self) -> None:
        """Stop it, and have none."""
        self.stack.close()
        self.program = None
