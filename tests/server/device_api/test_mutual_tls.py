"""Devices with certificates: only they get firmware, the certificate is who they are, and revoking ends it at once."""

from __future__ import annotations

import json
import shutil
import ssl
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.pki.profile import Role
from support import peers
from support.command import process
from support.servers import Running, StartServer, World, as_device, get, operator, publish, run, talk, until

NOW = datetime.now(timezone.utc)


@pytest.fixture
def guarded(world: World, start_server: StartServer) -> Running:
    server = start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    publish(server, "1.0", world.firmware(1).signed)
    return server


def issued(world: World, name: str, folder: Path) -> Path:
    """Return a copy of the key and chain of a new device to be revoked, which sets those of the index aside."""
    return Path(shutil.copytree(world.pki.issue_device(name, now=NOW), folder / name))


def test_only_devices_with_a_certificate_get_firmware(world: World, guarded: Running, tmp_path: Path) -> None:
    kitchen = world.client(Role.DEVICE, "kitchen")
    request = get("/firmware.bin.signed")
    assert talk(world.context(kitchen), guarded.port, request).body == world.firmware(1).signed
    stranger = World.create(tmp_path / "other", world.key).client(Role.DEVICE, "kitchen")
    operator_folder = world.client(Role.OPERATOR, "an-operator")
    for folder in (None, stranger, operator_folder):
        with pytest.raises((ssl.SSLError, ConnectionResetError, AssertionError)):
            talk(world.context(folder), guarded.port, request)
    curl = [
        peers.tool("curl", "curl"),
        "-sS",
        "--cacert",
        world.ca,
        f"https://localhost:{guarded.port}/firmware.bin.signed",
    ]
    assert run(curl).stdout == b""
    with_key = [*curl, "--cert", kitchen / "chain.pem", "--key", kitchen / "key.pem"]
    assert run(with_key).stdout == world.firmware(1).signed


