"""A real server refuses what would lock devices out, its client before it; with consent it does it, and says who."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client.client import Client
from otaseal.client.deployment import Options
from otaseal.errors import InputError, VerificationError
from otaseal.image import gzip_payload, manifest
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from otaseal.keys.public import fingerprint, public_pem
from otaseal.release.records import Origin
from otaseal.release.stranding import Consent
from otaseal.store.store import Store
from support import answers
from support.by_bytes import compress, sign_firmware
from support.command import Result, process
from support.images import Signer, build_image
from support.servers import PRODUCT, SECONDS, Firmware, Running, as_device, deploy, get, operator, publish, talk

BOARD = "nodemcuv2"
PATH = f"/{PRODUCT}/firmware.bin.signed"


def firmware(
    seed: int,
    key: rsa.RSAPrivateKey,
    *carries: rsa.RSAPrivateKey,
    counter: int | None = None,
    library: bool = False,
) -> Firmware:
    """Return a build that `key` signed and that carries these keys; with a counter it has a manifest."""
    claim = None if counter is None else Claim(PRODUCT, BOARD, f"{seed}.0", counter, 1_700_000_000)
    content = b"".join(embedded_key(one.public_key()) for one in carries)
    if library:
        assert claim is not None
        content += manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    raw = build_image(seed=seed, code_size=20_000, embedded=content)
    return Firmware(raw, sign_firmware(raw, Signer(key), embeds_key=False, claim=claim))


def seen(server: Running, running: Firmware, *numbers: int) -> None:
    """Let devices ask that run this."""
    for number in numbers:
        request = as_device(PATH, running, f"5C:CF:7F:00:00:{number:02X}").replace(b"GET ", b"HEAD ", 1)
        assert talk(server.world.context(), server.port, request).status in (200, 304, 403)


def update(server: Running, before: Firmware, after: Firmware, *numbers: int) -> None:
    """Let devices that run one take the other, and come back with it."""
    for number in numbers:
        request = as_device(PATH, before, f"5C:CF:7F:00:00:{number:02X}")
        assert talk(server.world.context(), server.port, request).body == after.signed
    operator(server).get("/v1/products/blink/devices")  # which waits until it is written
    seen(server, after, *numbers)


def audit(server: Running) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    return [line for line in lines if line["event"] == "consent"]


@pytest.fixture
def next_key(server: Running, other_rsa_key: rsa.RSAPrivateKey) -> rsa.RSAPrivateKey:
    """A second key of the product."""
    Store.open(server.store).add_key(PRODUCT, "next", public_pem(other_rsa_key.public_key()))
    return other_rsa_key


def test_a_key_that_devices_do_not_have(server: Running, next_key: rsa.RSAPrivateKey) -> None:
    old = server.world.key
    one, bridge, after = firmware(1, old, old), firmware(2, old, next_key), firmware(3, next_key, next_key)
    publish(server, "1.0", one.signed)
    seen(server, one, 1, 2, 3)
    with pytest.raises(InputError, match=r"^the key .*, is missing in the firmware of 3 devices seen") as caught:
        publish(server, "3.0", after.signed)
    assert "bridge release" in caught.value.hint
    publish(server, "2.0", bridge.signed)
    update(server, one, bridge, 1, 2)
    with pytest.raises(InputError, match=r"in the firmware of 1 device seen"):
        publish(server, "3.0", after.signed)
    update(server, one, bridge, 3)
    publish(server, "3.0", after.signed)
    update(server, bridge, after, 1, 2, 3)
    for version in ("1.0", "2.0"):
        with pytest.raises(InputError, match=r"the server refuses: the key .* firmware of 3 devices seen"):
            operator(server).post("/v1/products/blink/channels/stable/promote", {"version": version})
    assert audit(server) == []
    answer = operator(server).post(
        "/v1/products/blink/channels/stable/promote", {"version": "2.0", "strand_devices": True}
    )
    assert answer["channel"]["version"] == "2.0"
    (line,) = audit(server)
    assert (line["version"], line["stranded_devices"], line["by"]) == ("2.0", 3, "token:tests")
    assert "raised_counter" not in line


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.9.9"])
def test_one_request_in_its_name_does_not_make_the_server_forget_a_device(
    server: Running, next_key: rsa.RSAPrivateKey, source: str
) -> None:
    """Neither from elsewhere nor from the device's own network: no update explains that it has the key now."""
    old = server.world.key
    one, bridge, after = firmware(1, old, old), firmware(2, old, next_key), firmware(3, next_key, next_key)
    publish(server, "1.0", one.signed)
    seen(server, one, 1, 2, 3)
    publish(server, "2.0", bridge.signed)
    update(server, one, bridge, 1, 2)
    request = as_device(PATH, bridge, "5C:CF:7F:00:00:03").replace(b"GET ", b"HEAD ", 1)
    talk(server.world.context(), server.port, request, source)
    with pytest.raises(InputError, match=r"in the firmware of 1 device seen"):
        publish(server, "3.0", after.signed)
    assert operator(server).post("/v1/products/blink/devices/forget", {"device": "mac:5C:CF:7F:00:00:03"})
    publish(server, "3.0", after.signed)


