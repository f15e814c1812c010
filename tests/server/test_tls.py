"""The devices' TLS held against other stacks: openssl, curl, libbearssl, and our own look at what a device is told."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from otaseal.client.client import Client
from otaseal.errors import OtasealError
from otaseal.keys.signers import private_key_pem
from otaseal.pki import Authority, Role
from otaseal.pki.authority import load_private_key
from otaseal.pki.live import probe
from otaseal.pki.store import Slot
from support import peers
from support.command import process
from support.latin_chain import make_latin_chain
from support.servers import SECONDS, Running, StartServer, World, get, publish, run, talk, until

CHACHA = {0xCCA8, 0xCCA9}


def s_client(server: Running, *options: str) -> str:
    command = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}"]
    done = run([*command, "-CAfile", server.world.ca, "-verify_return_error", *options])
    return (done.stdout + done.stderr).decode(errors="replace")


def test_the_tutorials_scenario(server: Running, tmp_path: Path) -> None:
    firmware = server.world.firmware(1)
    publish(server, "1.0", firmware.signed)
    curl = [peers.tool("curl", "curl"), "-sS", "--cacert", server.world.ca]
    done = run([*curl, f"https://localhost:{server.port}/firmware.bin.signed"])
    assert done.stdout == firmware.signed
    plain = run([*curl, f"http://localhost:{server.port}/firmware.bin.signed"])
    assert plain.stdout == b""
    assert plain.returncode != 0
    unknown = run([curl[0], "-sS", f"https://localhost:{server.port}/firmware.bin.signed"])
    assert unknown.returncode == 60, "an authority that nobody trusts"


def test_versions_suites_and_groups(bare: Running) -> None:
    modern = s_client(bare, "-tls1_3", "-brief")
    assert "CONNECTION ESTABLISHED" in modern
    assert "TLSv1.3" in modern
    assert "X25519" in modern
    old = s_client(bare, "-tls1_2", "-groups", "P-256:X25519", "-cipher", "ECDHE+AESGCM:ECDHE+CHACHA20", "-brief")
    assert "CHACHA20-POLY1305" in old, "the server's order, not the client's"
    assert "X25519" in old
    assert "P-256" in s_client(bare, "-tls1_2", "-groups", "P-256", "-brief").replace("prime256v1", "P-256")
    for refused in (("-tls1_1",), ("-tls1_2", "-cipher", "AES128-SHA:AES256-GCM-SHA384:ECDHE-RSA-AES128-SHA")):
        assert "CONNECTION ESTABLISHED" not in s_client(bare, *refused, "-brief")


def test_short_records_are_agreed_to(released: Running) -> None:
    seen = probe("127.0.0.1", released.port, "localhost")
    assert (seen.version, seen.fragment) == (0x0303, 512)
    assert seen.suite in CHACHA
    root = ssl.PEM_cert_to_DER_cert(released.world.ca.read_text())
    assert root not in seen.chain
    command = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{released.port}", "-tls1_2"]
    command += ["-maxfraglen", "512", "-quiet", "-ign_eof", "-msg", "-CAfile", str(released.world.ca)]
    done = run(command, get("/firmware.bin.signed"))
    records = re.findall(rb"17 03 03 ([0-9a-f]{2}) ([0-9a-f]{2})\n", done.stdout + done.stderr)
    sizes = [int(high + low, 16) for high, low in records]
    assert max(sizes) <= 512 + 24
    assert len(sizes) > 40


def test_sessions_are_resumed_by_their_id(bare: Running) -> None:
    answer = s_client(bare, "-tls1_2", "-reconnect", "-no_ticket")
    assert answer.count("\nReused, TLSv1.2") == 5
    with_tickets = s_client(bare, "-tls1_2")
    assert "TLS session ticket:" not in with_tickets


def test_a_chips_stack_connects(bare: Running) -> None:
    program = peers.compiled("tls_client.c", "libbearssl-dev", "bearssl")
    anchor = bare.world.folder / "root.der"
    anchor.write_bytes(ssl.PEM_cert_to_DER_cert(bare.world.ca.read_text()))
    now = str(int(datetime.now(timezone.utc).timestamp()))
    for name, answer in (("localhost", b"ok\n"), ("127.0.0.1", b"ok\n"), ("other.example", b"error 56\n")):
        assert run([program, str(bare.port), name, now, anchor]).stdout == answer


def test_a_renewed_certificate_is_taken_without_a_restart(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(world.chain.read_bytes())
    server = start_server(chain=chain)
    before = probe("127.0.0.1", server.port, "localhost").chain

    def shown() -> tuple[bytes, ...]:
        return probe("127.0.0.1", server.port, "localhost").chain

    with (
        socket.create_connection(("127.0.0.1", server.port), SECONDS) as raw,
        world.context().wrap_socket(raw, server_hostname="localhost") as kept,
    ):
        chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf of")
        until(lambda: any(line.startswith("certificate alarm=True") for line in server.lines()), "no alarm")
        assert shown() == before, "a damaged file takes nothing away"

        authority = world.pki.authority(Slot.SERVER)
        key = load_private_key(world.chain.with_name("key.pem").read_bytes(), None)
        now = datetime.now(timezone.utc) + timedelta(seconds=1)
        issued = authority.issue_server(["localhost", "127.0.0.1"], now=now, key=key)
        chain.write_bytes(issued.chain_pem)
        until(lambda: shown() != before, "the new certificate is not shown")
        kept.sendall(get("/healthz"))
        assert kept.recv(1024).startswith(b"HTTP/1.1 404"), "a connection that stands is not touched"


def test_the_self_test_says_what_devices_will_think(world: World, start_server: StartServer) -> None:
    good = start_server("--name", "localhost", "--name", "wrong.example", store="first")
    good.logs("certificate ", "server=wrong.example")
    verdicts = [line for line in good.lines() if line.startswith("certificate ")]
    assert "server=localhost verdict=accepted" in verdicts[0]
    assert "alarm=True server=wrong.example verdict=refused" in verdicts[1]
    assert "bearssl" in verdicts[1].lower()


def test_a_server_starts_with_what_only_strict_decoders_refuse(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    """Its authority's name is Latin-1 in a T61String: devices, OpenSSL and mbedTLS verify it, so it is served."""
    made = make_latin_chain(tmp_path, world.chain.with_name("key.pem"))
    chain, trusted = made / "server.crt", made / "ca.crt"
    server = start_server("--trusted", trusted, "--name", "localhost", chain=chain)
    server.logs("certificate ", "server=localhost verdict=accepted")
    context = ssl.create_default_context(cafile=str(trusted))
    assert talk(context, server.port, get("/firmware.bin.signed")).status == 404


