"""A real update server in a process of its own, and the clients that ask it: a chip's bytes, plain ones, operators."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.client.client import Client
from otaseal.client.deployment import Deployment, Options
from otaseal.image import firmware as images
from otaseal.image import signed_image
from otaseal.keys import public
from otaseal.pki.profile import Role
from otaseal.pki.scope import Scope
from otaseal.pki.store import SLOTS, Slot, Store
from otaseal.release.records import Origin
from otaseal.store.backend import open_backend
from otaseal.store.tokens import TokenFile
from support.images import Signer, build_image
from support.serving import ENVIRONMENT, SECONDS, Process, serve

PRODUCT = "blink"
MAC = "5C:CF:7F:F0:04:CB"


@dataclass(frozen=True)
class World:
    """All that a server needs and its clients know: authorities, a signing key, signed firmware."""

    folder: Path
    pki: Store
    key: rsa.RSAPrivateKey

    @classmethod
    def create(cls, folder: Path, key: rsa.RSAPrivateKey) -> World:
        now = datetime.now(timezone.utc)
        pki = Store.create(folder / "pki", PRODUCT, now)
        pki.issue_server("update", ["localhost", "127.0.0.1"], now=now)
        (folder / "signing.pub").write_bytes(public.public_pem(key.public_key()))
        return cls(folder, pki, key)

    @property
    def ca(self) -> Path:
        return self.pki.directory / Slot.SERVER.value / "certificate.pem"

    @property
    def chain(self) -> Path:
        return self.pki.directory / "issued" / "server" / "update" / "chain.pem"

    def context(self, client: Path | None = None) -> ssl.SSLContext:
        """Return a client's TLS; `client` is the folder of its certificate."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if client is not None:
            context.load_cert_chain(client / "chain.pem", client / "key.pem")
        return context

    def client(self, role: Role, name: str, scopes: Sequence[Scope] = ()) -> Path:
        """Return the folder of a new client certificate and its key, of which the PKI's index knows nothing.

        Tests share the PKI, so that a name that the index has is taken: here any number may have one `name`.
        """
        now, authority = datetime.now(timezone.utc), self.pki.authority(SLOTS[role])
        if role is Role.DEVICE:
            issued = authority.issue_device(name, now=now)
        else:
            issued = authority.issue_operator(name, now=now, scopes=scopes)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "chain.pem").write_bytes(issued.chain_pem)
        files.write_new(folder / "key.pem", issued.private_key_pem, files.PRIVATE_MODE)
        return folder

    def firmware(self, seed: int, *, size: int = 20_000, **options: object) -> Firmware:
        raw = build_image(seed=seed, code_size=size, **options)  # type: ignore[arg-type]
        return Firmware(raw, signed_image.sign(raw, Signer(self.key)))


@dataclass(frozen=True)
class Firmware:
    """What the build made, and what devices download."""

    raw: bytes
    signed: bytes

    @property
    def md5(self) -> str:
        """The sketch MD5 that a device reports, whose chip runs in the image's own flash mode."""
        from otaseal.chips import esp8266

        parsed = esp8266.parse(self.raw)
        assert parsed.flash_mode is not None
        return parsed.sketch_md5(parsed.flash_mode)

    @property
    def sketch(self) -> bytes:
        """What the chip has in flash, and that MD5 covers."""
        from otaseal.chips import esp8266

        return self.raw[: esp8266.parse(self.raw).sketch_size]


@dataclass
class Running:
    """A server that answers; `port` is the devices', `operators` the other one."""

    world: World
    store: Path
    process: Process
    port: int
    operators: int
    log: Path
    token: str = field(repr=False, default="")

    @property
    def url(self) -> str:
        return f"https://localhost:{self.operators}"

    def logs(self, *parts: str) -> None:
        """Wait until a line of the log has all these parts: it is written a moment after what it tells of."""
        until(lambda: any(all(part in line for part in parts) for line in self.lines()), f"{parts} is not in the log")

    def stop(self) -> int:
        """End it as a service manager does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def end(self) -> None:
        """End it if it still runs; fails unless it ends well, and nothing in it has crashed."""
        if self.process.poll() is None:
            assert self.stop() == 0
        assert "Traceback" not in self.log.read_text()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def memory(self) -> int:
        """Return the KiB of memory that it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def lines(self) -> list[str]:
        """Return what the log says, without the time in front of plain lines."""
        return [line if line.startswith("{") else line.partition(" ")[2] for line in self.log.read_text().splitlines()]


def start(
    world: World,
    store: Path,
    *options: str | Path,
    chain: Path | None = None,
    environment: Mapping[str, str] | None = None,
    errors: int | None = None,
    token: str = "",
    prefix: Sequence[str] = (),
    location: str = "",
) -> Running:
    """Start a server for the store, or that at a `location`, on free ports, and return when it says that it is ready.

    `errors` is the descriptor that it logs to, instead of a file, `prefix` the command that runs it. Given a `token`,
    nothing is written into the store.
    """
    log = store.with_name(store.name + ".log")
    files = ("--cert", chain or world.chain, "--key", world.chain.with_name("key.pem"))
    product = ("--product", f"{PRODUCT}={world.folder / 'signing.pub'}")
    process, ready = serve(
        *("--store", location or store, *files, *product, *options),
        log=log,
        environment={**ENVIRONMENT, **(environment or {})},
        errors=errors,
        prefix=prefix,
    )
    now = datetime.now(timezone.utc)
    secret = token or _issue(location or str(store), now)
    return Running(world, store, process, int(ready[1]), int(ready[2]), log, secret)


