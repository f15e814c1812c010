"""The device's library compiled for the host, and devices that run it; tests/firmware/host has the chip around it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import ar
from otaseal.image import build_header, manifest, signed_image
from otaseal.image.manifest import Claim
from otaseal.keys import public
from support import peers
from support.answering import Answers
from support.images import Signer, build_image
from support.pio import CCACHE, COMPILED
from support.servers import World

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "firmware" / "OtaSeal" / "src"
HOST = ROOT / "tests" / "firmware" / "host"
CORE = ROOT / "tests" / "devplatform" / "framework"
LIBRARIES = [
    CORE / "libraries" / name / "src" for name in ("ESP8266WiFi", "ESP8266HTTPClient", "ESP8266httpUpdate", "LittleFS")
]
CORE_SOURCES = [
    *(CORE / "cores" / "esp8266" / f"{name}.cpp" for name in ("WString", "Print", "Stream", "IPAddress")),
    LIBRARIES[0] / "WiFiClient.cpp",
]
PROGRAMS = ("device", "matrix")
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
DEFINES = ["-D__ets__", "-DESP8266", "-DARDUINO=10805", "-DF_CPU=80000000L"]
PICO = HOST / "pico"
ESP32 = HOST / "esp32"
ARCHITECTURES = {"esp8266": "ESP8266", "pico": "RP2040", "esp32": "ESP32"}
OWN_INCLUDES = {"esp8266": [], "pico": [PICO], "esp32": [ESP32]}
TLS = {"esp8266": ["-lbearssl"], "pico": ["-lbearssl"], "esp32": ["-lmbedtls", "-lmbedx509", "-lmbedcrypto"]}
ELSEWHERE = {
    "esp8266": (),
    "pico": ("updater",),
    "esp32": ("updater", "updater_base", "esp8266", "stage", "tls", "http"),
}
"""What of the common files a chip has its own of."""
COMPILE_SECONDS = 300
RUN_SECONDS = 300
PRODUCT, BOARD = "blink", "d1_mini"
COUNTER = 5
OWN = Claim(PRODUCT, BOARD, "1.0", COUNTER)
StartAnswers = Callable[..., Answers]
"""Takes the firmware's response (or the whole of `paths`), and a TLS context other than the world's own."""


def flags(generated: Path, chip: str = "esp8266") -> list[str]:
    """Return what every source is compiled with; `generated` holds OtaSealBuild.h."""
    ours = [f"-I{path}" for path in (generated, *OWN_INCLUDES[chip], HOST / "include", LIBRARY, HOST)]
    core = [CORE / "cores" / "esp8266", CORE / "variants" / "nodemcu", *LIBRARIES]
    return [
        "-std=c++17",
        "-fno-rtti",
        *WARNINGS,
        *DEFINES,
        f"-DARDUINO_ARCH_{ARCHITECTURES[chip]}",
        *ours,
        *(part for path in core for part in ("-isystem", path)),
    ]


def standard(source: Path, chip: str) -> list[str]:
    """Return the flag for the oldest C++ that a core has for the library: arduino-esp32 2.0.17 C++11 (F84)."""
    return ["-std=gnu++11"] if chip == "esp32" and source.is_relative_to(LIBRARY) else []


def sources() -> list[Path]:
    """Return the library's own sources."""
    return sorted(LIBRARY.rglob("*.cpp"))


def host_sources(chip: str) -> list[Path]:
    """Return what stands around the library on the host."""
    common = [path for path in sorted(HOST.glob("*.cpp")) if path.stem not in ELSEWHERE[chip]]
    return [*common, *(path for folder in OWN_INCLUDES[chip] for path in sorted(folder.glob("*.cpp")))]


def shared_programs(parent: Path, key: rsa.RSAPublicKey, chip: str = "esp8266") -> dict[str, Path]:
    """Return `compile_programs` of a folder below `parent`; processes that ask for it at once compile it once."""
    folder = parent / f"library-{chip}"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        programs = {name: folder / name for name in PROGRAMS}
        return programs if all(path.exists() for path in programs.values()) else compile_programs(folder, key, chip)


