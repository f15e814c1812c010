"""A certificate over the air: asked for with a key that the chip has made, renewed in time, never lost on the way."""

from __future__ import annotations

import base64
import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from otaseal.client import enrolments as client
from otaseal.keys import public
from otaseal.pki.store import Slot
from otaseal.protocol.decisions import PATCHES
from support import cas, enrolling
from support.answering import Answers, Response, reply
from support.bench import DAYS, at_bench, sign, stranger
from support.cas import spki_of
from support.enrolled_chips import claimed
from support.esp32_devices import matrix
from support.firmware import OWN, PRODUCT, Device, identity, pack
from support.servers import StartServer, World, operator

pytestmark = pytest.mark.proof

NOW = int(time.time())
DAY = 24 * 3600
LAST_THIRD = DAYS * DAY * 2 // 3 + DAY
CHIPS = {"esp8266": "device", "esp32": "esp32"}
OFFER = "1 proof enroll"
UNSIGNED = slice(3, 131)
"""Of a request: all but its signature, which is another one each time."""
PATH = f"/{PRODUCT}/client.crt"


def offering(status: str, body: bytes = b"", length: int | None = -1, capabilities: str = OFFER) -> bytes:
    """Return a response of a server that enrols."""
    return reply(body, status, length, X_Otaseal_Capabilities=capabilities)


def request_of(head: str) -> bytes:
    """Return the request (DER) in a request's head."""
    found = re.search(r"^X-Otaseal-Csr: (\S+)\r$", head, re.MULTILINE)
    assert found is not None
    return base64.b64decode(found[1], validate=True)


class Server:
    """Up to date in all; `certificate` is its answer to those that ask for one. It looks at who shows one."""

    def __init__(self, world: World, certificate: Response) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(world.chain, world.chain.with_name("key.pem"))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(world.pki.directory / Slot.DEVICE.value / "certificate.pem")
        nothing = offering("304 Not Modified", length=None)
        files = {f"/{PRODUCT}/{name}.signed": nothing for name in ("firmware.bin", "certs.ar")}
        self.answers = Answers(context, {**files, PATH: certificate})

    @property
    def asked(self) -> list[str]:
        """The heads of the requests for a certificate."""
        return [head for head in self.answers.requests if head.startswith(f"GET {PATH} ")]

    def signs(self, world: World, days: int = DAYS) -> None:
        self.answers.paths[PATH] = lambda head: offering("200 OK", sign(world, request_of(head), days))


@pytest.fixture(params=CHIPS)
def chip(request: pytest.FixtureRequest) -> Device:
    """Return a device that asks for a certificate."""
    made: Device = request.getfixturevalue(CHIPS[request.param])
    made.settings["claim"] = "-"
    return made


@pytest.fixture
def server(world: World) -> Iterator[Server]:
    made = Server(world, offering("202 Accepted"))
    with made.answers:
        made_port = made.answers.port
        assert made_port
        yield made


def test_with_a_claim_code_it_waits_and_then_has_one(chip: Device, server: Server, world: World) -> None:
    chip.settings.update(port=server.answers.port, claim="CODE-1234")
    assert chip.run(polls=2).results == [("up-to-date", 0, 0)] * 2, "to wait is no error"
    assert len({request_of(head)[UNSIGNED] for head in server.asked}) == 1, "one key"
    assert len(server.asked) == 2
    assert all("\r\nX-Otaseal-Claim: CODE-1234\r\n" in head for head in server.asked)
    says = re.compile(rf"\r\nX-Otaseal-Capabilities: {OFFER}(?: {PATCHES})?\r\n")
    assert all(says.search(head) for head in server.answers.requests)
    assert not chip.has("client.crt")
    server.signs(world)
    done = chip.run(polls=2)
    assert done.results == [("up-to-date", 0, 0), ("enrolled", 0, 0), ("up-to-date", 0, 0)]
    assert len(server.asked) == 3, "it has one now"
    assert server.answers.certificates[-1] == chip.get("client.crt")
    assert server.answers.certificates[0] is None
    assert chip.run().results == [("up-to-date", 0, 0)]
    assert server.answers.certificates[-1] == chip.get("client.crt"), "after a restart, too"
    assert not [name for name in ("client.key.new", "client.crt.new", "certs.idn", "certs.new") if chip.has(name)]


def test_only_where_sketch_and_server_want_it(chip: Device, server: Server, world: World) -> None:
    server.signs(world)
    chip.settings["port"] = server.answers.port
    del chip.settings["claim"]
    chip.run()
    assert not [head for head in server.answers.requests if "enroll" in head]
    chip.settings["claim"] = "-"
    for capabilities in ("1 proof", "1 proof enrolled", "1 reenroll", ""):
        for name in ("firmware.bin", "certs.ar"):
            answer = offering("304 Not Modified", b"", None, capabilities)
            server.answers.paths[f"/{PRODUCT}/{name}.signed"] = answer
        chip.run()
    assert not server.asked
    assert not chip.has("client.key.new")


def test_it_renews_in_the_last_third(chip: Device, server: Server, world: World) -> None:
    server.signs(world)
    chip.settings["port"] = server.answers.port
    assert chip.run().results[-1][0] == "enrolled"
    first = chip.get("client.crt"), chip.get("client.key")
    assert chip.run(ntp=NOW + LAST_THIRD - 2 * DAY).results == [("up-to-date", 0, 0)]
    assert len(server.asked) == 1
    done = chip.run(ntp=NOW + LAST_THIRD, chance=9, polls=1)
    assert done.results[-1][0] == "enrolled"
    assert server.answers.certificates[-1] == first[0], "asked over the connection of the old one"
    assert chip.get("client.crt") != first[0]
    assert chip.get("client.key") != first[1]
    renewed = chip.get("client.crt")
    chip.run()
    assert renewed in server.answers.certificates


