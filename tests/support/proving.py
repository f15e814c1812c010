"""A device that proves its name, in Python, by what the device library is to say; it shares no code with the server.

It keeps a secret, as the library does in a file, makes its key and its MACs by hand, and does what answers say. Nothing
of pytest, so that the fleet and the bench use it, too.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

CAPABILITIES = "1 proof enroll"
FAMILIES = ("esp8266", "pico", "esp32")
AUTHENTICATED = ("counter", "error", "certs", "board", "capabilities")


def hmac_sha256(key: bytes, text: bytes) -> bytes:
    """RFC 2104, by hand."""
    block = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + text).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


@dataclass
class ProvingDevice:
    """A device with the station's address `mac`, whose flash has `secret`; `clock` are seconds, and go on with it.

    `shows` is set while the server has to be told the key.
    """

    mac: str
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    clock: int = 1_800_000_000
    shows: bool = False

    @property
    def name(self) -> str:
        return self.mac.replace(":", "").lower()

    @property
    def key(self) -> bytes:
        """What the server has to know."""
        return hmac_sha256(self.secret, self.name.encode())

    def lose_secret(self) -> None:
        """Have another one, as after `uploadfs`."""
        self.secret = secrets.token_bytes(32)

    def prove(self, request: bytes) -> bytes:
        """Return a request, as bytes of its head, with the headers of the library after those that it has."""
        self.clock += 1
        lines = request.removesuffix(b"\r\n\r\n").decode().split("\r\n")
        lines.append(f"X-Otaseal-Capabilities: {CAPABILITIES}")
        said = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        mac = hmac_sha256(self.key, self.text(lines[0].split(" ")[1], said)).hex()[:32]
        shown = f" {self.key.hex()}" if self.shows else ""
        lines.append(f"X-Otaseal-Proof: {self.name} {self.clock} {mac}{shown}")
        return "\r\n".join([*lines, "", ""]).encode()

    def text(self, path: str, said: Mapping[str, str]) -> bytes:
        """Return what the MAC is over, of headers by their names in lower case."""
        version, md5 = (
            next((said[name] for name in (f"x-{family}-{what}" for family in FAMILIES) if name in said), "")
            for what in ("version", "sketch-md5")
        )
        library = [said.get(f"x-otaseal-{name}", "") for name in AUTHENTICATED]
        values = ["otaseal-proof-1", path, self.name, version, md5, *library, str(self.clock)]
        return "".join(f"{value}\n" for value in values).encode()

    def heed(self, headers: Mapping[str, str]) -> str:
        """Do what an answer says, by its headers, names in lower case; return what that is, "" where all is well."""
        said = headers.get("x-otaseal-proof", "")
        self.shows = said in ("unknown", "wrong")
        if said.startswith("after "):
            self.clock = max(self.clock, int(said.removeprefix("after ")))
        return said


def plausible(mac: int) -> str:
    """Return an address of Espressif's by its last three bytes."""
    return ":".join(f"{byte:02X}" for byte in (0x5C, 0xCF, 0x7F, *struct.pack(">I", mac)[1:]))
