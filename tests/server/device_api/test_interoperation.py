"""One server as the service unit starts it: it holds to a public profile, and every stack that matters connects."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone
from pathlib import Path

import pytest

from support import peers
from support.servers import Running, StartServer, get, publish, run

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"


@pytest.fixture(scope="module")
def service(shared_server: StartServer) -> Running:
    """Return a server with the groups that the service unit and the container set."""
    server = shared_server(environment={"OPENSSL_CONF": str(PACKAGING / "openssl.cnf")})
    publish(server, "1.0", server.world.firmware(1).signed)
    return server


def profile(server: Running, port: int) -> str:
    """Return what sslyze says of a port and Mozilla's intermediate profile."""
    program = peers.tool("sslyze", "sslyze from PyPI")
    done = run(
        [
            *(program, "--slow_connection", "--mozilla_config", "intermediate"),
            *("--certinfo_ca_file", server.world.ca, f"localhost:{port}"),
        ]
    )
    _, _, verdict = done.stdout.decode().partition("COMPLIANCE AGAINST TLS CONFIGURATION")
    assert f"localhost:{port}: " in verdict, done.stdout + done.stderr
    return verdict


@pytest.mark.parametrize("side", ["devices", "operators"])
def test_the_intermediate_profile_of_mozilla_holds(service: Running, side: str) -> None:
    verdict = profile(service, service.port if side == "devices" else service.operators)
    assert "OK - Compliant." in verdict, verdict


def test_elsewhere_only_the_groups_differ(bare: Running) -> None:
    """Python before 3.15 can name one group only, and OpenSSL's own list has two that the profile has not."""
    verdict = profile(bare, bare.port)
    found = [line.strip() for line in verdict.splitlines() if line.strip().startswith("*")]
    assert len(found) <= 1, verdict
    assert all(line.startswith("* tls_curves: ") for line in found), verdict


def chips_stack(server: Running) -> bytes:
    """Return what BearSSL says, which is what the core has: TLS 1.2, no tickets."""
    return run([peers.compiled("tls_client.c", "libbearssl-dev", "bearssl"), *as_a_chip(server)]).stdout


def mbedtls(server: Running) -> bytes:
    program = peers.compiled("mbedtls_client.c", "libmbedtls-dev", "mbedtls", "mbedx509", "mbedcrypto")
    return run([program, *as_a_chip(server)]).stdout


def as_a_chip(server: Running) -> list[str | Path]:
    anchor = server.world.folder / "interop-root.der"
    anchor.write_bytes(ssl.PEM_cert_to_DER_cert(server.world.ca.read_text()))
    return [str(server.port), "localhost", str(int(datetime.now(timezone.utc).timestamp())), anchor]


def s_client(server: Running, *options: str) -> bytes:
    command = [peers.tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}"]
    command += ["-CAfile", str(server.world.ca), "-verify_return_error", "-verify_hostname", "localhost"]
    return run([*command, *options], get("/firmware.bin.signed") if "-ign_eof" in options else b"").stdout


def test_every_stack_connects_to_that_server(service: Running) -> None:
    signed = service.world.firmware(1).signed
    assert chips_stack(service) == b"ok\n"
    assert mbedtls(service) == b"ok\n"
    for options in (
        ["-tls1_2", "-maxfraglen", "512"],
        ["-tls1_2"],
        ["-tls1_3"],
        ["-groups", "P-256"],
        ["-groups", "P-384"],
    ):
        assert s_client(service, *options, "-quiet", "-ign_eof").endswith(signed), options
    assert s_client(service, "-tls1_2", "-reconnect").count(b"\nReused, TLSv1.2") == 5
    assert b"Cipher is (NONE)" in s_client(service, "-groups", "P-521:X448"), "what the profile has not"
    curl = [peers.tool("curl", "curl"), "-sS", "--cacert", service.world.ca]
    url = f"localhost:{service.port}/firmware.bin.signed"
    assert run([*curl, f"https://{url}"]).stdout == signed
    plain = run([*curl, f"http://{url}"])
    assert (plain.stdout, plain.returncode != 0) == (b"", True)