def _issue(location: str, now: datetime) -> str:
    with open_backend(location) as backend:
        return TokenFile(backend.store.documents).issue("tests", "*", "*", 1, now)[1]


StartServer = Callable[..., Running]
"""Takes options of `otaseal serve`, and the name of a store; the fixture ends what it starts."""


@dataclass(frozen=True)
class Reply:
    """A response, with header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def talk(
    context: ssl.SSLContext,
    port: int,
    request: bytes,
    source: str = "127.0.0.1",
    server: str = "127.0.0.1",
    seconds: float = SECONDS,
) -> Reply:
    """Send these very bytes over TLS, read to the end of the connection, and return the one response."""
    with (
        socket.create_connection((server, port), seconds, (source, 0)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        connection.sendall(request)
        received = bytearray()
        while piece := connection.recv(65536):
            received += piece
    return parse_reply(bytes(received))


def parse_reply(data: bytes) -> Reply:
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator, data[:200]
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Reply(int(status.split(" ")[1]), headers, body)


def get(path: str, *lines: str, method: str = "GET", version: str = "1.0") -> bytes:
    """Return a plain request."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "", ""]).encode("latin-1")


def as_device(path: str, firmware: Firmware, mac: str = MAC, port: int = 8443, version: str | None = None) -> bytes:
    """Return what ESP8266httpUpdate of core 3.1.2 sends on a device that runs `firmware` (F28)."""
    from otaseal.chips import esp8266

    own = ["x-ESP8266-version: " + version] if version else []
    lines = [
        f"GET {path} HTTP/1.0",
        f"Host: localhost:{port}",
        "User-Agent: ESP8266-http-Update",
        "Connection: close",
        "x-ESP8266-Chip-ID: 15729867",
        f"x-ESP8266-STA-MAC: {mac}",
        "x-ESP8266-AP-MAC: 5E:CF:7F:F0:04:CB",
        "x-ESP8266-free-space: 2818048",
        f"x-ESP8266-sketch-size: {esp8266.parse(firmware.raw).sketch_size}",
        f"x-ESP8266-sketch-md5: {firmware.md5}",
        "x-ESP8266-chip-size: 4194304",
        "x-ESP8266-sdk-version: 2.2.2-dev(38a443e)",
        "x-ESP8266-mode: sketch",
        *own,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def operator(server: Running, token: str | None = None) -> Client:
    return Client(server.url, token or server.token, server.world.ca)


def publish(server: Running, version: str, *signed: bytes, rehearsal: str = "", **options: object) -> Deployment:
    """Deploy a release as an operator does, with all that is checked on the way."""
    created = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    origin, wanted = Origin(PRODUCT, version, created), Options(**options)  # type: ignore[arg-type]
    return deploy(operator(server), signed, origin, wanted, rehearsal)


def publish_two(server: Running) -> Running:
    """Publish 1.0 and then 1.1 into the stable channel, and return the server."""
    for seed, version in ((1, "1.0"), (2, "1.1")):
        publish(server, version, server.world.firmware(seed).signed)
    return server


def deploy(
    client: Client, signed: Sequence[bytes], origin: Origin, options: Options, rehearsal: str = ""
) -> Deployment:
    """Publish `signed` with `client`, and say what became of a rehearsal that there was not."""
    return client.publish(client.check([images.Firmware(one) for one in signed], origin, options), rehearsal)


def devices_seen(server: Running) -> list[dict[str, Any]]:
    """Return all devices that the server lists, from every page."""
    client, path = operator(server), f"/v1/products/{PRODUCT}/devices"
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = client.get(f"{path}?after={quote(after)}")
        found += page["devices"]
        after = page["next"]
    return found


def metrics(server: Running) -> str:
    """Return what Prometheus is told."""
    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.token}"})
    with urllib.request.urlopen(request, context=server.world.context(), timeout=SECONDS) as response:
        return str(response.read().decode())


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what another process is about to do, and fail when it does not."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def answered_soon(ask: Callable[[], object], times: int, *, within: float = 1.0, rounds: int = 10) -> float:
    """Ask `times` times, and again all of it where an answer took `within` seconds; return the slowest of a good round.

    A machine that stands still for a moment slows one round down, a server that waits for somebody slows all of them.
    """
    slowest = []
    for _ in range(rounds):
        took = []
        for _ in range(times):
            begun = time.monotonic()
            ask()
            took.append(time.monotonic() - begun)
        slowest.append(max(took))
        if slowest[-1] < within:
            return slowest[-1]
    raise AssertionError(f"not answered within {within} s: the slowest of each round took {slowest}")


def run(command: Sequence[str | Path], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a peer and return how it ended."""
    return subprocess.run([str(one) for one in command], input=stdin, capture_output=True, timeout=SECONDS, check=False)
