"""A project with all that a build leaves behind, made in a moment and without PlatformIO."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal import files, settings
from otaseal.certs import packing
from otaseal.image.signing_header import embedded_key
from otaseal.keys import signers
from otaseal.project import shipped
from otaseal.simulator.flash import Layout
from support.by_bytes import sign_firmware
from support.hooks import ALL_HOOKS, opt_in
from support.images import Signer, build_image
from support.servers import Running

ENVIRONMENT = "nodemcuv2"


class BuiltProject:
    """A project as a build leaves it, with synthetic images and a signing key outside; `server` is where it deploys."""

    def __init__(self, folder: Path, key: rsa.RSAPrivateKey, server: Running) -> None:
        self.folder, self.key = folder, key
        self.outside = folder.parent / f"{folder.name}-keys"
        self.signing_key = self.outside / "signing.key"
        self.lines = {
            "board_build.filesystem": "littlefs",
            "custom_otaseal_signing_key": f"file:{self.signing_key}",
            "custom_otaseal_server": server.url,
            "custom_otaseal_server_ca": str(server.world.ca),
            "custom_otaseal_product": "blink",
            "custom_otaseal_token_file": str(self.outside / "token"),
        }
        self.outside.mkdir()
        signers.write_key_pair(self.signing_key, key, b"correct horse")
        files.write_atomic(self.outside / "token", f"{server.token}\n".encode(), files.PRIVATE_MODE)
        self.configure()
        self.write("certs/ca.pem", server.world.ca.read_bytes())
        self.build(key)
        self.pack()

    @property
    def raw(self) -> bytes:
        """The unsigned image."""
        return (self.folder / ".pio/build" / ENVIRONMENT / "firmware.bin").read_bytes()

    def configure(self, **changes: str | None) -> None:
        lines = {**self.lines, **{name.replace("__", "."): value for name, value in changes.items()}}
        given = [f"{name} = {value}" for name, value in lines.items() if value is not None]
        head = [f"[env:{ENVIRONMENT}]", "platform = espressif8266", f"board = {ENVIRONMENT}", "framework = arduino"]
        self.write("platformio.ini", "\n".join([*head, *opt_in(*ALL_HOOKS), *given, ""]).encode())

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def build(self, key: rsa.RSAPrivateKey, seed: int = 1, **options: Any) -> bytes:
        """Leave what a build leaves, and return the signed image."""
        embedded = embedded_key(self.key.public_key())
        raw = build_image(**{"seed": seed, "code_size": 20_000, "embedded": embedded, **options})
        self.write(f".pio/build/{ENVIRONMENT}/firmware.bin", raw)
        signed = sign_firmware(raw, Signer(key), embeds_key=key is self.key)
        self.write(f".pio/build/{ENVIRONMENT}/firmware.bin.signed", signed)
        return signed

    def build_filesystem(self, layout: Layout, *, version: int = 0x0002_0000) -> bytes:
        """Leave the image of the data folder, as `buildfs` does, and return it."""
        filesystem = LittleFS(
            block_size=layout.block, block_count=layout.fs_size // layout.block, name_max=32, disk_version=version
        )
        with filesystem.open("/certs.ar", "wb") as file:
            file.write((self.folder / "data/certs.ar").read_bytes())
        content = bytes(filesystem.context.buffer)
        self.write(f".pio/build/{ENVIRONMENT}/littlefs.bin", content)
        return content

    def pack(self) -> None:
        """Pack the certificates, and note that they were shipped."""
        data = self.folder / "data"
        packed = packing.pack_project(settings.Settings(), data, self.folder, datetime.now(timezone.utc))
        self.write("data/certs.ar", packed.archive)
        shipped.remember(self.folder / ".pio/otaseal/shipped.json", ENVIRONMENT, packed.archive)