def test_the_server_decides_whatever_its_client_thinks(server: Running, next_key: rsa.RSAPrivateKey) -> None:
    old = server.world.key
    one = firmware(1, old, old, counter=0)
    publish(server, "1.0", one.signed)
    seen(server, one, 1)

    def put(body: bytes, query: str) -> tuple[int, str]:
        head = get(
            f"/v1/products/blink/releases/2.0?created=2030-01-01T00:00:00Z&{query}",
            f"Authorization: Bearer {server.token}",
            f"Content-Length: {len(body)}",
            method="PUT",
        )
        reply = talk(server.world.context(), server.operators, head + body)
        return reply.status, json.loads(reply.body).get("error", "")

    status, error = put(firmware(2, next_key, next_key, counter=0).signed, "raise_counter=1")
    assert (status, "is missing in the firmware of 1 device seen" in error) == (422, True)
    status, error = put(firmware(2, old, old, counter=1).signed, "strand_devices=1")
    assert (status, "the security counter rises from 0 to 1" in error) == (422, True)
    raw = build_image(seed=2)
    for claim, refused in (
        (Claim("blank", BOARD, "2.0", 0, 0), "the manifest is for another product than 'blink'"),
        (Claim(PRODUCT, BOARD, "1.0", 0, 0), "the manifest is for version '1.0', and the release is called '2.0'"),
    ):
        status, error = put(sign_firmware(raw, Signer(old), embeds_key=False, claim=claim), "")
        assert (status, refused in error) == (422, True)
    assert Store.open(server.store).releases(PRODUCT) == ("1.0",), "what is refused is not stored"
    assert audit(server) == []
    assert put(firmware(2, old, old, counter=1).signed, "raise_counter=1") == (200, "")
    assert [line["raised_counter"] for line in audit(server)] == [[0, 1]]


def test_a_counter_on_the_command_line(server: Running, tmp_path: Path) -> None:
    """Deploy, raise, lower, roll back: what `otaseal` says to a person, and what it takes to go on."""
    key = server.world.key
    low, high = (firmware(n, key, key, counter=n, library=True) for n in (1, 2))
    (tmp_path / "low.signed").write_bytes(low.signed)
    (tmp_path / "high.signed").write_bytes(high.signed)
    (tmp_path / "low again.signed").write_bytes(firmware(3, key, key, counter=1, library=True).signed)
    where = ["--server", server.url, "--product", PRODUCT, "--ca", str(server.world.ca)]
    token = {"OTASEAL_TOKEN": server.token}

    def otaseal(*arguments: str) -> tuple[int, str, str]:
        done = process(*arguments, *where, cwd=tmp_path, **token)
        return done.code, done.out, done.err

    deploy = ["--board", BOARD, "--version"]
    assert otaseal("deploy", "low.signed", *deploy, "1.0")[0] == 0
    seen(server, low, 1)
    code, _, err = otaseal("deploy", "high.signed", *deploy, "2.0")
    assert (code, "the security counter rises from 1 to 2" in err, "--raise-counter" in err) == (1, True, True)
    assert otaseal("deploy", "high.signed", *deploy, "2.0", "--raise-counter")[0] == 0
    assert "security counter 2" in otaseal("releases")[1]
    code, _, err = otaseal("deploy", "low again.signed", *deploy, "3.0", "--allow-downgrade")
    assert (code, "security counter 1 is below 2" in err) == (1, True)
    assert "--allow-downgrade does not help" in err

    code, out, _ = otaseal("rollback", "--json")
    assert (code, json.loads(out)["channel"]["version"]) == (0, "1.0"), "nobody runs 2.0 yet: nobody is stranded"
    code, _, err = otaseal("promote", "--version", "2.0")
    assert (code, "rises from 1 to 2" in err) == (1, True)
    assert otaseal("promote", "--version", "2.0", "--raise-counter")[0] == 0
    update(server, low, high, 1)
    code, _, err = otaseal("rollback")
    assert (code, "is refused by 1 device seen with the OtaSeal library" in err) == (1, True)
    assert otaseal("rollback", "--strand-devices")[0] == 0
    agreed = [(line["version"], line.get("raised_counter"), line.get("stranded_devices")) for line in audit(server)]
    assert agreed == [("2.0", [1, 2], None), ("2.0", [1, 2], None), ("1.0", None, 1)]


