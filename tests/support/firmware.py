"""The device's library compiled for the host, and devices that run it: tests/firmware/host says what stands in for what."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import archive, build_header, manifest, public_keys
from otaseal.manifest import Claim
from support import peers
from support.pio import CCACHE

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "firmware" / "OtaSeal" / "src"
HOST = ROOT / "tests" / "firmware" / "host"
CORE = ROOT / "tests" / "devplatform" / "framework"
CORE_SOURCES = [CORE / "cores" / "esp8266" / f"{name}.cpp" for name in ("WString", "Print", "Stream", "IPAddress")]
PROGRAMS = ("device", "matrix")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
DEFINES = ["-D__ets__", "-DESP8266", "-DARDUINO_ARCH_ESP8266", "-DARDUINO=10805", "-DF_CPU=80000000L"]
COMPILE_SECONDS = 240
RUN_SECONDS = 120
PRODUCT, BOARD = "blink", "d1_mini"


def flags(generated: Path) -> list[str]:
    """Return what every source is compiled with; `generated` holds OtaSealBuild.h."""
    ours = [f"-I{path}" for path in (generated, HOST / "include", LIBRARY, HOST)]
    core = [CORE / "cores" / "esp8266", CORE / "variants" / "nodemcu"]
    return [
        "-std=c++17",
        "-fno-rtti",
        *WARNINGS,
        *DEFINES,
        *ours,
        *(part for path in core for part in ("-isystem", path)),
    ]


def sources() -> list[Path]:
    """Return the library's own sources."""
    return sorted(LIBRARY.rglob("*.cpp"))


def compile_programs(folder: Path, key: rsa.RSAPublicKey, *options: str) -> dict[str, Path]:
    """Compile the library and what stands around it, with sanitizers, and return the programs by name."""
    compiler = peers.tool("g++", "g++")
    peers.require("bearssl", Path("/usr/include/bearssl.h").exists(), "libbearssl-dev")
    write_header(folder, key)
    every = [*sources(), *sorted(HOST.glob("*.cpp")), *CORE_SOURCES]
    common = [*flags(folder), "-O1", "-g1", *(options or SANITIZERS)]

    def compile_one(source: Path) -> Path:
        made = folder / f"{source.stem}.o"
        run_compiler([compiler, *common, "-c", source, "-o", made])
        return made

    with ThreadPoolExecutor(2) as pool:
        objects = {made.stem: made for made in pool.map(compile_one, every)}
    shared = [made for name, made in objects.items() if name not in PROGRAMS]
    for name in PROGRAMS:
        run_compiler([compiler, *(options or SANITIZERS), "-o", folder / name, objects[name], *shared, "-lbearssl"])
    return {name: folder / name for name in PROGRAMS}


def write_header(folder: Path, key: rsa.RSAPublicKey) -> None:
    """Write the header that a build generates."""
    (folder / build_header.NAME).write_text(build_header.render(Claim(PRODUCT, BOARD, "1.0", build_time=1), key))


def run_compiler(command: Sequence[str | Path]) -> None:
    environment = dict(os.environ)
    if CCACHE.is_dir():
        environment["PATH"] = os.pathsep.join([str(CCACHE), environment.get("PATH", os.defpath)])
        command = [Path(command[0]).name, *command[1:]]
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=COMPILE_SECONDS,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def run_program(program: Path, *arguments: str | Path) -> str:
    """Run it and return what it printed; anything that a sanitizer finds fails the test."""
    command = [str(one) for one in (program, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    assert done.returncode == 0, f"{done.returncode} {done.stdout[-2000:]} {done.stderr[-4000:]}"
    assert not done.stderr, done.stderr[-4000:]
    return done.stdout


def identity(claim: Claim) -> bytes:
    """Return the identity record of a firmware."""
    return manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)


def bundle(images: Sequence[bytes]) -> bytes:
    """Return images as `matrix` reads them."""
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def pack(*certificates: bytes) -> bytes:
    """Return a certs.ar of these (DER)."""
    return archive.serialise([archive.Member(f"{index}.der", der) for index, der in enumerate(certificates)])


@dataclass(frozen=True)
class Outcome:
    """What a device did between two restarts: `results` as (name, error, detail), `staged` what would be booted."""

    ready: bool
    begin_error: int
    results: list[tuple[str, int, int]]
    seen: dict[str, str]
    staged: bytes | None

    @property
    def errors(self) -> list[int]:
        return [error for _, error, _ in self.results]


@dataclass
class Device:
    """A device with a filesystem of its own, which stays when it restarts."""

    program: Path
    folder: Path
    settings: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "fs").mkdir(parents=True)

    def put(self, name: str, content: bytes) -> None:
        (self.folder / "fs" / name).write_bytes(content)

    def get(self, name: str) -> bytes:
        return (self.folder / "fs" / name).read_bytes()

    def has(self, name: str) -> bool:
        return (self.folder / "fs" / name).exists()

    def belongs(self, claim: Claim, key: rsa.RSAPublicKey, next_key: rsa.RSAPublicKey | None = None) -> None:
        """Make it run firmware of this claim, which takes updates by these keys."""
        for name, content in (
            ("identity", identity(claim)),
            ("key", public_keys.public_pem(key)),
            ("next", public_keys.public_pem(next_key) if next_key else None),
        ):
            if content is not None:
                (self.folder / name).write_bytes(content)
                self.settings[name] = self.folder / name

    def run(self, **settings: object) -> Outcome:
        """Start it, let it poll (`polls` times, once by default), and stop it."""
        staged = self.folder / "staged.bin"
        staged.unlink(missing_ok=True)
        values = [f"{name}={value}" for name, value in {**self.settings, **settings}.items()]
        results, seen = [], {}
        for line in run_program(self.program, self.folder, *values).splitlines():
            word, _, rest = line.partition(" ")
            if word == "result":
                name, error, detail = rest.split()
                results.append((name, int(error), int(detail)))
            else:
                seen[word] = rest
        ready, error = seen["begin"].split()
        return Outcome(ready == "1", int(error), results, seen, staged.read_bytes() if staged.exists() else None)


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
