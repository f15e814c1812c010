"""The emulated ESP8266 CPU: `tests/lx106/` and Debian's BearSSL, cross-compiled and run by QEMU, instructions counted.

Needs the Debian packages in `PACKAGES` and BearSSL's source (`.ci/bearssl-source`), in `build/bearssl` or where
OTASEAL_BEARSSL_SOURCE says. What it makes is kept in `build/`, under a name that changes with everything it is made of.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support import peers

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "tests" / "lx106"
HEADER = ROOT / "tests" / "peers" / "public_key.h"
LIBRARY = ROOT / "firmware" / "OtaSeal" / "src" / "otaseal"
DECODER = [LIBRARY / f"{name}.cpp" for name in ("address_map", "instructions", "patch", "range_decoder")]
PACKAGES = "gcc-xtensa-lx106 picolibc-xtensa-lx106-elf qemu-system-misc"
PREFIX = "xtensa-lx106-elf-"
PICOLIBC = Path("/usr/lib/xtensa-lx106-elf")
QEMU = "qemu-system-xtensa"
SECONDS = 300

# The definitions are those of the core's own build; with -Os the figures are those of F27d and F27e (docs/adr/0007).
OPTIMISATION = "-Os"
DEFINITIONS = "-DBR_LOMUL=1 -DBR_SLOW_MUL15=1 -DBR_USE_UNIX_TIME=0 -DBR_USE_URANDOM=0"
FORM = "-mlongcalls -mtext-section-literals -ffunction-sections -fdata-sections"
OTHER_CPUS = ("x86ni", "sse2", "pwr8", "pclmul")


@dataclass(frozen=True)
class Verification:
    """A signature's verdict, and the instructions for SHA-256 and for RSA; 0 for what was not reached."""

    accepted: bool
    hash: int
    signature: int


@dataclass(frozen=True)
class Connection:
    """One connection: the instructions of handshake and answer, what was negotiated, and the answer's bytes."""

    handshake: int
    resumed: bool
    suite: int
    curve: int
    answer: int
    size: int
    status: int
    verification: Verification | None = None

    @property
    def cost(self) -> int:
        """All instructions, the verification included."""
        verified = self.verification
        return self.handshake + self.answer + (verified.hash + verified.signature if verified else 0)


@dataclass(frozen=True)
class Decoded:
    """What became of a patch: the library's error, instructions, bytes of memory, and the image's size and SHA-256."""

    error: int
    cost: int
    memory: int
    size: int
    sha256: str


class TlsError(Exception):
    """The client gave up; `code` is BearSSL's."""

    def __init__(self, code: int) -> None:
        super().__init__(f"BearSSL error {code}")
        self.code = code


@dataclass(frozen=True)
class Order:
    """What a device is to fetch: under which name, at what time (Unix seconds), trusting and verifying what (DER)."""

    name: str
    seconds: int
    anchor: bytes
    key: bytes
    request: bytes


def bearssl_source() -> Path:
    """Return the folder of BearSSL's source, or skip the test (or fail it, where peers are required)."""
    folder = Path(os.environ.get("OTASEAL_BEARSSL_SOURCE") or ROOT / "build" / "bearssl")
    peers.require("BearSSL's source, by .ci/bearssl-source", (folder / "inc" / "bearssl.h").is_file(), "bearssl")
    return folder


@cache
def program(optimisation: str = OPTIMISATION) -> Path:
    """Return the program for the emulated CPU, built if it has to be."""
    for name in (PREFIX + "gcc", QEMU):
        peers.require(name, shutil.which(name) is not None, PACKAGES)
    peers.require("picolibc", PICOLIBC.is_dir(), PACKAGES)
    source = bearssl_source()
    flags = f"{optimisation} {DEFINITIONS} {FORM}".split()
    digest = hashlib.sha256(" ".join(flags).encode() + (source / "inc" / "bearssl.h").read_bytes())
    for part in (*sorted(SOURCES.glob("*.[cSl]*")), HEADER, *DECODER, *sorted(LIBRARY.glob("*.h"))):
        digest.update(part.read_bytes())
    made = ROOT / "build" / f"lx106-{digest.hexdigest()[:16]}.elf"
    made.parent.mkdir(exist_ok=True)
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(prefix="otaseal-lx106-") as folder:
                _build(source, flags, Path(folder)).replace(made)
    return made


