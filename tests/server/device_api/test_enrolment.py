"""Devices that ask for a certificate, at a real server over TLS: who may, what they get, and what nobody gets."""

from __future__ import annotations

import base64
import json
import ssl
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from otaseal.client import enrolments as client
from otaseal.errors import InputError
from otaseal.keys.public import public_pem
from otaseal.pki.profile import Role
from otaseal.server.device_api.app import DeviceRequest, LaterError
from otaseal.server.device_api.enrolment import MAX_WAITING
from otaseal.server.device_api.heads import Head
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.failures import FAILURES
from otaseal.store.files import DEVICES_FILE
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from support import peers
from support.command import process
from support.device_apps import make_app
from support.enrolled_chips import ATTIC, KITCHEN, NOW, Chip, claimed, signed
from support.proving import ProvingDevice
from support.servers import (
    PRODUCT,
    Running,
    StartServer,
    World,
    as_device,
    devices_seen,
    get,
    metrics,
    operator,
    publish,
    run,
    talk,
)


@pytest.fixture
def guarded(world: World, start_server: StartServer) -> Running:
    """Return a server that asks devices for certificates, and has an open door for those without."""
    return start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")


def test_a_claim_code_leads_to_a_certificate(world: World, server: Running, tmp_path: Path) -> None:
    chip, (claim, code) = Chip(), claimed(server)
    first = chip.ask(server, code)
    assert (first.status, first.headers["cache-control"]) == (202, "no-store")
    assert "otaseal_enrolments_waiting 1\n" in metrics(server)
    (waits,) = client.waiting(operator(server), PRODUCT)
    assert (waits.device, waits.proof, waits.credential, waits.renews) == (KITCHEN, "claim", claim.id, False)
    certificate = signed(world, waits.request)
    answered = client.answer(operator(server), PRODUCT, KITCHEN, certificate)
    assert int(answered["serial"], 16) == x509.load_der_x509_certificate(certificate).serial_number
    assert list(client.waiting(operator(server), PRODUCT)) == []
    for path in ("/client.crt", "/blink/client.crt", "/blink/stable/client.crt"):
        got = chip.ask(server, path=path)
        assert (got.status, got.body) == (200, certificate)
        assert got.headers["content-type"] == "application/pkix-cert"
        assert (got.headers["content-length"], got.headers["cache-control"]) == (str(len(certificate)), "no-store")
    other = Chip()
    assert other.ask(server, code).status == 403, "it is for the key in the request, and not for the name"
    assert server.stop() == 0
    log = server.log.read_text()
    assert code not in log
    assert code.replace("-", "") not in log
    assert f"enrolment product=blink device={KITCHEN} proof=claim credential={claim.id}" in log
    audit = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    (line,) = [line for line in audit if line["event"] == "certify"]
    assert (line["device"], line["credential"], line["by"]) == (KITCHEN, claim.id, "token:tests")


