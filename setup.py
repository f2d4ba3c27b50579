# SPDX-License-Identifier: Apache-2.0
"""A wheel that carries the Mosquitto plugin, compiled for this platform, where that can be done.

Without a C compiler the wheel is made all the same, without the plugin, and for every platform:
`keyfob mosquitto build` compiles it where it is needed. KEYFOB_WHEEL_PLUGIN=required makes that an
error, for whoever publishes wheels.
"""

import os
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent / "src"))

from keyfob.brokers.mosquitto.build import PLUGIN_FILE, compile_plugin
from keyfob.errors import ConfigError

PLACE = Path("keyfob", "brokers", "mosquitto", PLUGIN_FILE)


class BuildWithPlugin(build_py):
    """Compiles the plugin beside the package's modules; one of an older build never stays."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / PLACE
        target.unlink(missing_ok=True)
        try:
            compile_plugin(target)
        except ConfigError as error:
            if os.environ.get("KEYFOB_WHEEL_PLUGIN") == "required":
                raise SystemExit(error.message) from error
            self.warn(f"the wheel is made without the Mosquitto plugin: {error.message}")


class TaggedWheel(bdist_wheel):
    """Names the platform where the plugin is in, and no version of Python: it uses none."""

    def run(self) -> None:
        self.run_command("build")
        has_plugin = self._has_plugin()
        self.root_is_pure = not has_plugin
        self.distribution.has_ext_modules = lambda: has_plugin  # where all of it is put
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        platform = super().get_tag()[2] if self._has_plugin() else "any"
        return ("py3", "none", platform)

    def _has_plugin(self) -> bool:
        built = self.get_finalized_command("build_py").build_lib
        return (Path(built) / PLACE).exists()


setup(cmdclass={"build_py": BuildWithPlugin, "bdist_wheel": TaggedWheel})
