"""The Arduino framework: as in the real platform, the core's package brings its own build script."""

from __future__ import annotations

from pathlib import Path

from SCons.Script import DefaultEnvironment, SConscript

env = DefaultEnvironment()
SConscript(str(Path(env.PioPlatform().get_package_dir("framework-arduinopico"), "tools", "platformio-build.py")))
