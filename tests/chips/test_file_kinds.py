"""A file that is not firmware of the ESP8266 is called by what it is, by every command in the same words."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import littlefs
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from otaseal.chips import esp8266, file_kinds
from otaseal.chips.esp32 import CHIPS
from otaseal.errors import InputError
from otaseal.image import inspection, manifest
from otaseal.keys import signers
from support import other_images as other
from support import peers
from support.by_bytes import sign_firmware, verify_firmware
from support.command import Command, otaseal
from support.images import APP, CORES, OTHER_CORES, Signer, build_image

__all__ = ["otaseal"]  # a fixture

RAW = build_image(code_size=20_000)


def lfs() -> bytes:
    filesystem = littlefs.LittleFS(block_size=8192, block_count=16, disk_version=0x00020000, name_max=32)
    with filesystem.open("certs.ar", "wb") as file:
        file.write(b"!<arch>\n")
    return bytes(filesystem.context.buffer)


def boot_loader() -> bytes:
    return RAW[: esp8266.parse(RAW).boot.size]


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("firmware.bin", RAW)
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("firmware.bin"))
    return made.getvalue()


OTHERS = {
    "an empty file": b"",
    "an ELF file": b"\x7fELF\x01\x01\x01" + bytes(600),
    "an ESP32 application without a description": other.esp32_image(described=False),
    "an ESP32 boot loader": other.esp32_image(application=False),
    "an ESP32-S3 boot loader": other.esp32_image(9, application=False, at=(0x3FCD5990, 0x403CA700)),
    "an ESP32-C3 boot loader": other.esp32_image(5, application=False, at=(0x3FCD5990, 0x403CC710)),
    "an ESP32-C6 boot loader": other.esp32_image(13, application=False, at=(0x4086E610, 0x4086C410)),
    "an ESP32 partition table": other.partition_table(),
    "an ESP32 factory image: boot loader, partition table and application in one": other.esp32_factory_image(),
    "a UF2 file (RP2040)": other.uf2(0xE48BFF56),
    "a UF2 file": other.uf2(),
    "a LittleFS filesystem": lfs(),
    "a SPIFFS filesystem": other.spiffs(),
    "an ESP8266 image without the Arduino core": other.sdk_image(),
    "an ESP8266 boot loader": boot_loader(),
    "a ZIP archive": zipped(),
    "a tar archive": tarred(),
    "an xz archive": b"\xfd7zXZ\0" + bytes(90),
    "an ar archive": b"!<arch>\n",
    "PEM text (certificate)": b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "an HTML page": b"\n<!DOCTYPE html><html>Not Found</html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    "an Intel HEX file": b":10010000214601360121470136007EFE09D2190140\n",
    "text": b"404: not found\n",
    "nothing but bytes of 0xff": b"\xff" * 5000,
}


@pytest.mark.parametrize("title", OTHERS)
def test_inspect_and_sign_call_it_by_its_name(
    title: str, tmp_path: Path, otaseal: Command, rsa_key: rsa.RSAPrivateKey
) -> None:
    signers.write_key_pair(tmp_path / "signing.key", rsa_key, None)
    Path("firmware.bin").write_bytes(OTHERS[title])
    said = otaseal("inspect", "firmware.bin").failed(1, f"this is {title}")
    assert title in said.out.splitlines()[0]
    assert "BRICKED" not in said.out
    assert otaseal("inspect", "firmware.bin", "--json").failed(1, "").json["title"].startswith(title)
    refused = otaseal("sign", "firmware.bin", "--key", "signing.key").failed(1, f"this is {title}")
    assert said.err.splitlines()[0].partition("': ")[2] == refused.err.splitlines()[0].partition("error: ")[2]
    assert said.err.splitlines()[1] == refused.err.splitlines()[1]
    assert not Path("firmware.bin.signed").exists()


@pytest.mark.parametrize("title", OTHERS)
def test_it_is_called_so_in_a_gzip_too(title: str, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(InputError) as caught:
        sign_firmware(gzip.compress(OTHERS[title]), Signer(rsa_key), embeds_key=False)
    assert caught.value.message.startswith(f"the gzip holds {title}")
    found = inspection.inspect(gzip.compress(OTHERS[title]), {})
    assert (found.kind, found.problem) == ("gzip", caught.value.message)
    assert found.title.startswith(f"gzip of {title}")
    assert not found.outcomes


def test_a_private_key_is_named_and_not_shown(rsa_key: rsa.RSAPrivateKey) -> None:
    pem = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found = inspection.inspect(pem, {})
    assert found.title == "PEM text (private key)"
    assert pem[40:60].decode() not in str(found.as_dict())


@pytest.mark.parametrize("core", [*CORES, *OTHER_CORES])
def test_firmware_is_none_of_them(core: str) -> None:
    raw = build_image(core=core)
    assert file_kinds.recognize(raw) is None
    found = inspection.inspect(raw, {})
    assert (found.kind, found.problem) == ("raw", None)
    text = "\n".join(found.lines())
    assert ("CRC none" in text, "WRONG" in text) == (core < "2.7", False)


def test_an_image_that_is_cut_short_is_no_success(tmp_path: Path, otaseal: Command) -> None:
    for size in (100, APP, APP + 20, 9000, len(RAW) - 1):
        (tmp_path / "firmware.bin").write_bytes(RAW[:size])
        done = otaseal("inspect", str(tmp_path / "firmware.bin")).failed(1, "is cut short")
        assert "raw, damaged" in done.out


def merged(*, padded: int = 0x10000) -> bytes:
    return RAW.ljust(padded, b"\xff") + lfs()


SURPLUS = {
    "a merged image: firmware, and a LittleFS filesystem at 0x10000": merged(),
    "a merged image: firmware, and a SPIFFS filesystem at 0x8000": RAW.ljust(0x8000, b"\xff") + other.spiffs(),
    "firmware that was filled up": RAW.ljust(0x100000, b"\xff"),
    "firmware with 7 bytes too many": RAW + b"appende",
}


@pytest.mark.parametrize("title", SURPLUS)
def test_what_follows_the_application_is_named_and_refused(title: str, rsa_key: rsa.RSAPrivateKey) -> None:
    data = SURPLUS[title]
    found = inspection.inspect(data, {})
    assert (found.problem or "").startswith(f"this is {title}")
    if len(data) % 4 == 0:
        with pytest.raises(InputError) as caught:
            sign_firmware(data, Signer(rsa_key), embeds_key=False)
        assert (caught.value.message, caught.value.hint) == (found.problem, found.hint)
        signature = Signer(rsa_key).sign(data)
        signed = data + signature + len(signature).to_bytes(4, "little")
        with pytest.raises(InputError, match="this is"):
            verify_firmware(signed, rsa_key.public_key())
    assert (inspection.inspect(gzip.compress(data), {}).problem or "").startswith(f"the gzip holds {title}")
    with pytest.raises(InputError, match="this is"):
        sign_firmware(gzip.compress(data), Signer(rsa_key), embeds_key=False)


def test_a_manifest_behind_the_application_belongs_to_it(rsa_key: rsa.RSAPrivateKey) -> None:
    claim = manifest.Claim("blink", "nodemcuv2", "1.0")
    signed = sign_firmware(RAW, Signer(rsa_key), embeds_key=False, claim=claim)
    assert inspection.inspect(signed, {}).problem is None
    with_manifest = manifest.attach(merged(), manifest.make(claim))
    assert "merged image" in (inspection.inspect(with_manifest, {}).problem or "")


def esptool(*arguments: str | Path) -> str:
    command = [peers.tool("esptool", "esptool of PyPI"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_esptool_merges_is_a_merged_image(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    for name, content in (("firmware.bin", RAW), ("littlefs.bin", lfs()), ("spiffs.bin", other.spiffs())):
        (tmp_path / name).write_bytes(content)
    made = tmp_path / "merged.bin"
    for name, title in (("littlefs.bin", "a LittleFS"), ("spiffs.bin", "a SPIFFS")):
        parts = ("0x0", tmp_path / "firmware.bin", "0x200000", tmp_path / name)
        esptool("--chip", "esp8266", "merge-bin", "--output", made, *parts)
        found = inspection.inspect(made.read_bytes(), {})
        assert found.problem == f"this is a merged image: firmware, and {title} filesystem at 0x200000"
        with pytest.raises(InputError, match="this is a merged image"):
            sign_firmware(made.read_bytes(), Signer(rsa_key), embeds_key=False)


@pytest.mark.parametrize("chip", [other.ESP32, other.ESP32_C3, other.ESP32_S3])
def test_esptool_sees_the_same_chips(chip: int, tmp_path: Path) -> None:
    (tmp_path / "image.bin").write_bytes(other.esp32_image(chip))
    name = CHIPS[chip]
    said = esptool("image-info", tmp_path / "image.bin")
    assert f"Detected image type: {name}\n" in said
    assert "Checksum" in said
    assert "invalid" not in said
    assert f"chip          {name}, revision" in inspection.inspect((tmp_path / "image.bin").read_bytes(), {}).lines()[2]
    (tmp_path / "image.bin").write_bytes(RAW)
    assert "ESP8266" in esptool("image-info", tmp_path / "image.bin")


@given(st.binary(max_size=400), st.sampled_from(sorted(OTHERS)), st.integers(0, 200))
def test_any_bytes_are_looked_at(noise: bytes, title: str, cut: int) -> None:
    for data in (noise, OTHERS[title][:cut] + noise, noise + OTHERS[title][:2000]):
        kind = file_kinds.recognize(data)
        assert kind is None or (kind.name and kind.title and kind.hint)
        found = inspection.inspect(data, {})
        assert found.problem, "random bytes are no firmware"
        with pytest.raises(InputError):
            esp8266.parse(data)
