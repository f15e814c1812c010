"""The Arduino framework: it lies with the core, whose own builder script is run."""

from __future__ import annotations

from pathlib import Path

from SCons.Script import DefaultEnvironment, SConscript

framework_dir = DefaultEnvironment().PioPlatform().get_package_dir("framework-arduinoespressif32")
SConscript(str(Path(framework_dir, "tools", "platformio-build.py")))