def test_curl_and_openssl_enrol(world: World, server: Running, tmp_path: Path) -> None:
    """A request that we did not write, asked for by a client that we did not write."""
    openssl, key, csr = peers.tool("openssl", "openssl"), tmp_path / "key.pem", tmp_path / "device.csr"
    run([openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])
    run([openssl, "req", "-new", "-sha256", "-key", key, "-subj", f"/CN={ATTIC}", "-outform", "DER", "-out", csr])
    _, code = claimed(server, ATTIC)
    out, url = tmp_path / "client.crt", f"https://localhost:{server.port}/blink/client.crt"
    curl = [peers.tool("curl", "curl"), "-sS", "--cacert", world.ca, "-o", out, "-w", "%{http_code}", url]
    asks = [*curl, "-H", f"X-Otaseal-Csr: {base64.b64encode(csr.read_bytes()).decode()}"]
    assert run(asks).stdout == b"403"
    assert run([*asks, "-H", f"X-Otaseal-Claim: {code.lower().replace('-', ' ')}"]).stdout == b"202"
    (waits,) = client.waiting(operator(server), PRODUCT)
    client.answer(operator(server), PRODUCT, ATTIC, signed(world, waits.request))
    assert run(asks).stdout == b"200"
    shown = run([openssl, "x509", "-inform", "DER", "-in", out, "-noout", "-subject", "-pubkey"]).stdout
    assert f"CN = {ATTIC}".encode() in shown or f"CN={ATTIC}".encode() in shown
    assert run([openssl, "pkey", "-in", key, "-pubout"]).stdout in shown


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        ([], 400, "no header 'x-otaseal-csr'"),
        (["X-Otaseal-Csr: " + "A" * 701], 400, "has 701 bytes"),
        (["X-Otaseal-Csr: A", "X-Otaseal-Csr: A"], 400, "given twice"),
        (["X-Otaseal-Csr: 0123-4567-89AB-CDEF"], 400, "of 19 characters, is not in base64"),
        (["X-Otaseal-Csr: " + base64.b64encode(bytes(200)).decode()], 400, "not one whole certificate request"),
        ([f"X-Otaseal-Csr: {base64.b64encode(Chip().request('kitchen')).decode()}"], 400, "which is no MAC address"),
        (Chip().lines("x" * 129), 400, "'x-otaseal-claim' has 129 bytes"),
        (Chip().lines("\xff" * 9), 403, "no such claim code"),
        (Chip().lines("0000-0000-0000-0000"), 403, "no such claim code"),
        (Chip().lines(), 403, "takes a claim code, an enrolled key"),
    ],
)
def test_what_is_refused(bare: Running, lines: list[str], status: int, said: str) -> None:
    reply = talk(bare.world.context(), bare.port, get("/blink/client.crt", *lines))
    assert reply.status == status
    assert said in reply.body.decode()
    assert reply.headers.get("cache-control") == "no-store"
    assert "\xff" not in bare.log.read_text()


def test_another_products_and_another_paths_headers(bare: Running) -> None:
    chip = Chip()
    assert chip.ask(bare, path="/lamp/client.crt").status == 404
    assert chip.ask(bare, path="/a/b/c/client.crt").status == 404
    reply = talk(bare.world.context(), bare.port, get("/blink/firmware.bin.signed", *chip.lines()))
    assert (reply.status, b"x-otaseal-csr" in reply.body) == (400, True), "the long header is for its own path"
    assert talk(bare.world.context(), bare.port, get("/blink/client.crt", method="POST")).status == 405
    head = talk(bare.world.context(), bare.port, get("/blink/client.crt", *chip.lines(), method="HEAD"))
    assert (head.status, head.body) == (403, b"")


def test_a_request_that_its_key_did_not_sign(bare: Running) -> None:
    request = bytearray(Chip().request())
    request[-1] ^= 1
    line = f"X-Otaseal-Csr: {base64.b64encode(request).decode()}"
    reply = talk(bare.world.context(), bare.port, get("/blink/client.crt", line))
    assert (reply.status, b"not signed by the key in it" in reply.body) == (400, True)


def test_a_certificate_renews_its_own_name_and_a_revoked_one_nothing(
    world: World, guarded: Running, tmp_path: Path
) -> None:
    old, new = Chip(ATTIC), Chip(ATTIC)
    before = signed(world, old.request())
    folder = old.keep(before, tmp_path / "old")
    assert new.ask(guarded, client=folder).status == 202
    (waits,) = client.waiting(operator(guarded), PRODUCT)
    serial = x509.load_der_x509_certificate(before).serial_number
    assert (waits.proof, waits.credential, waits.renews) == ("certificate", f"{serial:x}", True)
    assert Chip(KITCHEN).ask(guarded, client=folder).status == 403, "it renews no other device's"
    after = signed(world, waits.request)
    client.answer(operator(guarded), PRODUCT, ATTIC, after)
    got = new.ask(guarded, client=folder)
    assert (got.status, got.body) == (200, after)
    fresh = new.keep(got.body, tmp_path / "new")
    assert talk(world.context(fresh), guarded.port, get("/blink/firmware.bin.signed")).status == 404, "let in with it"
    world.pki.revoke(Role.DEVICE, ATTIC, now=NOW)
    for revoked in (folder, fresh):
        with pytest.raises((ssl.SSLError, ConnectionResetError, AssertionError)):
            Chip(ATTIC).ask(guarded, client=revoked)
    assert list(client.waiting(operator(guarded), PRODUCT)) == []


