# SPDX-License-Identifier: Apache-2.0
"""The wheel: with the plugin where there is a compiler, without it where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import Final

from keyfob.brokers.mosquitto.build import PLUGIN_FILE, own_mark, read_mark

ROOT: Final = Path(__file__).parent.parent
PLUGIN: Final = f"keyfob/brokers/mosquitto/{PLUGIN_FILE}"


def sources(folder: Path) -> Path:
    """What a wheel is made of, and nothing that was built before."""
    leave = shutil.ignore_patterns("*.egg-info", "__pycache__", "*.so")
    shutil.copytree(ROOT / "src", folder / "src", ignore=leave)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def wheel_of(folder: Path, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
    return subprocess.run(
        [*command, "--no-index", "--disable-pip-version-check", "-w", str(out), str(folder)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def the_wheel(out: Path) -> Path:
    (wheel,) = out.glob("*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """Install it into a new environment that has no other Keyfob; return its `keyfob`."""
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    subprocess.run(
        [*command, "--no-index", "--no-deps", "--disable-pip-version-check", str(wheel)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    # What it depends on comes from here: there may be no network.
    (here,) = Path(sys.prefix).glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{here}\n", encoding="utf-8")
    return folder / "bin" / "keyfob"


def test_a_wheel_carries_a_plugin_that_the_broker_loads(tmp_path: Path) -> None:
    folder = sources(tmp_path / "clone")
    stale = folder / "build" / "lib" / PLUGIN
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an older build")
    done = wheel_of(folder, tmp_path / "out", KEYFOB_WHEEL_PLUGIN="required")
    assert done.returncode == 0, done.stderr
    wheel = the_wheel(tmp_path / "out")
    assert wheel.name.split("-")[2:4] == ["py3", "none"]
    assert "any" not in wheel.name
    with zipfile.ZipFile(wheel) as content:
        assert read_mark(content.read(PLUGIN)) == own_mark()

    keyfob = installed(wheel, tmp_path / "environment")
    target, conf = tmp_path / "lib" / PLUGIN_FILE, tmp_path / "mosquitto.conf"
    (tmp_path / "conf.d").mkdir()
    # Another user than root could not come through to this folder.
    user = "user root\n" if os.geteuid() == 0 else ""
    conf.write_text(f"{user}include_dir {tmp_path}/conf.d\n", encoding="utf-8")
    # No compiler from here on.
    environment = {"PATH": os.environ["PATH"], "CC": "/nonexistent", "HOME": str(tmp_path)}

    def run(*arguments: str) -> str:
        command = [str(keyfob), *arguments]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    run("init", "--dir", "data")
    where = ("--dir", "data", "--conf", str(conf), "--plugin", str(target))
    assert f"put the plugin at {target}" in run("mosquitto", "install", *where, "--dry-run")
    assert not target.exists()
    assert "Mosquitto starts with them" in run("mosquitto", "install", *where, "--yes")
    assert read_mark(target.read_bytes()) == own_mark()
    run("mosquitto", "uninstall", "--conf", str(conf), "--yes")
    assert not target.exists()


def test_without_a_compiler_a_wheel_is_for_every_platform_and_has_no_plugin(
    tmp_path: Path,
) -> None:
    folder = sources(tmp_path / "clone")
    stale = folder / "build" / "lib" / PLUGIN
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an older build")
    done = wheel_of(folder, tmp_path / "out", CC="/nonexistent")
    assert done.returncode == 0, done.stderr
    wheel = the_wheel(tmp_path / "out")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
    assert PLUGIN not in names
    assert "keyfob/brokers/mosquitto/plugin/plugin.c" in names


def test_who_publishes_wheels_hears_that_the_plugin_is_missing(tmp_path: Path) -> None:
    folder = sources(tmp_path / "clone")
    done = wheel_of(folder, tmp_path / "out", CC="/nonexistent", KEYFOB_WHEEL_PLUGIN="required")
    assert done.returncode != 0
    assert "no C compiler" in done.stdout + done.stderr
