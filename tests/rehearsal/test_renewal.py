"""Certificates rehearsed before they are published: a device takes them, or nothing is published and it is said why."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files, rehearsal
from otaseal.certs import certstore
from otaseal.certs.pem import Source
from otaseal.client import archives
from otaseal.image import manifest, signed_image
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from otaseal.keys import public
from otaseal.pki.store import Slot
from otaseal.rehearsal import Renewal, Report
from otaseal.rehearsal.text import report_lines, summary
from otaseal.release import signed_archive
from support.command import Command, Result, otaseal
from support.images import MODES, Signer, build_image
from support.servers import PRODUCT, Running, World, operator, publish, start

__all__ = ["otaseal"]

NOW = datetime.now(timezone.utc)
BUILT = int(time.time()) - 3600


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> Iterator[Running]:
    """Return a server that takes two keys for the product, of which devices have the first only."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "other.pub").write_bytes(public.public_pem(other_rsa_key.public_key()))
    running = start(World.create(folder, rsa_key), folder / "store", "--product", f"{PRODUCT}={folder / 'other.pub'}")
    yield running
    running.end()


def release(key: rsa.RSAPrivateKey, version: str, *, library: bool = True) -> bytes:
    """Return a signed image as a project with a product builds it, with the library or without."""
    made = manifest.make(Claim(PRODUCT, "nodemcuv2", version, 0, BUILT), MODES["dio"])
    identity = manifest.serialise(made, manifest.IDENTITY_MAGIC) if library else b""
    raw = build_image(seed=len(version), code_size=20_000, embedded=embedded_key(key.public_key()) + identity)
    return signed_image.sign(manifest.attach(raw, made), Signer(key))


def roots(world: World, *slots: Slot) -> bytes:
    paths = [world.pki.directory / one.value / "certificate.pem" for one in slots]
    found = [Source(one.parent.name, ssl.PEM_cert_to_DER_cert(one.read_text())) for one in paths]
    return certstore.pack(found, NOW).archive


def signed(archive: bytes, key: rsa.RSAPrivateKey, built: int = BUILT) -> bytes:
    return signed_archive.sign(archive, Claim(PRODUCT, "", "now", 0, built), Signer(key), NOW)


def play(server: Running, channel: str, data: bytes, firmware: bytes | None = None) -> Report:
    return rehearsal.before_renewing(operator(server), Renewal(data, PRODUCT, channel, firmware))


def steps(report: Report) -> Sequence[tuple[str, str]]:
    return [(step.name, step.checked) for phase in report.phases for step in phase.steps]


def test_a_device_takes_the_successor_beside_the_present_authority(server: Running) -> None:
    publish(server, "1.0", release(server.world.key, "1.0"), channel="both")
    archive = signed(roots(server.world, Slot.SERVER, Slot.SERVER_NEXT), server.world.key)
    first = play(server, "both", archive)
    assert first.good, first.failed
    assert (first.record, first.lacking) == ("partly", ("what devices trust now: the new certificates stood for it",))
    assert ("result", "/certs.ar renewed, 2 certificates") in steps(first)
    assert [one.title.partition(":")[0] for one in first.phases] == [
        "the update server admits the archive",
        "a device takes the certificates, as it meets the live server",
        "poll 2",
        "with the new certificates alone, it asks for firmware",
    ]
    assert first.phases[2].steps[-1].checked.startswith("status 304")
    assert first.phases[3].steps[-1].checked == "304: nothing newer"
    assert "not rehearsed" in "\n".join(summary(first))
    archives.deploy_archive(operator(server), archive, PRODUCT, "both", first.record)
    alone = signed(roots(server.world, Slot.SERVER), server.world.key, BUILT + 1)
    second = play(server, "both", alone)
    assert (second.good, second.record) == (True, "passed"), second.failed
    had = next(said for name, said in steps(second) if name == "certificates")
    assert had.endswith("2 counted, 2 usable"), "what the channel gives out now is what devices trust"
    assert operator(server).get(f"/v1/products/{PRODUCT}/devices")["devices"] == [], "a rehearsal left a trace"