def test_an_operator_with_a_strangers_certificate_is_told_where_to_look(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    authority = world.pki.directory / "operator-ca" / "certificate.pem"
    server = start_server("--operator-ca", authority, "--no-revocations")
    now = datetime.now(timezone.utc)
    stranger = Authority.create(role=Role.OPERATOR, product="stranger", now=now).issue_operator("ada", now=now)
    chain, key = tmp_path / "ada.pem", tmp_path / "ada.key"
    chain.write_bytes(stranger.chain_pem)
    key.write_bytes(private_key_pem(stranger.key, None))
    with pytest.raises(OtasealError) as caught:
        Client(server.url, None, world.ca, (chain, key)).put("/v1/nothing", b"")
    assert "--operator-ca" in caught.value.hint


@pytest.mark.parametrize("bad", ["missing", "wrong key", "locked"])
def test_files_that_are_no_certificate_and_key_are_refused(world: World, tmp_path: Path, bad: str) -> None:
    key = world.chain.with_name("key.pem")
    if bad == "wrong key":
        key = world.pki.directory / "device-ca" / "key.pem"
    if bad == "locked":
        loaded = load_private_key(key.read_bytes(), None)
        key = tmp_path / "locked.pem"
        key.write_bytes(private_key_pem(loaded, b"secret"))
    chain = tmp_path / "none.pem" if bad == "missing" else world.chain
    options = ["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"]
    done = process("serve", "--store", tmp_path / "s", "--cert", chain, "--key", key, *options, cwd=tmp_path)
    done.failed(3 if bad == "missing" else 1, {"locked": "locked by a passphrase"}.get(bad, str(chain)))


def test_plain_bytes_and_nothing_at_all_get_nothing(bare: Running) -> None:
    with socket.create_connection(("127.0.0.1", bare.port), SECONDS) as raw:
        raw.sendall(get("/firmware.bin.signed"))
        assert b"HTTP" not in raw.recv(1024)
    assert talk(bare.world.context(), bare.port, get("/firmware.bin.signed")).status == 404
