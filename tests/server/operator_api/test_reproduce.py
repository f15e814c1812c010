"""`otaseal reproduce` against a release on a real server."""

from __future__ import annotations

from pathlib import Path

from support.command import process
from support.servers import Running, publish


def test_a_release_is_compared(server: Running, tmp_path: Path) -> None:
    made = server.world.firmware(1)
    publish(server, "1.0", made.signed)
    (tmp_path / "firmware.bin").write_bytes(made.raw)
    (tmp_path / "firmware.bin.signed").write_bytes(made.signed)
    environment = {"OTASEAL_SERVER": server.url, "OTASEAL_SERVER_CA": str(server.world.ca)}
    environment |= {"OTASEAL_TOKEN": server.token, "OTASEAL_PRODUCT": "blink"}
    command = ("reproduce", "firmware.bin", "--version")
    same = process(*command, "1.0", cwd=tmp_path, **environment).succeeded()
    assert same.out == "'firmware.bin' is the released firmware, byte for byte\n"
    again = process("reproduce", "firmware.bin.signed", "--version", "1.0", cwd=tmp_path, **environment).succeeded()
    assert "is the released firmware, byte for byte" in again.out, "a signature is taken off"
    unsigned = process("reproduce", "firmware.bin", "--signed", "firmware.bin", cwd=tmp_path)
    unsigned.failed(1, "'firmware.bin': no signature trailer")
    changed = bytearray(made.raw)
    changed[5000:5004] = b"!!!!"
    (tmp_path / "firmware.bin").write_bytes(changed)
    refused = process(*command, "1.0", cwd=tmp_path, **environment).failed(1, "differs from the release in")
    assert "0x001388" in refused.out
    assert "the release's SBOM" in refused.err
    process(*command, "2.0", cwd=tmp_path, **environment).failed(1, "the server has no such image of release '2.0'")
    process("reproduce", "firmware.bin", "--signed", "firmware.bin.signed", cwd=tmp_path).failed(1, "differs from")
    process("reproduce", "firmware.bin", cwd=tmp_path).failed(2, "it is not clear what to compare with")