def test_certificates_that_would_lock_devices_out_are_refused(server: Running) -> None:
    publish(server, "1.1", release(server.world.key, "1.1"), channel="lockout")
    archives.deploy_archive(
        operator(server), signed(roots(server.world, Slot.SERVER), server.world.key), PRODUCT, "lockout"
    )
    report = play(server, "lockout", signed(roots(server.world, Slot.SERVER_NEXT), server.world.key, BUILT + 1))
    assert report.failed is not None
    assert (report.failed.name, report.failed.error) == ("certificate-chain", 43)
    assert "with it the server would not be trusted any more" in report.failed.reason
    assert report.failed.fix.startswith("keep the server's present authority in the certificates beside the new one")
    refusal = rehearsal.refusal(report)
    assert refusal.message.startswith("the rehearsal fails at 'certificate-chain': with it the server")
    assert "a device would NOT take this update" in report_lines(report)[-1]


def test_a_key_that_the_server_has_and_the_devices_have_not(server: Running, other_rsa_key: rsa.RSAPrivateKey) -> None:
    publish(server, "1.2", release(server.world.key, "1.2"), channel="keys")
    report = play(server, "keys", signed(roots(server.world, Slot.SERVER), other_rsa_key))
    assert report.phases[0].ok, "the server would take it"
    assert report.failed is not None
    assert (report.failed.name, report.failed.error) == ("manifest", 30)
    assert report.failed.fix.startswith("sign with the key whose public half the running firmware carries")


def test_what_the_server_would_not_take_is_not_played(server: Running) -> None:
    publish(server, "1.3", release(server.world.key, "1.3"), channel="older")
    archive = roots(server.world, Slot.SERVER)
    archives.deploy_archive(operator(server), signed(archive, server.world.key), PRODUCT, "older")
    report = play(server, "older", signed(archive, server.world.key, BUILT - 1))
    assert len(report.phases) == 1
    assert report.failed is not None
    assert "build time" in report.failed.reason
    assert "sign the certificates again" in report.failed.fix


def test_without_the_library_nothing_asks_for_certificates(server: Running) -> None:
    publish(server, "1.4", release(server.world.key, "1.4", library=False), channel="stock")
    archive = signed(roots(server.world, Slot.SERVER), server.world.key)
    report = play(server, "stock", archive)
    assert (report.good, report.record, len(report.phases)) == (True, "partly", 1)
    assert "no firmware with the OtaSeal library is known here" in report.lacking[0]
    own = play(server, "stock", archive, release(server.world.key, "2.0"))
    assert own.good, own.failed
    assert "what devices run now: the project's last build stood for it" in own.unchecked
    assert ("result", "/certs.ar renewed, 1 certificate") in steps(own)


def test_the_command_rehearses_and_the_server_keeps_it(server: Running, otaseal: Command, tmp_path: Path) -> None:
    world = server.world
    publish(server, "1.5", release(world.key, "1.5"), channel="cli")
    files.write_new(tmp_path / "token", f"{server.token}\n".encode(), files.PRIVATE_MODE)

    def deploy(archive: bytes, *options: str) -> Result:
        (tmp_path / "certs.ar.signed").write_bytes(archive)
        return otaseal(
            *("certs", "deploy", tmp_path / "certs.ar.signed", "--server", server.url, "--ca", world.ca),
            *("--product", PRODUCT, "--channel", "cli", "--token-file", tmp_path / "token", *options),
        )

    locking = signed(roots(world, Slot.SERVER_NEXT), world.key)
    refused = deploy(locking)
    assert refused.code == 1
    assert "otaseal: error: the rehearsal fails at 'certificate-chain'" in refused.err
    deploy(locking, "--no-rehearse").failed(1, "would not accept this server")
    deploy(locking, "--no-rehearse", "--layout", "4m2m").failed(2, "--layout is for the rehearsal")
    assert operator(server).as_device(server.port).fetch(f"/{PRODUCT}/cli/certs.ar.signed") is None
    both = roots(world, Slot.SERVER, Slot.SERVER_NEXT)
    first = deploy(signed(both, world.key), "--layout", "4m1m").succeeded()
    assert "rehearsed on a virtual ESP8266" in first.out
    assert deploy(signed(both, world.key, BUILT + 1), "--json").succeeded().json["certificates"] == 2
    deploy(signed(both, world.key, BUILT + 2), "--no-rehearse").succeeded()
    log = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    kept = [one["rehearsal"] for one in log if one["event"] == "certs" and one["channel"] == "cli"]
    assert kept == ["partly", "passed", "skipped"]


def test_without_littlefs_it_says_what_was_left_out(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr("otaseal.rehearsal.renewal.find_spec", lambda name: None if name == "littlefs" else real(name))
    report = play(server, "none", signed(roots(server.world, Slot.SERVER), server.world.key))
    assert (report.good, report.record) == (True, "partly")
    assert "'littlefs-python' is not installed" in report.lacking[0]