def test_the_certificate_is_the_identity_and_not_the_header(world: World, guarded: Running, tmp_path: Path) -> None:
    attic = world.client(Role.DEVICE, "attic")
    old = world.firmware(7)
    for mac in ("5C:CF:7F:00:00:01", "5C:CF:7F:00:00:02"):
        talk(world.context(attic), guarded.port, as_device("/firmware.bin.signed", old, mac))
    seen = operator(guarded).get("/v1/products/blink/devices")["devices"]
    assert [one["device"] for one in seen] == ["cert:attic"]
    assert seen[0]["deliveries"] == 2, "another MAC makes no other device, and no fresh start for a loop"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_revoked_certificate_ends_with_the_next_connection(
    world: World, guarded: Running, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    name = f"lost-{version.name.lower().replace('_', '-')}"
    folder = issued(world, name, tmp_path)
    context = world.context(folder)
    context.maximum_version = version
    request = get("/firmware.bin.signed")
    assert talk(context, guarded.port, request).status == 200
    world.pki.revoke(Role.DEVICE, name, now=NOW)
    with pytest.raises((ssl.SSLError, ConnectionResetError, AssertionError)):
        talk(context, guarded.port, request)
    until(lambda: any(line.startswith(f"revoked name={name}") for line in guarded.lines()), "not in the log")


def test_a_resumed_session_is_no_way_around_a_revocation(world: World, guarded: Running, tmp_path: Path) -> None:
    folder = issued(world, "resuming", tmp_path)
    session = tmp_path / "session"
    client = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{guarded.port}", "-tls1_2"]
    client += [
        "-CAfile",
        str(world.ca),
        "-cert",
        str(folder / "chain.pem"),
        "-key",
        str(folder / "key.pem"),
        "-ign_eof",
    ]
    request = get("/firmware.bin.signed", method="HEAD")
    first = run([*client, "-sess_out", session], request)
    again = run([*client, "-sess_in", session], request)
    assert b"HTTP/1.1 200" in first.stdout
    assert b"Reused, TLSv1.2" in again.stdout
    assert b"HTTP/1.1 200" in again.stdout
    world.pki.revoke(Role.DEVICE, "resuming", now=NOW)
    refused = run([*client, "-sess_in", session], request)
    assert b"HTTP" not in refused.stdout


def test_a_damaged_list_lets_nobody_in(world: World, start_server: StartServer, tmp_path: Path) -> None:
    hall = world.client(Role.DEVICE, "hall")
    listed = tmp_path / "revoked.json"
    listed.write_bytes(b'{"revoked": {"device": []}}')
    authority = world.pki.directory / "device-ca" / "certificate.pem"
    server = start_server("--device-ca", authority, "--revoked", listed)
    request = get("/firmware.bin.signed")
    assert talk(world.context(hall), server.port, request).status == 404
    for damage in (b"", b'{"revoked": {"device": ["xyz"]}}', b"[]", None):
        listed.unlink() if damage is None else listed.write_bytes(damage)
        with pytest.raises((ssl.SSLError, ConnectionResetError, AssertionError)):
            talk(world.context(hall), server.port, request)
    listed.write_bytes(b'{"revoked": {"device": [ ]}}')
    assert talk(world.context(hall), server.port, request).status == 404
    server.logs("revocations alarm=True")


@pytest.mark.parametrize(
    ("missing", "code"),
    [("--cert", 3), ("--key", 3), ("--device-ca", 3), ("--operator-ca", 3), ("--product", 1), ("--trusted", 1)],
)
def test_the_first_file_that_is_missing_is_named_as_it_was_given(
    world: World, tmp_path: Path, missing: str, code: int
) -> None:
    """And not the list of revocations, which lies beside none of them either."""
    (tmp_path / "etc").mkdir()
    ca, operators = (
        shutil.copy(world.pki.directory / f"{role}-ca" / "certificate.pem", tmp_path / "etc" / f"{role}.pem")
        for role in ("device", "operator")
    )
    given = {"--cert": world.chain, "--key": world.chain.with_name("key.pem"), "--device-ca": ca}
    given |= {"--operator-ca": operators, "--product": world.folder / "signing.pub", "--trusted": ca}
    start: list[object] = ["serve", "--store", "made"]
    for number, option in enumerate(given):
        path = given[option] if number < list(given).index(missing) else f"no/{option.strip('-')}.pem"
        start += [option, f"blink={path}" if option == "--product" else path]
    process(*start, cwd=tmp_path).failed(code, f"'no/{missing.strip('-')}.pem'")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("role", ["device", "operator"])
def test_the_authority_of_another_role_is_refused(world: World, tmp_path: Path, role: str) -> None:
    """It would let in nobody who should be, and whom it lets in could pose as the server, or publish."""
    authority = {one: world.pki.directory / f"{one}-ca" / "certificate.pem" for one in ("server", "device", "operator")}
    both = tmp_path / "both.pem"
    both.write_bytes(authority[role].read_bytes() + authority["server"].read_bytes())
    start = ["serve", "--store", tmp_path / "s", "--cert", world.chain, "--key", world.chain.with_name("key.pem")]
    for given in (authority["server"], both, world.chain):
        refused = process(*start, f"--{role}-ca", given, "--no-revocations", cwd=tmp_path)
        refused.failed(2, f"--{role}-ca '{given}' is the authority of the server's own certificate")
        assert f"give the {role}s' own, {role}-ca/certificate.pem" in refused.err
    asked = ("--device-ca", authority[role], "--operator-ca", authority[role])
    refused = process(*start, *asked, cwd=tmp_path).failed(2, "has an authority of --device-ca")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("role", ["device", "operator"])
def test_an_authority_without_its_list_is_an_error(
    world: World, start_server: StartServer, tmp_path: Path, role: str
) -> None:
    """Copied away from its store it would let in whom the store has revoked."""
    copied = tmp_path / "etc" / f"{role}-ca.pem"
    copied.parent.mkdir()
    shutil.copy(world.pki.directory / f"{role}-ca" / "certificate.pem", copied)
    start = ["serve", "--store", tmp_path / "s", "--cert", world.chain, "--key", world.chain.with_name("key.pem")]
    start += [f"--{role}-ca", copied]
    process(*start, cwd=tmp_path).failed(1, f"there is no list '{tmp_path / 'revoked.json'}' of revoked certificates")
    process(*start, "--revoked", "gone", cwd=tmp_path).failed(1, "there is no list")
    (tmp_path / "damaged").write_bytes(b"{}")
    process(*start, "--revoked", "damaged", cwd=tmp_path).failed(1, "is damaged")
    both = ("--no-revocations", "--revoked", world.pki.directory / "revoked.json")
    process(*start, *both, cwd=tmp_path).failed(2, "contradict each other")
    trusted = (*start[:-2], "--trusted", "damaged")
    process(*trusted, cwd=tmp_path).failed(1, "'damaged': this is not one whole X.509 certificate")
    assert not (tmp_path / "s").exists()

    folder = world.client(Role(role), f"{role}-of-copy")
    for options in (["--no-revocations"], ["--revoked", world.pki.directory / "revoked.json"]):
        server = start_server(f"--{role}-ca", copied, *options)
        port = server.port if role == "device" else server.operators
        assert talk(world.context(folder), port, get("/v1/products")).status in (200, 404)
        server.end()


def test_a_store_of_before_gets_its_list(world: World, tmp_path: Path) -> None:
    pki = World.create(tmp_path / "old", world.key).pki
    assert json.loads((pki.directory / "revoked.json").read_bytes())["revoked"]["device"] == []
    pki.issue_device("lost", now=NOW)
    (serial,) = (one.serial for one in pki.revoke(Role.DEVICE, "lost", now=NOW))
    (pki.directory / "revoked.json").unlink()
    process("pki", "list", "--store", pki.directory, cwd=tmp_path).succeeded()
    assert json.loads((pki.directory / "revoked.json").read_bytes())["revoked"]["device"] == [serial]


def test_reading_back_goes_where_it_can(guarded: Running) -> None:
    done = publish(guarded, "1.1", guarded.world.firmware(2).signed)
    assert getattr(done, "confirmed", None) == "operators", "an operator has no device's certificate"


@pytest.mark.parametrize("given", [True, False], ids=["a release", "no release"])
def test_two_devices_that_say_the_same_are_two(
    world: World, start_server: StartServer, tmp_path: Path, *, given: bool
) -> None:
    """Byte for byte one request: what is remembered of it is not whose it was."""
    server = start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    publish(server, "1.0", world.firmware(1).signed, channel="stable" if given else "beta")
    request = as_device("/blink/firmware.bin.signed", world.firmware(7 if given else 1))
    names = ("cellar", "kitchen")
    contexts = [world.context(world.client(Role.DEVICE, f"{name}-{given}")) for name in names]
    status = 200 if given else 404
    for context in (*contexts, *contexts, contexts[0]):
        assert talk(context, server.port, request).status == status
    until(lambda: sum("code=" in line for line in server.lines()) == 5, "an answer is not in the log")
    logged = [line.partition("device=")[2].split()[0] for line in server.lines() if line.startswith("device ")]
    expected = [f"cert:{name}-{given}" for name in names]
    assert logged == [*expected, *expected, expected[0]]
    if given:
        seen = {
            row["device"]: row["deliveries"] for row in operator(server).get("/v1/products/blink/devices")["devices"]
        }
        assert seen == dict(zip(expected, (3, 2), strict=True))