def test_the_version_of_the_manifest_is_that_of_the_release(server: Running, tmp_path: Path) -> None:
    """Named or not, and whatever git says where the command runs: what is published is what was signed."""
    key = server.world.key
    for name in ("1", "2"):
        (tmp_path / f"{name}.signed").write_bytes(firmware(int(name), key, key, counter=0, library=True).signed)
    git = ["git", "-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "v9"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True, capture_output=True)
    where = ["--server", server.url, "--product", PRODUCT, "--ca", server.world.ca, "--json"]

    def deploy(name: str, *options: str) -> Result:
        return process("deploy", name, *where, *options, cwd=tmp_path, OTASEAL_TOKEN=server.token)

    assert deploy("1.signed").succeeded().json["version"] == "1.0"
    deploy("1.signed", "--version", "1.1").failed(1, "for version '1.0', and the release is called '1.1'")
    assert deploy("2.signed", "--version", "2.0").succeeded().json["version"] == "2.0"
    assert Store.open(server.store).releases(PRODUCT) == ("1.0", "2.0")


def test_a_server_that_records_something_else_is_found_out(server: Running) -> None:
    """In between stands who changes the server's answer, as a faulty server would give it."""
    one = firmware(1, server.world.key, server.world.key, counter=3)
    origin = Origin(PRODUCT, "1.0", "2030-01-31T12:00:00Z", BOARD)
    for old, new in (
        (b'"version": "1.0"', b'"version": "1.1"'),
        (b'"security_counter": 3', b'"security_counter": 0'),
        (b'"product": "blink"', b'"product": "blank"'),
    ):
        with relayed(server, old, new) as port:
            client = Client(f"https://localhost:{port}", server.token, server.world.ca)
            with pytest.raises(VerificationError, match="the server has recorded"):
                deploy(client, [one.signed], origin, Options())


def relayed(server: Running, old: bytes, new: bytes) -> contextlib.AbstractContextManager[int]:
    """Stand before the operators' port; in answers to a PUT, the first `old` becomes `new`, which is as long."""
    ours, theirs = answers.context(server.world), server.world.context()

    def serve(raw: socket.socket) -> None:
        with (
            ours.wrap_socket(raw, server_side=True) as client,
            socket.create_connection(("127.0.0.1", server.operators), SECONDS) as plain,
            theirs.wrap_socket(plain, server_hostname="localhost") as upstream,
        ):
            asked = client.recv(65536)
            put = asked.startswith(b"PUT")
            length = int((re.search(rb"(?i)content-length: ([0-9]+)", asked) or [b"", b"0"])[1])
            while len(asked) < asked.index(b"\r\n\r\n") + 4 + length:
                asked += client.recv(65536)
            upstream.sendall(asked.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = b""
            while piece := upstream.recv(65536):
                answer += piece
            assert not put or old in answer, answer
            client.sendall(answer.replace(old, new, 1) if put else answer)

    return answers.listening(serve)


def test_of_unknown_devices_there_is_a_warning(server: Running, next_key: rsa.RSAPrivateKey) -> None:
    old = server.world.key
    publish(server, "1.0", firmware(1, old, old).signed)
    seen(server, firmware(9, old, old), 1, 2)
    done = publish(server, "2.0", firmware(2, next_key, next_key).signed)
    assert "warning: it is unknown whether the firmware of 2 devices seen" in "\n".join(done.lines())  # type: ignore[attr-defined]


def test_records_of_the_format_before_are_read_and_stay(server: Running) -> None:
    key = server.world.key
    one = firmware(1, key, key)
    publish(server, "1.0", one.signed)
    path = server.store / "products" / PRODUCT / "releases" / "1.0.json"
    record = json.loads(path.read_text())
    assert (record.pop("format"), record.pop("security_counter"), record.pop("board_id")) == (2, None, None)
    assert (record.pop("embedded_keys"), record.pop("library")) == ([fingerprint(key.public_key())], False)
    old = json.dumps({"format": 1, **record}, indent=2, sort_keys=True) + "\n"
    path.write_text(old)
    store = Store.open(server.store)
    release = store.release(PRODUCT, "1.0")
    assert (release.embedded_keys, release.security_counter, release.library) == (None, None, False)
    store.publish(release, [one.signed])
    assert path.read_text() == old
    publish(server, "2.0", firmware(2, key, key, counter=0).signed)


def test_both_forms_of_a_build_with_a_manifest(server: Running) -> None:
    """The server gives the gzip to who can take it, and to a plain client what the build made."""
    key = server.world.key
    claim = Claim(PRODUCT, BOARD, "2.0", 0, 1_700_000_000)
    one = firmware(1, key, key)
    publish(server, "1.0", one.signed)
    raw = build_image(seed=2, code_size=20_000, embedded=bytes(60_000))
    signed, packed = (
        sign_firmware(payload, Signer(key), embeds_key=False, claim=claim) for payload in (raw, compress(raw, "gzip"))
    )
    other = replace(claim, counter=1)
    stranger = sign_firmware(gzip_payload.compress(raw), Signer(key), embeds_key=False, claim=other)
    with pytest.raises(InputError, match="not the raw and the gzip form of one build"):
        publish(server, "2.0", signed, stranger)
    publish(server, "2.0", signed, packed)
    context = server.world.context()
    assert talk(context, server.port, as_device(PATH, one)).body == packed
    assert talk(context, server.port, get(PATH)).body == signed
    assert manifest.find(gzip_payload.pad4(packed[: -4 - 256])) == manifest.find(signed[: -4 - 256])


def test_with_consent_the_options_reach_the_server(server: Running) -> None:
    key = server.world.key
    publish(server, "1.0", firmware(1, key, key, counter=0).signed)
    publish(server, "2.0", firmware(2, key, key, counter=3).signed, consent=Consent(raise_counter=True))
    assert [line["raised_counter"] for line in audit(server)] == [[0, 3]]
