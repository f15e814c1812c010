"""The real PlatformIO on the development platform: projects, `pio run`, and a device that takes over-the-air updates.

Standard library only and nothing of pytest, so that a demonstration script uses the same module. PlatformIO runs with
a core directory of its own, made here of three files, which needs neither a registry nor the user's home.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from support import warm_start

PLATFORM = Path(__file__).resolve().parent.parent / "devplatform"
PICO_PLATFORM = PLATFORM.with_name("picoplatform")
ESP32_PLATFORM = PLATFORM.with_name("esp32platform")
CCACHE = Path("/usr/lib/ccache")  # where Debian's ccache keeps the compilers' names; without it builds are only slower
COMPILED = Path(__file__).resolve().parents[2] / "build" / "ccache"
"""What was compiled once is not compiled again: for all processes of a run, and for the runs after it."""
RUN_SECONDS = 300
WARM = "platformio.socket"
"""Where in a core directory a PlatformIO waits that has been imported already."""
PRIVATE = shutil.ignore_patterns(".pio", "data", "certs", "secret.h")
"""What is one developer's, or made by a build, is not a part of a project that is copied."""
BLINK = """\
#include <Arduino.h>

void setup() { pinMode(LED_BUILTIN, OUTPUT); }

void loop() {
  digitalWrite(LED_BUILTIN, LOW);
  delay(500);
  digitalWrite(LED_BUILTIN, HIGH);
  delay(500);
}
"""
SCONS = """\
import SCons.Script

SCons.Script.main()
"""
WARM_SCONS = f"""\
import sys

sys.path.insert(1, {str(Path(__file__).parent)!r})
from warm_start import call

sys.exit(call(__file__ + ".socket", sys.argv[1:], sys.path[0]))
"""
IMPORTED = {
    "platformio": ("platformio.maintenance", "platformio.cli", "platformio.run.cli", "platformio.platform.base"),
    "SCons": ("SCons.Script", "platformio.platform.base", "platformio.project.config"),
}
"""Programs, and what they import at every start."""
FIND_VERSION = """\
import sys
try:
    from platformio.dependencies import get_core_dependencies
    print(get_core_dependencies()[sys.argv[1]])
except ImportError:
    from platformio import __core_packages__
    print(__core_packages__[sys.argv[1]])
"""


class PioError(Exception):
    """A run of PlatformIO did not end as the caller said it would; the text is everything it printed."""


@dataclass(frozen=True)
class Run:
    """What one run of PlatformIO returned and printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


@cache
def package_version(name: str, python: str) -> str:
    """Return the version of the package `name` that the PlatformIO of interpreter `python` asks for."""
    command = [python, "-c", FIND_VERSION, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=RUN_SECONDS)
    return done.stdout.strip().lstrip("~")


def core_dir(parent: Path, python: str = sys.executable) -> Path:
    """Make a PlatformIO core directory below `parent`, with SCons from the interpreter's own packages; return it."""
    core = parent / "pio-core"
    (install_tool(core, "tool-scons", python) / "scons.py").write_text(SCONS)
    return core


@contextmanager
def warm(core: Path, python: str = sys.executable) -> Iterator[None]:
    """Have runs with this core directory start warm, where the system can."""
    scons = core / "packages" / "tool-scons" / "scons.py"
    if not warm_start.AVAILABLE:
        yield
        return
    with (
        warm_start.serving(core / WARM, "platformio", IMPORTED["platformio"], python),
        warm_start.serving(Path(f"{scons}.socket"), "SCons", IMPORTED["SCons"], python),
    ):
        scons.write_text(WARM_SCONS)
        yield


def install_tool(core: Path, name: str, python: str = sys.executable) -> Path:
    """Make an empty package of PlatformIO's tool `name` that counts as installed, and return its directory."""
    package = core / "packages" / name
    package.mkdir(parents=True, exist_ok=True)
    version = package_version(name, python)
    about = {"type": "tool", "name": name, "version": version}
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    (package / "package.json").write_text(json.dumps({"name": name, "version": version}))
    (package / ".piopm").write_text(json.dumps({**about, "spec": spec}))
    return package