def compile_programs(folder: Path, key: rsa.RSAPublicKey, chip: str = "esp8266", *options: str) -> dict[str, Path]:
    """Compile the library and what stands around it, with sanitizers, and return the programs by name."""
    compiler = peers.tool("g++", "g++")
    peers.require("bearssl", Path("/usr/include/bearssl.h").exists(), "libbearssl-dev")
    peers.require("mbedtls", Path("/usr/include/mbedtls/ssl.h").exists(), "libmbedtls-dev")
    write_header(folder, key)
    every = [*sources(), *host_sources(chip), *CORE_SOURCES]
    common = [*flags(folder, chip), "-O1", "-g1", *(options or SANITIZERS)]

    def compile_one(source: Path) -> Path:
        made = folder / f"{source.stem}.o"
        run_compiler([compiler, *common, *standard(source, chip), "-c", source, "-o", made])
        return made

    with ThreadPoolExecutor(2) as pool:
        objects = {made.stem: made for made in pool.map(compile_one, every)}
    shared = [made for name, made in objects.items() if name not in PROGRAMS]
    for name in PROGRAMS:
        run_compiler([compiler, *(options or SANITIZERS), "-o", folder / name, objects[name], *shared, *TLS[chip]])
    return {name: folder / name for name in PROGRAMS}


def write_header(folder: Path, key: rsa.RSAPublicKey) -> None:
    """Write the header that a build generates."""
    (folder / build_header.NAME).write_text(build_header.render(Claim(PRODUCT, BOARD, "1.0", build_time=1), key))


def run_compiler(command: Sequence[str | Path]) -> None:
    environment = dict(os.environ)
    if CCACHE.is_dir():
        environment["PATH"] = os.pathsep.join([str(CCACHE), environment.get("PATH", os.defpath)])
        environment["CCACHE_DIR"] = str(COMPILED)
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


def run_program(program: Path, *arguments: str | Path, line: int | None = None) -> str:
    """Run it, `line` open, and return what it printed; anything that a sanitizer finds fails the test."""
    command = [str(one) for one in (program, *arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        pass_fds=() if line is None else (line,),
    )
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
    return ar.serialise([ar.Member(f"{index}.der", der) for index, der in enumerate(certificates)])


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

    def runs(self, image: bytes) -> None:
        """Put what runs, without manifest and signature, where the chip and patches find it, and let it be named."""
        path = self.folder / "sketch"
        path.write_bytes(image)
        md5 = hashlib.md5(image, usedforsecurity=False).hexdigest()
        self.settings |= {"sketch": path, "sketch_md5": md5, "sketch_size": len(image)}

    def belongs(self, claim: Claim, key: rsa.RSAPublicKey, next_key: rsa.RSAPublicKey | None = None) -> None:
        """Make it run firmware of this claim, which takes updates by these keys."""
        for name, content in (
            ("identity", identity(claim)),
            ("key", public.public_pem(key)),
            ("next", public.public_pem(next_key) if next_key else None),
        ):
            if content is not None:
                (self.folder / name).write_bytes(content)
                self.settings[name] = self.folder / name

    def run(self, line: int | None = None, **settings: object) -> Outcome:
        """Start it, let it enrol at the serial `line`, and poll (`polls` times, once by default), and stop it."""
        staged = self.folder / "staged.bin"
        staged.unlink(missing_ok=True)
        values = [f"{name}={value}" for name, value in {**self.settings, "line": line or 0, **settings}.items()]
        results, seen = [], {}
        for printed in run_program(self.program, self.folder, *values, line=line).splitlines():
            word, _, rest = printed.partition(" ")
            if word == "result":
                name, error, detail = rest.split()
                results.append((name, int(error), int(detail)))
            else:
                seen[word] = rest
        ready, error = seen.get("begin", "0 0").split()  # none where it crashed before
        return Outcome(ready == "1", int(error), results, seen, staged.read_bytes() if staged.exists() else None)


@dataclass(frozen=True)
class Signing:
    """Makes what devices are offered; by default all of it is right for the devices here."""

    key: rsa.RSAPrivateKey

    def payload(self, raw: bytes | None = None, **claim: object) -> bytes:
        values = {
            "product": PRODUCT,
            "board": BOARD,
            "version": "1.1",
            "counter": COUNTER,
            "build_time": int(time.time()),
        }
        made = manifest.make(Claim(**{**values, **claim}))  # type: ignore[arg-type]
        return manifest.attach(raw or build_image(code_size=4000), made)

    def sign(self, payload: bytes) -> bytes:
        return signed_image.sign(payload, Signer(self.key))

    def sign_anything(self, payload: bytes) -> bytes:
        """Return the payload with a good signature, whatever it is."""
        return signed_image.serialise(signed_image.SignedImage(payload, Signer(self.key).sign(payload)))


def server_context(world: World) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.chain, world.chain.with_name("key.pem"))
    return context