@pytest.mark.parametrize("last", [True, False], ids=["before the proof", "as the library"])
def test_an_enrolled_key_asks_without_a_code(world: World, server: Running, *, last: bool) -> None:
    chip, prover = Chip(), ProvingDevice(KITCHEN)
    assert chip.ask_proving(server, prover, last=last) == "403 unknown", "nobody vouched for it"
    operator(server).enrol(PRODUCT, KITCHEN, prover.key)
    assert chip.ask_proving(server, ProvingDevice(KITCHEN), last=last) == "403 wrong", "another key"
    assert chip.ask(server).status == 403, "no proof"
    assert chip.ask_proving(server, prover, last=last) == "202"
    (waits,) = client.waiting(operator(server), PRODUCT)
    assert (waits.device, waits.proof, waits.credential) == (KITCHEN, "key", "")
    assert Chip(ATTIC).ask_proving(server, prover, last=last).startswith("403"), "for its own name alone"
    prover.clock -= 9
    assert Chip().ask_proving(server, prover, last=last).startswith("403 after "), "a replay"
    client.answer(operator(server), PRODUCT, KITCHEN, certificate := signed(world, waits.request))
    assert chip.ask_proving(server, prover, last=last) == "200"
    assert chip.ask(server).body == certificate


def test_an_open_code_and_a_device_that_has_a_key(world: World, server: Running) -> None:
    """The key of first contact is nobody's word, but it keeps others from the name."""
    prover, (_, code) = ProvingDevice(KITCHEN), claimed(server)
    chip = Chip()
    assert [chip.ask_proving(server, prover) for _ in range(3)] == ["403 unknown", "403", "403"]
    assert Chip().ask(server, code).status == 403
    assert chip.ask_proving(server, prover, code) == "202"
    operator(server).enrol(PRODUCT, ATTIC, prover.key)  # as an operator may with a copied one
    server.logs("cloned alarm=True", f"the key of 'mac:{ATTIC}' of 'blink' is shown by 'mac:{KITCHEN}', too")


def test_an_open_code_and_the_request_that_makes_the_key_known(world: World, server: Running) -> None:
    """What a new device asks at its first poll: whoever shows a key that nobody had before has just proved it."""
    chip, prover, (_, code) = Chip(), ProvingDevice(KITCHEN), claimed(server, uses=2)
    assert chip.ask_proving(server, prover) == "403 unknown"
    assert chip.ask_proving(server, prover, code) == "202"
    assert Chip().ask_proving(server, ProvingDevice(KITCHEN, shows=True), code) == "403 wrong", "somebody else"


def test_a_copied_certificate_is_seen(world: World, guarded: Running, tmp_path: Path) -> None:
    firmware, chip = world.firmware(1), Chip("5C:CF:7F:00:00:0C")
    publish(guarded, "1.0", firmware.signed)
    folder = chip.keep(signed(world, chip.request()), tmp_path / "own")
    for mac in (chip.name, "5C:CF:7F:00:00:0D", chip.name, "5C:CF:7F:00:00:0D"):
        poll = as_device("/blink/firmware.bin.signed", firmware, mac)
        assert talk(world.context(folder), guarded.port, poll).status == 304
    guarded.logs("cloned alarm=True", "on two chips, 5C:CF:7F:00:00:0C and 5C:CF:7F:00:00:0D")
    (seen,) = devices_seen(guarded)
    assert (seen["device"], seen["other_mac"]) == (f"cert:{chip.name}", chip.name)
    (tmp_path / "token").write_text(guarded.token)
    (tmp_path / "token").chmod(0o600)
    where = ("--server", guarded.url, "--product", "blink", "--ca", world.ca, "--token-file", "token")
    listed = process("devices", *where, cwd=tmp_path).succeeded().out
    assert f"CLONED: {chip.name} showed its certificate or key, too" in listed
    assert sum(line.startswith("cloned ") for line in guarded.lines()) == 1
    problems = operator(guarded).get("/healthz")["problems"]
    assert any("is on two chips" in problem for problem in problems)


