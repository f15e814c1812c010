"""A server that takes releases of one builder alone."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.keys import signers
from support.command import Result, process
from support.servers import StartServer, World, operator

BUILDER = "https://ci.example.com/blink"
IMAGE, ENVELOPE = "firmware.bin.signed", "firmware.bin.signed.provenance.json"


def test_a_server_asks_for_provenance(
    start_server: StartServer, world: World, tmp_path: Path, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    (tmp_path / IMAGE).write_bytes(world.firmware(1).signed)
    signers.write_key_pair(tmp_path / "ci.key", other_rsa_key, None)
    server = start_server("--require-provenance", "https://ci.example.com/*", "--builder-key", tmp_path / "ci.pub")
    environment = {"OTASEAL_SERVER": server.url, "OTASEAL_SERVER_CA": str(world.ca), "OTASEAL_PRODUCT": "blink"}
    environment |= {"OTASEAL_TOKEN": server.token, "OTASEAL_VERSION": "1.0"}

    def run(*arguments: str) -> Result:
        return process(*arguments, cwd=tmp_path, **environment)

    deploy, make = ("deploy", IMAGE, "--no-rehearse"), ("provenance", IMAGE, "--key", "ci.key", "--builder")
    run(*deploy).failed(1, "the server refuses: the release comes without provenance")
    run(*make, "https://elsewhere.example.com/").succeeded()
    run(*deploy, "--provenance", ENVELOPE).failed(1, "names the builder 'https://elsewhere.example.com/'")
    assert operator(server).get("/v1/products/blink/releases")["releases"] == []
    run(*make, BUILDER).succeeded()
    run(*deploy, "--provenance", ENVELOPE).succeeded()
    kept = operator(server).fetch("/v1/products/blink/releases/1.0/attachments/provenance")
    assert kept == (tmp_path / ENVELOPE).read_bytes()
    assert server.stop() == 0
    open_to_all = start_server(store="other")  # whoever sends one all the same sends a good one
    environment |= {"OTASEAL_SERVER": open_to_all.url, "OTASEAL_TOKEN": open_to_all.token}
    run(*deploy, "--provenance", ENVELOPE).failed(1, "the provenance is signed by none of these keys")
    run(*deploy).succeeded()
