"""New certificates over the air: taken only if they are ours, newer, sound and trust the server; and power cuts."""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client import archives
from otaseal.image import manifest, signed_image
from otaseal.image.manifest import Claim, Kind
from otaseal.keys import public
from otaseal.pki.store import Slot
from support import cas
from support.answering import reply
from support.firmware import OWN, PRODUCT, Device, StartAnswers, identity, pack, run_program
from support.images import Signer
from support.servers import StartServer, World, operator

pytestmark = pytest.mark.proof

NOW = int(time.time())
CUTS = 10_000 if os.environ.get("OTASEAL_THOROUGH") else 1_000
UP_TO_DATE = reply(b"", "304 Not Modified", None)


def signed(archive: bytes, key: rsa.RSAPrivateKey, **claim: object) -> bytes:
    """Return the archive as devices fetch it; whatever it is, and whatever is claimed of it."""
    kind = Kind(int(str(claim.pop("kind", 1))))
    values = {"product": OWN.product, "board": "", "counter": OWN.counter, "build_time": NOW, **claim}
    said = manifest.serialise(replace(manifest.make(Claim(**values)), kind=kind))  # type: ignore[arg-type]
    payload = archive + said
    return signed_image.serialise(signed_image.SignedImage(payload, Signer(key).sign(payload)))


@pytest.fixture
def own(world: World) -> bytes:
    return ssl.PEM_cert_to_DER_cert(world.ca.read_text())


def test_another_authority_is_added(answers: StartAnswers, device: Device, world: World, own: bytes) -> None:
    archive = pack(own, cas.root())
    running = answers(UP_TO_DATE, certs_ar_signed=reply(signed(archive, world.key)))
    done = device.run(port=running.port)
    assert done.results == [("up-to-date", 0, 0), ("renewed", 0, 0)]
    assert device.get("certs.ar") == archive
    assert not device.has("certs.new")
    assert not device.has("certs.idn")
    again = device.run(port=running.port)
    assert again.ready
    sums = [re.search(r"X-Otaseal-Certs: (\w+)", head) for head in (running.requests[0], running.requests[-1])]
    assert sums[0] is not None
    assert sums[1] is not None
    assert sums[0][1] != sums[1][1]


def test_from_the_real_server(start_server: StartServer, world: World, device: Device, own: bytes) -> None:
    server = start_server()
    archive = pack(
        own, ssl.PEM_cert_to_DER_cert((world.pki.directory / Slot.SERVER_NEXT.value / "certificate.pem").read_text())
    )
    archives.deploy_archive(operator(server), signed(archive, world.key), PRODUCT, "stable")
    done = device.run(port=server.port, polls=3)
    assert ("renewed", 0, 0) in done.results
    assert device.get("certs.ar") == archive
    assert [name for name, _, _ in done.results].count("renewed") == 1, "it says what it has, and is told that it is it"


def test_with_the_next_key_as_well(
    answers: StartAnswers, device: Device, world: World, own: bytes, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    following = rsa_keys(3072, 1)
    archive = pack(own, cas.root())
    running = answers(UP_TO_DATE, certs_ar_signed=reply(signed(archive, following)))
    assert device.run(port=running.port).results[1][:2] == ("failed", 30)
    device.belongs(OWN, world.key.public_key(), following.public_key())
    assert device.run(port=running.port).results[1] == ("renewed", 0, 0)
    assert device.get("certs.ar") == archive


def test_none_is_no_error(answers: StartAnswers, device: Device) -> None:
    for nothing in (reply(b"", "304 Not Modified", None), reply(b"", "404 Not Found")):
        running = answers(UP_TO_DATE, certs_ar_signed=nothing)
        assert device.run(port=running.port).results == [("up-to-date", 0, 0)]


def test_an_older_archive_never_comes_back(answers: StartAnswers, device: Device, world: World, own: bytes) -> None:
    newer, older = pack(own, cas.root()), pack(own)
    running = answers(UP_TO_DATE, certs_ar_signed=reply(signed(newer, world.key)))
    assert device.run(port=running.port).results[1][0] == "renewed"
    running.paths[f"/{PRODUCT}/certs.ar.signed"] = reply(signed(older, world.key, build_time=NOW - 1))
    assert device.run(port=running.port).results[1][:2] == ("failed", 42)
    assert device.get("certs.ar") == newer
    running.paths[f"/{PRODUCT}/certs.ar.signed"] = reply(signed(older, world.key, build_time=NOW + 1))
    assert device.run(port=running.port).results[1][0] == "renewed"


Make = Callable[[bytes, rsa.RSAPrivateKey, rsa.RSAPrivateKey], bytes]
"""From our authority, our key and another one, the response."""

HUGE = (cas.CA, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), bytes(8_000)), False))


def resized(ca: bytes, size: bytes) -> bytes:
    """Return an archive of one certificate whose header has this in the place of its size."""
    data = pack(ca)
    return data[:56] + size.ljust(10) + data[66:]


