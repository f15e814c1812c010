"""A server that takes releases of one builder alone."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import InputError
from otaseal.keys import signers
from support.command import Result, process
from support.page_client import CHANNEL, visit
from support.servers import StartServer, World, operator, publish

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


def test_it_is_asked_for_at_a_promotion_and_nothing_stands_in_the_way_back(
    start_server: StartServer, world: World, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    before = start_server()
    for seed, version in ((1, "1.0"), (2, "1.1"), (3, "1.2")):
        publish(before, version, world.firmware(seed).signed, channel="beta" if version == "1.2" else "stable")
    assert before.stop() == 0

    (tmp_path / IMAGE).write_bytes(world.firmware(3).signed)
    signers.write_key_pair(tmp_path / "ci.key", rsa_key, None)
    server = start_server("--require-provenance", BUILDER, "--builder-key", tmp_path / "ci.pub")
    environment = {"OTASEAL_SERVER": server.url, "OTASEAL_SERVER_CA": str(world.ca), "OTASEAL_PRODUCT": "blink"}
    environment |= {"OTASEAL_TOKEN": server.token, "OTASEAL_VERSION": "1.2"}

    def run(*arguments: str) -> Result:
        return process(*arguments, cwd=tmp_path, **environment)

    words = "release '1.2' has no provenance, and this server gives out none without"
    refused = run("promote", "beta", "--to", "stable").failed(1, f"the server refuses: {words}")
    assert "otaseal: hint: deploy its files again with --provenance, or go back" in refused.err
    run("promote", "--version", "1.2", "--to", "new").failed(1, words)
    page = visit(server).submit(f"{CHANNEL}/promote?version=1.2", percent="10")
    assert (page.status, words in html.unescape(page.body.decode())) == (422, True), page.body.decode()
    assert operator(server).get("/v1/products/blink/releases")["channels"]["stable"]["version"] == "1.1"

    run("rollback").succeeded()
    run("promote", "--percent", "50", "--channel", "beta").succeeded()
    run("promote", "--version", "1.2", "--to", "beta").succeeded()

    run("provenance", IMAGE, "--key", "ci.key", "--builder", BUILDER).succeeded()
    run("deploy", IMAGE, "--no-rehearse", "--provenance", ENVELOPE, "--channel", "beta").succeeded()
    run("promote", "beta", "--to", "stable").succeeded()
    assert server.stop() == 0

    other = start_server("--require-provenance", "https://other.example.com/", "--builder-key", tmp_path / "ci.pub")
    with pytest.raises(InputError, match=f"names the builder '{BUILDER}'"):
        operator(other).post("/v1/products/blink/channels/new/promote", {"version": "1.2"})
    operator(other).post("/v1/products/blink/channels/beta/promote", {"version": "1.2"})