def _build(source: Path, flags: list[str], folder: Path) -> Path:
    library = [one for one in sorted((source / "src").rglob("*.c")) if not any(cpu in one.name for cpu in OTHER_CPUS)]
    gcc = [PREFIX + "gcc", *flags, "-isystem", str(PICOLIBC / "include"), f"-I{source / 'inc'}"]
    workers = os.cpu_count() or 1
    jobs = [[*gcc, f"-I{source / 'src'}", "-c", *map(str, library[part::workers])] for part in range(workers)]
    ours = map(str, (SOURCES / "device.c", SOURCES / "rom.c", SOURCES / "start.S"))
    jobs.append([*gcc, "-Wall", "-Wextra", "-Werror", "-Wa,--text-section-literals", "-c", *ours])
    plus = [f"{PREFIX}g++", *gcc[1:], "-std=gnu++17", "-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics"]
    jobs.append([*plus, "-Wall", "-Wextra", "-Werror", "-c", *map(str, (*DECODER, SOURCES / "decode.cpp"))])
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda job: _run(job, folder), jobs))
    made = folder / "device.elf"
    link = ["-nostdlib", "-static", "-Wl,--gc-sections,--no-warn-rwx-segments", "-T", str(SOURCES / "memory.ld")]
    objects = [one.name for one in sorted(folder.glob("*.o"))]
    _run([PREFIX + "gcc", *link, *objects, f"-L{PICOLIBC / 'lib'}", "-lc", "-lgcc", "-o", str(made)], folder)
    return made


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def emulate(elf: Path, folder: Path, *arguments: str, sockets: Sequence[int] = ()) -> list[list[str]]:
    """Run the program with `folder` as its directory, and return the words of each line that it prints."""
    passed = ",".join(f"arg={one}" for one in ("device", *arguments))
    machine = ["-M", "sim", "-cpu", "lx106", "-display", "none", "-monitor", "none", "-serial", "none"]
    machine += ["-icount", "shift=0,sleep=off", "-semihosting-config", f"enable=on,{passed}", "-kernel", str(elf)]
    done = subprocess.run(
        [QEMU, *machine],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        pass_fds=sockets,
        check=False,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    if lines and lines[-1][:1] == ["error"]:
        raise TlsError(int(lines[-1][1]))
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return lines


def verify(key: bytes, image: bytes, optimisation: str = OPTIMISATION) -> Verification:
    """Verify a signed image (F1) with a public key (DER) on the emulated CPU."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.der").write_bytes(key)
        (folder / "image").write_bytes(image)
        return _verification(emulate(program(optimisation), folder, "verify", "key.der", "image"))


def decode(base: bytes, patch: bytes, optimisation: str = OPTIMISATION) -> Decoded:
    """Decode a patch with the library on the emulated CPU, on a device whose sketch is the base."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").write_bytes(base)
        (folder / "patch").write_bytes(patch)
        md5 = hashlib.md5(base, usedforsecurity=False).hexdigest()
        ((_, *numbers, sha256),) = emulate(program(optimisation), folder, "patch", "base", "patch", md5)
    error, cost, memory, size = map(int, numbers)
    return Decoded(error, cost, memory, size, sha256)


def fetch(port: int, order: Order, connections: int = 1, optimisation: str = OPTIMISATION) -> list[Connection]:
    """Fetch from 127.0.0.1, from the second connection on with the first one's session; raises TlsError.

    The sockets are this process's: QEMU inherits them, and the program reads and writes them by simulator calls.
    """
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        for file, content in (("key.der", order.key), ("anchor.der", order.anchor), ("request", order.request)):
            (folder / file).write_bytes(content)
        opened = [socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(connections)]
        for one in opened:
            stack.enter_context(one).setblocking(True)
        numbers = [one.fileno() for one in opened]
        words = ("fetch", "key.der", order.name, str(order.seconds), "anchor.der", "request", *map(str, numbers))
        lines = emulate(program(optimisation), folder, *words, sockets=numbers)
    starts = [index for index, line in enumerate(lines) if line[0] == "handshake"]
    assert len(starts) == connections, lines
    return [_connection(lines[start:end]) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def _connection(lines: list[list[str]]) -> Connection:
    (_, handshake, kind, suite, curve), (_, answer, size, status), *rest = lines
    verified = _verification(rest) if rest else None
    numbers = (int(suite), int(curve), int(answer), int(size), int(status))
    return Connection(int(handshake), kind == "resumed", *numbers, verified)


def _verification(lines: list[list[str]]) -> Verification:
    costs = {line[0]: int(line[1]) for line in lines[:-1]}
    return Verification(lines[-1] == ["accepted"], costs.get("hash", 0), costs.get("signature", 0))