REFUSED: dict[str, tuple[Make, int]] = {
    "unsigned": (lambda ca, _k, _o: reply(pack(ca) * 2), 30),
    "another key": (lambda ca, _k, o: reply(signed(pack(ca), o)), 30),
    "tampered": (lambda ca, k, _o: reply(signed(pack(ca), k).replace(b"0.der", b"1.der")), 30),
    "firmware": (lambda ca, k, _o: reply(signed(pack(ca), k, kind=0)), 33),
    "another product": (lambda ca, k, _o: reply(signed(pack(ca), k, product="toaster")), 34),
    "another board": (lambda ca, k, _o: reply(signed(pack(ca), k, board="nodemcuv2")), 35),
    "a lower counter": (lambda ca, k, _o: reply(signed(pack(ca), k, counter=4)), 36),
    "no archive": (lambda ca, k, _o: reply(signed(ca, k)), 41),
    "a trailing byte": (lambda ca, k, _o: reply(signed(pack(ca) + b"\n", k)), 41),
    "half a certificate": (lambda ca, k, _o: reply(signed(pack(ca[:-4]), k)), 41),
    "PEM": (lambda ca, k, _o: reply(signed(pack(ca, cas.pem(ca)), k)), 41),
    "two in one member": (lambda ca, k, _o: reply(signed(pack(ca, ca + ca), k)), 41),
    "a short name": (lambda ca, k, _o: reply(signed(pack(ca, cas.root("short")), k)), 41),
    "Ed25519": (lambda ca, k, _o: reply(signed(pack(ca, cas.root(kind="Ed25519")), k)), 41),
    "GNU long names": (
        lambda ca, k, _o: reply(signed(pack(ca).replace(b"0.der/          ", b"//              "), k)),
        41,
    ),
    "a size in hex": (
        lambda ca, k, _o: reply(
            signed(re.sub(rb"\d+ +`\n", lambda m: b"0x40".ljust(len(m[0]) - 2) + b"`\n", pack(ca)), k)
        ),
        41,
    ),
    "a size with a tail": (lambda ca, k, _o: reply(signed(resized(ca, b"%dx" % len(ca)), k)), 41),
    "a size that 32 bits do not hold": (lambda ca, k, _o: reply(signed(resized(ca, b"%d" % (2**32 + len(ca))), k)), 41),
    "a huge member": (lambda ca, k, _o: reply(signed(pack(ca, bytes(9000)), k)), 41),
    "a huge certificate": (lambda ca, k, _o: reply(signed(pack(ca, cas.root(extensions=HUGE)), k)), 41),
    "too large": (lambda ca, k, _o: reply(signed(bytes(300_000), k)), 40),
    "too small": (lambda ca, k, _o: reply(b"!<arch>\n"), 40),
    "would lock out": (lambda ca, k, _o: reply(signed(pack(cas.root()), k)), 43),
    "truncated": (lambda ca, k, _o: reply(signed(pack(ca), k)[:-50], length=len(signed(pack(ca), k))), 25),
    "no length": (lambda ca, k, _o: reply(signed(pack(ca), k), length=None), 24),
    "forbidden": (lambda ca, k, _o: reply(b"", "403 Forbidden"), 20),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_archives_leave_the_old_one(
    name: str, answers: StartAnswers, device: Device, world: World, own: bytes, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    make, error = REFUSED[name]
    before = device.get("certs.ar")
    running = answers(UP_TO_DATE, certs_ar_signed=make(own, world.key, other_rsa_key))
    done = device.run(port=running.port)
    assert [one[:2] for one in done.results] == [("up-to-date", 0), ("failed", error)]
    assert device.get("certs.ar") == before
    assert not device.has("certs.new")
    assert not device.has("certs.idn")


def test_a_full_filesystem(answers: StartAnswers, device: Device, world: World, own: bytes) -> None:
    archive = pack(own, cas.root())
    room = len(device.get("certs.ar")) + 500
    running = answers(UP_TO_DATE, certs_ar_signed=reply(signed(archive, world.key)))
    assert device.run(port=running.port, room=room).results[1][:2] == ("failed", 44)
    assert device.get("certs.ar") == pack(own)


def test_a_power_cut_leaves_one_or_the_other(
    programs: dict[str, Path], world: World, own: bytes, tmp_path: Path
) -> None:
    old, new = pack(own), pack(own, cas.root())
    files = {
        "key": public.public_pem(world.key.public_key()),
        "identity": identity(OWN),
        "old": old,
        "new": new,
        "signed": signed(new, world.key),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    printed = run_program(programs["matrix"], "cut", *(tmp_path / name for name in files), str(CUTS), "1")
    found = {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", printed)}
    assert found["old"] + found["new"] == CUTS
    assert min(found["old"], found["new"]) > 0, "cuts before and after the rename"
    assert (found["neither"], found["unusable"], found["stuck"]) == (0, 0, 0), printed