@dataclass
class Project:
    """A PlatformIO project at `path` on the development platform, and `pio` in it.

    `core` is a directory from `core_dir`; `python` the interpreter whose PlatformIO runs.
    """

    path: Path
    core: Path
    python: str = sys.executable
    platform: Path = PLATFORM
    environment: dict[str, str] = field(default_factory=dict)

    def create(
        self,
        ini: str | Iterable[str] = (),
        *,
        board: str = "nodemcuv2",
        sources: Mapping[str, str] | None = None,
        data: Mapping[str, bytes] | None = None,
    ) -> Project:
        """Write platformio.ini with `ini`'s lines in its one environment (named as the board), sources and data files.

        Without `sources` the project is a blink. `data` makes the directory data/, which otherwise stays absent.
        """
        self.configure(ini, board=board)
        for name, text in (sources or {"main.cpp": BLINK}).items():
            self.write(f"src/{name}", text)
        for name, content in (data or {}).items():
            self.write(f"data/{name}", content)
        return self

    def configure(self, ini: str | Iterable[str] = (), *, board: str = "nodemcuv2") -> None:
        """Write platformio.ini anew; a line that opens a section of its own goes where it stands."""
        lines = [ini] if isinstance(ini, str) else list(ini)
        head = [f"[env:{board}]", f"platform = symlink://{self.platform}", f"board = {board}", "framework = arduino"]
        self.write("platformio.ini", "\n".join([*head, *lines]) + "\n")

    def adopt(self, source: Path, changes: Mapping[str, str] | None = None) -> Project:
        """Copy the project at `source` here, with the development platform in the place of espressif8266.

        `changes` maps further texts in its platformio.ini to what is to stand there. Raises ValueError for a text that
        is not there.
        """
        shutil.copytree(source, self.path, ignore=PRIVATE)
        ini = (self.path / "platformio.ini").read_text()
        platform = {"platform = espressif8266\n": f"platform = symlink://{self.platform}\n"}
        for old, new in {**platform, **(changes or {})}.items():
            if old not in ini:
                raise ValueError(f"{source / 'platformio.ini'} does not say {old!r}")
            ini = ini.replace(old, new)
        self.write("platformio.ini", ini)
        return self

    def write(self, name: str, content: str | bytes) -> Path:
        """Write the project's file `name`, its directories included, and return its path."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def build(self, name: str = "", board: str = "nodemcuv2") -> Path:
        """Return the path of a build product, or the build directory itself."""
        return self.path / ".pio" / "build" / board / name

    def run(self, *args: str, env: Mapping[str, str] | None = None, check: bool | None = True) -> Run:
        """Run `pio run` with `args`; see `pio`."""
        return self.pio("run", *args, env=env, check=check)

    def pio(self, *args: str, env: Mapping[str, str] | None = None, check: bool | None = True) -> Run:
        """Run `pio` with `args` in the project and return how it ended.

        `check` True: PioError unless it succeeds; False: unless it fails; None: whatever it does is fine. Raises
        subprocess.TimeoutExpired after RUN_SECONDS.
        """
        done = subprocess.run(
            [*self.command(), "--no-ansi", *args],
            cwd=self.path,
            env={**self.environment_of_runs(), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=RUN_SECONDS,
            check=False,
        )
        run = Run(done.returncode, done.stdout, done.stderr)
        if check is not None and check != (run.returncode == 0):
            raise PioError(f"pio {' '.join(args)}: exit code {run.returncode}\n{run.stdout}\n{run.stderr}")
        return run

    def command(self) -> list[str]:
        """Return the command that runs PlatformIO."""
        address = self.core / WARM
        return warm_start.command(address, self.python) if address.exists() else [self.python, "-m", "platformio"]

    def environment_of_runs(self) -> dict[str, str]:
        """Return the caller's variables without PlatformIO's and otaseal's own, and those that keep the run alone."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PLATFORMIO_", "OTASEAL_"))}
        if CCACHE.is_dir():
            inherited["PATH"] = os.pathsep.join([str(CCACHE), inherited.get("PATH", os.defpath)])
            inherited["CCACHE_DIR"] = str(COMPILED)
        return {
            **inherited,
            "PLATFORMIO_CORE_DIR": str(self.core),
            "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
            "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
            "PLATFORMIO_NO_ANSI": "true",
            **self.environment,
        }


@dataclass(frozen=True)
class Upload:
    """What a device was sent over the air: `command` is 0 for firmware, 100 for a filesystem."""

    command: int
    content: bytes


class FakeOtaDevice:
    """A device on the loopback interface that takes over-the-air uploads: `with FakeOtaDevice() as device: ...`.

    `port` is where it listens (`upload_port = 127.0.0.1`, `upload_flags = --port=<port>`), `uploads` what it got, in
    order. With a `password` it asks for one; with a `verdict` other than OK it takes the image and then says so; with
    an empty one it hangs up.
    """

    SECONDS = 60

    def __init__(self, password: str = "", verdict: str = "OK") -> None:
        self.password = password
        self.verdict = verdict
        self.uploads: list[Upload] = []
        self.errors: list[Exception] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.port: int = self._udp.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> FakeOtaDevice:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))  # an empty datagram ends the device
        self._thread.join(self.SECONDS)
        self._udp.close()
        if self.errors:
            raise self.errors[0]

    def _serve(self) -> None:
        while True:
            message, sender = self._udp.recvfrom(256)
            if not message:
                return
            try:
                self._answer(message.decode().split(), sender)
            except Exception as error:  # raised again when the device is switched off
                self.errors.append(error)

    def _answer(self, invitation: list[str], sender: tuple[str, int]) -> None:
        command, port, size = (int(word) for word in invitation[:3])
        if self.password and not self._authenticated(sender):
            self._udp.sendto(b"Authentication Failed", sender)
            return
        self._udp.sendto(b"OK", sender)
        with socket.create_connection((sender[0], port), self.SECONDS) as connection:
            content = bytearray()
            while len(content) < size:
                piece = connection.recv(1460)
                if not piece:
                    break
                content += piece
                connection.sendall(str(len(piece)).encode())
            if hashlib.md5(content).hexdigest() != invitation[3]:
                raise ValueError(f"{len(content)} of {size} bytes arrived, or others than announced")
            self.uploads.append(Upload(command, bytes(content)))
            connection.sendall(self.verdict.encode())

    def _authenticated(self, sender: tuple[str, int]) -> bool:
        nonce = hashlib.md5(str(sender).encode()).hexdigest()
        self._udp.sendto(f"AUTH {nonce}".encode(), sender)
        self._udp.settimeout(self.SECONDS)
        try:
            _, own_nonce, response = self._udp.recv(256).decode().split()
        finally:
            self._udp.settimeout(None)
        secret = hashlib.md5(self.password.encode()).hexdigest()
        return response == hashlib.md5(f"{secret}:{nonce}:{own_nonce}".encode()).hexdigest()


def compiled(output: str) -> set[str]:
    """Return the names of the source files that a run compiled."""
    lines = (line for line in output.splitlines() if line.startswith("Compiling"))
    return {Path(line.split()[-1]).name.removesuffix(".o") for line in lines}