def test_a_certificate_that_was_put_there_by_hand_is_renewed(chip: Device, server: Server, world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(world, enrolling.csr(key, "by-hand"))
    chip.put("client.crt", cas.pem(certificate))
    chip.put("client.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server.signs(world)
    chip.settings["port"] = server.answers.port
    assert chip.run().results == [("up-to-date", 0, 0)]
    assert not server.asked
    assert chip.run(ntp=NOW + LAST_THIRD).results[-1][0] == "enrolled"
    assert server.answers.certificates[-1] == certificate
    assert chip.get("client.crt") != cas.pem(certificate)


OTHER = cas.key("P-256", 3).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
HOSTILE: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "for another key": (lambda _: offering("200 OK", stranger(OTHER)), 51),
    "by an authority that the server does not know": (
        lambda request: offering("200 OK", stranger(spki_of(request))),
        43,
    ),
    "no certificate": (lambda _: offering("200 OK", b"<html>" * 60), 51),
    "its own request": (lambda request: offering("200 OK", request), 51),
    "cut off": (lambda request: offering("200 OK", stranger(spki_of(request))[:-1]), 51),
    "ten megabytes": (lambda _: offering("200 OK", b"0" * 10_000_000), 40),
    "no body": (lambda _: offering("200 OK"), 24),
    "no length": (lambda request: offering("200 OK", stranger(spki_of(request)), None), 24),
    "less than it says": (lambda request: offering("200 OK", stranger(spki_of(request)), 1200), 25),
    "the code is not taken": (lambda _: offering("403 Forbidden", b"no such code"), 50),
    "an error": (lambda _: offering("500 Internal Server Error"), 20),
    "a redirection": (lambda _: offering("302 Found"), 20),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_refused_changes_nothing(what: str, chip: Device, server: Server, world: World) -> None:
    answer, error = HOSTILE[what]
    server.answers.paths[PATH] = lambda head: answer(request_of(head))
    chip.settings.update(port=server.answers.port, claim="CODE")
    done = chip.run()
    assert [one[:2] for one in done.results] == [("up-to-date", 0), ("failed", error)]
    assert done.ready
    left = [name for name in ("client.key", "client.crt", "client.crt.new", "certs.idn") if chip.has(name)]
    assert not left
    server.signs(world)
    assert chip.run().results[-1] == ("enrolled", 0, 0), "and then it takes a good one"
    taken = chip.get("client.crt"), chip.get("client.key")
    server.answers.paths[PATH] = lambda head: answer(request_of(head))
    chip.run(ntp=NOW + LAST_THIRD, chance=3)
    assert (chip.get("client.crt"), chip.get("client.key")) == taken, "nor does it lose one that it has"
    server.answers.certificates.clear()
    chip.run()
    assert server.answers.certificates[0] == taken[0]


@pytest.mark.parametrize("answer", ["404 Not Found", "403 Forbidden"])
def test_who_has_no_code_is_not_told_of_an_error(answer: str, chip: Device, server: Server) -> None:
    server.answers.paths[PATH] = offering(answer)
    chip.settings["port"] = server.answers.port
    assert chip.run().results == [("up-to-date", 0, 0)]
    assert len(server.asked) == 1


def test_at_the_real_server(start_server: StartServer, chip: Device, world: World) -> None:
    """By a claim code; the request waits there, and is signed where the authorities are."""
    server = start_server()
    chip.settings.update(port=server.port, claim="0000-0000-0000-0000")
    chip.run()
    server.logs("client.crt", "status=403")
    chip.settings["claim"] = claimed(server)[1]
    chip.run()
    (waits,) = client.waiting(operator(server), PRODUCT)
    assert waits.proof == "claim"
    client.answer(operator(server), PRODUCT, waits.device, sign(world, waits.request))
    assert chip.run().results[-1] == ("enrolled", 0, 0)


def test_who_was_at_the_bench_needs_no_code(start_server: StartServer, chip: Device, world: World) -> None:
    server = start_server()
    chip.settings["port"] = server.port
    with at_bench(chip, claim="") as bench:
        name, key, _ = bench.meet()
        operator(server).enrol(PRODUCT, "5C:CF:7F:F0:04:CB", bytes.fromhex(key))
        assert name == "5ccf7ff004cb"
    chip.run()
    (waits,) = client.waiting(operator(server), PRODUCT)
    assert (waits.proof, waits.device) == ("key", "5C:CF:7F:F0:04:CB")
    client.answer(operator(server), PRODUCT, waits.device, sign(world, waits.request))
    assert chip.run().results[-1] == ("enrolled", 0, 0)


def sec1(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@pytest.mark.parametrize("replaces", [1, 0])
@pytest.mark.parametrize("kind", CHIPS)
def test_a_power_cut_leaves_one_pair_or_the_other(
    kind: str, replaces: int, request: pytest.FixtureRequest, world: World, tmp_path: Path
) -> None:
    if kind == "esp8266" and not replaces:
        pytest.skip("its only filesystem renames over a file")
    programs = request.getfixturevalue("programs" if kind == "esp8266" else "esp32_programs")
    old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    files = {
        "key": public.public_pem(world.key.public_key()),
        "identity": identity(OWN),
        "certs": pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())),
        "old_key": sec1(old),
        "old": sign(world, enrolling.csr(old)),
        "new_key": sec1(new),
        "new": sign(world, enrolling.csr(new), 398),
    }
    found = matrix(programs, tmp_path, "renew", files, str(NOW + DAYS * DAY - DAY), str(replaces))
    assert found["old"] > 0
    assert found["new"] > 0
    assert (found["mixed"], found["unusable"], found["stuck"]) == (0, 0, 0), found