def test_a_new_device_enrols_where_a_certificate_or_a_key_is_demanded(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    """From the first request to firmware: only --require-proof lets a device in that has no certificate yet."""
    authority = world.pki.directory / "device-ca" / "certificate.pem"
    server = start_server("--device-ca", authority, "--require-proof")
    firmware, chip, (_, code) = world.firmware(1), Chip("5C:CF:7F:00:00:0E"), claimed(server)
    publish(server, "1.0", firmware.signed)
    poll = as_device("/blink/firmware.bin.signed", world.firmware(2), chip.name)
    assert talk(world.context(), server.port, poll).status == 403
    assert chip.ask(server, code).status == 202
    (waits,) = client.waiting(operator(server), PRODUCT)
    client.answer(operator(server), PRODUCT, chip.name, signed(world, waits.request))
    folder = chip.keep(chip.ask(server).body, tmp_path / "own")
    assert talk(world.context(folder), server.port, poll).body == firmware.signed
    again = Chip(chip.name)
    assert again.ask(server).status == 403
    world.pki.revoke(Role.DEVICE, chip.name, now=NOW)
    with pytest.raises((ssl.SSLError, ConnectionResetError, AssertionError)):
        again.ask(server, client=folder)
    assert again.ask(server, code).status == 403, "and the code is used up"


def test_only_what_waits_is_taken_and_only_from_the_devices_authority(
    world: World, guarded: Running, tmp_path: Path
) -> None:
    holder, chip, other = Chip(), Chip(), Chip()
    folder = holder.keep(signed(world, holder.request()), tmp_path / "holder")
    assert chip.ask(guarded, client=folder).status == 202
    stranger = World.create(tmp_path / "other", world.key)
    server_certificate = x509.load_pem_x509_certificate(world.chain.read_bytes())
    for certificate, said in (
        (signed(world, other.request()), "is not for the key of"),
        (signed(stranger, chip.request()), "is not from the server's --device-ca"),
        (signed(world, chip.request(ATTIC)), f"not of '{KITCHEN}'"),
        (server_certificate.public_bytes(Encoding.DER), f"not of '{KITCHEN}'"),
        (b"", "certificate"),
        (b"x" * 20_000, "a body of more than 16384 bytes"),
    ):
        with pytest.raises(InputError, match=said):
            client.answer(operator(guarded), PRODUCT, KITCHEN, certificate)
    good = signed(world, chip.request())
    for device in (ATTIC, "kitchen"):
        with pytest.raises(InputError):
            client.answer(operator(guarded), PRODUCT, device, good)
    assert [one.device for one in client.waiting(operator(guarded), PRODUCT)] == [KITCHEN]
    pem = x509.load_der_x509_certificate(good).public_bytes(Encoding.PEM)
    client.answer(operator(guarded), PRODUCT, f"mac:{KITCHEN}".lower(), pem)
    assert chip.ask(guarded, client=folder).body == good


def test_so_many_wait_and_others_come_back(world: World, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    store.add_key(PRODUCT, "signing", public_pem(world.key.public_key()))
    headers = [(name.lower().encode(), value.encode()) for name, value in (one.split(": ") for one in Chip().lines())]
    head = Head("GET", "/blink/client.crt", tuple(headers), "1.1", keeps=True, has_body=False)
    with Recorder(store.directory / DEVICES_FILE, print) as recorder:
        app, waiting = make_app(store, recorder), []
        for _ in range(MAX_WAITING):
            with pytest.raises(LaterError) as later:
                app.answer(DeviceRequest(head))
            waiting.append(later.value)
        assert (app.answer(DeviceRequest(head)).status, app.answer(DeviceRequest(head)).code) == (503, "busy")
        for one in waiting:
            answer = one.work()
            assert answer is not None
            assert (answer.status, answer.code, answer.device) == (403, "claim", f"mac:{KITCHEN}")
        with pytest.raises(LaterError):
            app.answer(DeviceRequest(head))


def test_who_may_change_one_channel_answers_nobody(world: World, server: Running) -> None:
    chip, (_, code) = Chip(), claimed(server)
    chip.ask(server, code)
    good = signed(world, chip.request())
    tokens = TokenFile(server.store)
    for product, channel in (("blink", "beta"), ("lamp", "*")):
        _, token = tokens.issue("some", product, channel, 1, datetime.now(timezone.utc))
        with pytest.raises(InputError, match="is not for"):
            client.answer(operator(server, token), PRODUCT, KITCHEN, good)
    _, token = tokens.issue("all", "blink", "*", 1, datetime.now(timezone.utc))
    client.answer(operator(server, token), PRODUCT, KITCHEN, good)
    assert chip.ask(server).body == good


def test_guessing_is_an_alarm_once_and_locks_nobody_out(server: Running) -> None:
    for number in range(FAILURES + 3):
        assert Chip().ask(server, f"GUES-{number:04}-0000-0000").status == 403
    server.logs("claims alarm=True", "guesses claim codes")
    _, code = claimed(server)
    assert Chip().ask(server, code).status == 202
    assert server.stop() == 0
    assert sum(line.startswith("claims ") for line in server.lines()) == 1
    assert "GUES" not in server.log.read_text()


def test_codes_are_made_listed_and_revoked_beside_the_server(server: Running, tmp_path: Path) -> None:
    store = ("--store", server.store)
    made = process("claim", "new", *store, "--product", "blink", "--uses", "3", cwd=tmp_path).succeeded()
    code = made.out.strip()
    assert "3 devices of 'blink'" in made.err
    assert Chip().ask(server, code).status == 202
    assert Chip(ATTIC).ask(server, code).status == 202
    (listed,) = process("claim", "list", *store, "--json", cwd=tmp_path).succeeded().json
    assert (listed["product"], listed["device"], listed["uses"], listed["used"]) == ("blink", "", 3, 2)
    assert code not in json.dumps(listed)
    revoked = process("claim", "revoke", listed["id"], *store, cwd=tmp_path).succeeded()
    assert "2 requests that waited by it dropped" in revoked.out
    assert Chip("5C:CF:7F:00:00:02").ask(server, code).status == 403
    assert Chip().ask(server).status == 403
    assert process("claim", "list", *store, cwd=tmp_path).succeeded().out == "there is no claim code\n"
    process("claim", "revoke", listed["id"], *store, cwd=tmp_path).failed(1, f"no claim code '{listed['id']}'")
    process("claim", "new", *store, "--product", "lamp", cwd=tmp_path).failed(1, "no product 'lamp'")
    process("claim", "new", *store, "--product", "blink", "--device", "x", cwd=tmp_path).failed(2, "'x' is not a MAC")
    process("claim", "new", *store, "--product", "blink", "--uses", "0", cwd=tmp_path).failed(2, "used '0' times")


def test_forgetting_a_device_lets_it_begin_anew(server: Running) -> None:
    _, code = claimed(server, uses=2)
    chip, again = Chip(), Chip()
    assert chip.ask(server, code).status == 202
    assert again.ask(server, code).status == 403, "an open code takes no name that asks already"
    with pytest.raises(InputError, match="no device 'unproven:"):
        operator(server).post("/v1/products/blink/devices/forget", {"device": f"unproven:{KITCHEN}"})
    assert chip.ask(server).status == 202, "who says its name is somebody else"
    operator(server).post("/v1/products/blink/devices/forget", {"device": f"mac:{KITCHEN}"})
    assert chip.ask(server).status == 403
    assert again.ask(server, code).status == 202
