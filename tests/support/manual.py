"""The documentation, run: each section's blocks, in their order, in a project that `otaseal init` has set up.

A block of `sh` is run by bash, with `otaseal` and `pio` on its path; a block of `ini` changes the project's options;
blocks of other kinds are for reading.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from support.command import TOOLS
from support.pio import CCACHE, COMPILED, PLATFORM

PRODUCT, ENVIRONMENT = "blink", "nodemcuv2"
PASSPHRASE = "correct horse"
SECONDS = 300
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.M | re.S)
OPTION = re.compile(r"^(custom_otaseal_\w+) *= *(.*)$", re.M)


@dataclass(frozen=True)
class Section:
    """A section of a page: its title, and its blocks as (kind, text)."""

    title: str
    blocks: tuple[tuple[str, str], ...]

    @property
    def runs(self) -> str:
        """Everything in it that is run."""
        return "".join(text for kind, text in self.blocks if kind == "sh")


def sections(page: Path) -> dict[str, Section]:
    """Return the sections of `page` that have something to run, by title."""
    found = {}
    for part in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, _, text = part.partition("\n")
        blocks = tuple((kind, textwrap.dedent(body)) for _, kind, body in BLOCK.findall(text))
        found[title] = Section(title, blocks)
    return {title: section for title, section in found.items() if section.runs}


@dataclass(frozen=True)
class Workplace:
    """A person's home, with keys in its usual places, and a project; both below `folder`."""

    folder: Path
    core: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def project(self) -> Path:
        return self.folder / PRODUCT

    @property
    def store(self) -> Path:
        return self.home / ".config" / "otaseal" / "pki" / PRODUCT

    @property
    def keys(self) -> Path:
        return self.home / ".config" / "otaseal" / "keys" / PRODUCT

    def create(self, sketch: str) -> Workplace:
        """Write a project, and have `otaseal init` set it up."""
        self.install()
        (self.project / "src").mkdir(parents=True)
        (self.project / "src" / "main.cpp").write_text(sketch)
        ini = [f"[env:{ENVIRONMENT}]", f"platform = symlink://{PLATFORM}", f"board = {ENVIRONMENT}"]
        ini += ["framework = arduino", "upload_port = ../flash.bin"]
        (self.project / "platformio.ini").write_text("\n".join(ini) + "\n")
        self.run("otaseal init --server-name update.local --server-name 192.168.178.123 --operator ada")
        return self

    def install(self) -> None:
        """Make the home, and the two commands."""
        for path in (self.home, self.folder / "bin"):
            path.mkdir(parents=True)
        for name, module in (("otaseal", "otaseal"), ("pio", "platformio")):
            shim = self.folder / "bin" / name
            shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {module} "$@"\n')
            shim.chmod(0o755)

    def copy(self, folder: Path) -> Workplace:
        """Return a workplace at `folder` that is like this one."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Workplace(folder, self.core)

    def follow(self, section: Section) -> str:
        """Do what `section` says; return what it printed."""
        said = ""
        for kind, text in section.blocks:
            if kind == "sh":
                said += self.run(text)
            elif kind == "ini":
                self.set_options(dict(OPTION.findall(text)))
        return said

    def environment(self) -> dict[str, str]:
        """Return the variables that a command of the person has."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OTASEAL_", "PLATFORMIO_", "XDG_"))}
        return {
            **inherited,
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(self.folder / "bin"), str(CCACHE), os.environ["PATH"]]),
            "CCACHE_DIR": str(COMPILED),
            "PYTHONPATH": str(TOOLS),
            "OTASEAL_PASSPHRASE": PASSPHRASE,
            "PLATFORMIO_CORE_DIR": str(self.core),
            "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
            "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
            "PLATFORMIO_NO_ANSI": "true",
        }

    def run(self, script: str, code: int = 0) -> str:
        """Run `script` in the project, assert its exit code, and return what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.project,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"{script}\n{done.stdout}"
        return done.stdout

    def set_options(self, options: dict[str, str]) -> None:
        """Change options that stand in platformio.ini, each once."""
        path = self.project / "platformio.ini"
        text = path.read_text()
        for name, value in options.items():
            text, count = re.subn(rf"^{name} *=.*$", f"{name} = {value}", text, flags=re.M)
            assert count == 1, f"{name} stands {count} times in platformio.ini"
        path.write_text(text)
