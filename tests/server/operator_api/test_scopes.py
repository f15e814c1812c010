"""Certificates of operators that are for one product or channel: issued by the command, held by the server."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otaseal.client.client import Client
from otaseal.client.deployment import Options
from otaseal.errors import InputError
from otaseal.pki.profile import Role, Validity, leaf_builder, subject_name
from otaseal.pki.scope import Scope
from otaseal.pki.store import Slot
from otaseal.release.records import Origin
from support import peers, servers
from support.command import process
from support.servers import Running, StartServer, World, run

NOW = datetime.now(timezone.utc)
CREATED = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def guarded(world: World, start_server: StartServer) -> Running:
    return start_server(
        *("--operator-ca", world.pki.directory / "operator-ca" / "certificate.pem"),
        *("--product", f"lamp={world.folder / 'signing.pub'}"),
    )


def as_holder(server: Running, folder: Path) -> Client:
    return Client(server.url, None, server.world.ca, (folder / "chain.pem", folder / "key.pem"))


def deploy(client: Client, server: Running, product: str, channel: str) -> None:
    servers.deploy(client, [server.world.firmware(1).signed], Origin(product, "1.0", CREATED), Options(channel))


def test_a_certificate_keeps_to_its_scopes(guarded: Running, tmp_path: Path) -> None:
    pki = guarded.world.pki
    process(
        *("pki", "operator", "ci-beta", "--store", pki.directory, "--scope", "blink/beta", "--scope", "lamp"),
        cwd=tmp_path,
    ).succeeded()
    folder = pki.folder(Role.OPERATOR, "ci-beta")
    shown = run(
        [peers.tool("openssl", "openssl"), "x509", "-in", folder / "chain.pem", "-noout", "-ext", "subjectAltName"]
    )
    assert b"URI:otaseal:blink/beta, URI:otaseal:lamp/*" in shown.stdout

    def check() -> None:
        client = as_holder(guarded, folder)
        deploy(client, guarded, "blink", "beta")
        deploy(client, guarded, "lamp", "stable")
        with pytest.raises(InputError, match="certificate 'ci-beta' is not for product 'blink', channel 'stable'"):
            deploy(client, guarded, "blink", "stable")
        for verb in ("promote", "rollback", "percent"):
            with pytest.raises(
                InputError, match="is not for product 'blink', channel 'stable', but for blink/beta, lamp"
            ):
                client.post(f"/v1/products/blink/channels/stable/{verb}", {"from": "beta", "percent": 1})
        with pytest.raises(InputError, match="is not for every product"):
            client.get("/v1/products")
        with pytest.raises(InputError, match="is not for product 'other'"):
            client.get("/v1/products/other")

    check()
    pki.renew(Role.OPERATOR, "ci-beta", now=datetime.now(timezone.utc))
    check()


def test_a_certificate_without_scope_is_for_everything(guarded: Running) -> None:
    client = as_holder(guarded, guarded.world.client(Role.OPERATOR, "anything"))
    deploy(client, guarded, "blink", "stable")
    assert client.get("/v1/products") == {"products": ["blink", "lamp"]}


def test_a_token_adds_nothing_to_a_certificate(guarded: Running) -> None:
    folder = guarded.world.client(Role.OPERATOR, "only-lamp", [Scope("lamp")])
    both = Client(guarded.url, guarded.token, guarded.world.ca, (folder / "chain.pem", folder / "key.pem"))
    with pytest.raises(InputError, match="certificate 'only-lamp' is not for product 'blink'"):
        both.get("/v1/products/blink")


@pytest.mark.parametrize("uris", [["otaseal:"], ["otaseal:blink/stable/x"], ["OTASEAL:blink", "otaseal://blink"]])
def test_a_scope_that_cannot_be_read_is_for_nothing(guarded: Running, tmp_path: Path, uris: Sequence[str]) -> None:
    client = as_holder(guarded, issue_with(guarded.world, tmp_path, uris))
    with pytest.raises(InputError, match="the certificate's scope cannot be read"):
        client.get("/v1/products/blink")


def issue_with(world: World, folder: Path, uris: Sequence[str]) -> Path:
    """Write key and chain of an operator whose certificate holds what our own command would not issue."""
    authority = world.pki.authority(Slot.OPERATOR)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = subject_name("blink operators", "odd-scopes")
    builder = leaf_builder(authority.certificate, Role.OPERATOR, subject, key.public_key(), Validity.starting(NOW, 30))
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(one) for one in uris])
    signed = builder.add_extension(names, critical=False).sign(authority.key, hashes.SHA256())
    (folder / "chain.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder
