"""The development platform for the Pico behaves as the real one: what the other tests conclude stands on this."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal.image import signed_image
from support.pio import Project

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
KIB = 1024
FS_SIZE, FS_END = 512 * KIB, {"rpipicow": 2048 * KIB - 4096, "rpipico2w": 4096 * KIB - 4096}


def pem(key: rsa.RSAPrivateKey) -> bytes:
    encryption = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption)


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


@pytest.mark.parametrize(("board", "family"), [("rpipicow", 0xE48BFF56), ("rpipico2w", 0xE48BFF59)])
def test_image_uf2_and_filesystem_lie_where_the_chip_has_them(
    pico_project: MakeProject, tmp_path: Path, board: str, family: int
) -> None:
    made = pico_project(board=board, data={"hello.txt": b"hello"})
    environment = {"PICO_FLASH": str(tmp_path / "flash.bin")}
    made.run("-t", "upload", env=environment)
    assert not made.build("firmware.bin", board).exists(), "this way sends the ELF"
    made.run()
    image = made.build("firmware.bin", board).read_bytes()
    start, end, eeprom, sketch = struct.unpack_from("<4I", image, 0x2FF0)
    assert (end, eeprom) == (0x10000000 + FS_END[board],) * 2
    assert (end - start, sketch) == (FS_SIZE, FS_END[board] - FS_SIZE)
    uf2 = made.build("firmware.uf2", board).read_bytes()
    blocks = [uf2[at : at + 512] for at in range(0, len(uf2), 512)]
    assert b"".join(block[32:288] for block in blocks).startswith(image)
    assert {struct.unpack_from("<I", block, 28)[0] for block in blocks} == {family}
    flash = (tmp_path / "flash.bin").read_bytes()
    assert flash.startswith(image)

    made.run("-t", "uploadfs", "--upload-port", "here", env=environment)
    flash = (tmp_path / "flash.bin").read_bytes()
    filesystem = LittleFS(block_size=4096, block_count=FS_SIZE // 4096, mount=False)
    filesystem.context.buffer = bytearray(flash[FS_END[board] - FS_SIZE : FS_END[board]])
    filesystem.mount()
    with filesystem.open("hello.txt", "rb") as file:
        assert file.read() == b"hello"


def test_the_platform_signs_by_itself(
    pico_project: MakeProject, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    """With what lies among the sources; and without it the step runs in every build, and makes nothing."""
    made = pico_project()
    signed = made.build("firmware.bin.signed", "rpipicow")
    for _ in range(2):
        assert "Building .pio/build/rpipicow/firmware.bin.signed" in made.run().stdout
        assert not signed.exists()
    made.write("src/private.key", pem(rsa_key))
    made.write("src/public.key", public_pem(rsa_key))
    made.run()
    firmware = made.build("firmware.bin", "rpipicow")
    assert signed_image.verify(signed.read_bytes(), rsa_key.public_key()) == firmware.read_bytes()
    assert public_pem(rsa_key) in firmware.read_bytes()
    made.write("src/public.key", public_pem(other_rsa_key))
    assert "Compiling" not in made.run().stdout
    assert public_pem(rsa_key) in firmware.read_bytes(), "a flag's directory is none that SCons looks into"


def test_a_header_in_cpppath_is_not_what_the_updater_reads(
    pico_project: MakeProject, rsa_key: rsa.RSAPrivateKey
) -> None:
    """The updater is a library, and the directory of a library comes first."""
    made = pico_project("extra_scripts = pre:before.py")
    made.write("before.py", 'Import("env")\nenv.Prepend(CPPPATH=["$PROJECT_DIR/signing"])\n')
    made.write("signing/Updater_Signing.h", "#error the header that was put first\n")
    made.run()


def test_without_a_size_there_is_no_filesystem(pico_project: MakeProject) -> None:
    made = pico_project()
    made.configure([], board="rpipicow")
    found = re.search(r"Filesystem start: (\w+) Filesystem end: (\w+)", made.run().stdout)
    assert found is not None
    assert found[1] == found[2]
