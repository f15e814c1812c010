"""Operators over real TLS: what is refused and why, and what a deployment changes."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client.deployment import Options
from otaseal.errors import InputError, SystemFaultError
from otaseal.image import signed_image
from otaseal.image.firmware import Firmware
from otaseal.release.records import Origin
from otaseal.store.store import Store
from support.images import Signer, build_image
from support.operator_requests import NOW, raw, refusal
from support.rollouts import includes
from support.servers import SECONDS, Reply, Running, as_device, deploy, get, operator, publish, talk


def upload(server: Running, body: bytes, *lines: str, version: str = "9.9", token: str | None = None) -> Reply:
    credentials = f"Authorization: Bearer {server.token if token is None else token}"
    path = f"/v1/products/blink/releases/{version}?created=2030-01-01T00:00:00Z"
    head = get(path, credentials, *(lines or (f"Content-Length: {len(body)}",)), method="PUT")
    return raw(server, head + body)


def test_publish_promote_roll_back(server: Running) -> None:
    one, two, three = (server.world.firmware(seed) for seed in (1, 2, 3))
    publish(server, "1.0", one.signed)
    publish(server, "2.0", two.signed, channel="beta")
    client = operator(server)

    def served(channel: str) -> bytes:
        return talk(server.world.context(), server.port, get(f"/blink/{channel}/firmware.bin.signed")).body

    assert (served("stable"), served("beta")) == (one.signed, two.signed)
    answer = client.post("/v1/products/blink/channels/stable/promote", {"from": "beta"})
    assert (answer["before"], answer["channel"]["version"], answer["channel"]["previous"]) == ("1.0", "2.0", "1.0")
    assert served("stable") == two.signed
    assert client.post("/v1/products/blink/channels/stable/rollback", {})["channel"]["version"] == "1.0"
    assert served("stable") == one.signed
    publish(server, "3.0", three.signed, percent=0)
    assert served("stable") == one.signed, "nobody is meant yet"
    assert client.post("/v1/products/blink/channels/stable/percent", {"percent": 100})["channel"]["percent"] == 100
    assert served("stable") == three.signed
    listed = client.get("/v1/products/blink/releases")
    assert [one["version"] for one in listed["releases"]].count("3.0") == 1
    assert len(listed["releases"]) == 3


def test_a_rollout_reaches_more_and_never_fewer(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    publish(server, "2.0", new.signed, percent=20)
    state = Store.open(server.store).current("blink", "stable")
    assert state is not None
    known = [f"5C:CF:7F:00:00:{n:02X}" for n in range(256)]
    first, later = ({mac for mac in known if includes(f"mac:{mac}", state.pointer.salt, n)} for n in (20, 60))
    macs = [*sorted(first)[:5], *sorted(later - first)[:5], *sorted(set(known) - later)[:5]]

    def meant() -> set[str]:
        context, path = server.world.context(), "/blink/firmware.bin.signed"
        head = {mac: as_device(path, old, mac).replace(b"GET ", b"HEAD ") for mac in macs}
        return {mac for mac in macs if talk(context, server.port, head[mac]).status == 200}

    assert meant() == set(macs[:5])
    operator(server).post("/v1/products/blink/channels/stable/percent", {"percent": 60})
    assert meant() == set(macs[:10])


def test_the_same_release_again_is_the_same(server: Running) -> None:
    signed = server.world.firmware(1).signed
    assert "1.0: 1 file published, read back" in publish(server, "1.0", signed).lines()[0]
    again = publish(server, "1.0", signed)
    assert again.lines()[:2] == [
        f"blink 1.0: 1 file published already, nothing changed, read back as {again.confirmed} do",
        "channel 'stable': 1.0, for every device",
    ]
    assert "channel 'stable': 1.0 -> 1.0, for 50 % of the devices" in publish(server, "1.0", signed, percent=50).lines()
    with pytest.raises(InputError, match="exists already"):
        publish(server, "1.0", server.world.firmware(2).signed)


def test_what_devices_would_refuse_is_refused_here_and_there(server: Running, other_rsa_key: rsa.RSAPrivateKey) -> None:
    good = server.world.firmware(2)
    publish(server, "2.0", good.signed)
    newer = build_image(seed=3, code_size=5000)
    cases = {
        "not signed": good.raw,
        "another key|does not fit|none of": signed_image.sign(newer, Signer(other_rsa_key)),
        "cut short|damaged|trailer": good.signed[:-100],
        "flash mode": signed_image.sign(build_image(seed=4, mode="qio"), Signer(server.world.key)),
        "flash size": signed_image.sign(build_image(seed=4, size="1M"), Signer(server.world.key)),
        "signed twice": good.signed + signed_image.parse(good.signed).signature + (256).to_bytes(4, "little"),
        "over the limit": bytes(4 * 1024 * 1024 + 1),
    }
    import re

    for message, body in cases.items():
        with pytest.raises(InputError, match=message):
            publish(server, "3.0", body)
        said = refusal(upload(server, body), 422)
        assert re.search(message, said), (message, said)
    older = server.world.firmware(5).signed
    with pytest.raises(InputError, match="older than the current"):
        publish(server, "1.0", older)
    publish(server, "1.0", older, allow_downgrade=True)
    server.logs("downgrade=True")


def test_uploads_out_of_bounds_are_refused_before_they_are_read(server: Running) -> None:
    big = 100 * 1024 * 1024
    assert "104857600 bytes" in refusal(upload(server, b"", f"Content-Length: {big}"), 413)
    assert "without Content-Length" in refusal(upload(server, b"", "Transfer-Encoding: chunked"), 411)
    lines = ("Content-Length: 10", "X-Otaseal-Parts: 5,6")
    assert "do not add up" in refusal(upload(server, b"0123456789", *lines), 400)
    for version in ("..", "a%2Fb", "%00", "a" * 65):
        assert upload(server, b"x", version=version).status in (400, 404, 422)


def test_an_unknown_product_is_named(server: Running) -> None:
    with pytest.raises(InputError, match="no product 'lamp'"):
        deploy(operator(server), [b"x"], Origin("lamp", "1.0", NOW.strftime("%Y-%m-%dT%H:%M:%SZ")), Options())


def test_an_upload_that_stops_takes_nothing_away(server: Running) -> None:
    head = get(
        "/v1/products/blink/releases/1.0?created=2030-01-01T00:00:00Z",
        f"Authorization: Bearer {server.token}",
        "Content-Length: 50000",
        method="PUT",
    )
    with (
        socket.create_connection(("127.0.0.1", server.operators), SECONDS) as raw_socket,
        server.world.context().wrap_socket(raw_socket, server_hostname="localhost") as connection,
    ):
        connection.sendall(head + b"x" * 1000)
    publish(server, "1.0", server.world.firmware(1).signed)


def test_the_audit_log_keeps_whether_a_release_was_rehearsed(server: Running) -> None:
    one, two = server.world.firmware(1), server.world.firmware(2)
    release = publish(server, "1.0", one.signed, rehearsal="skipped").release
    publish(server, "2.0", two.signed)
    log = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    assert [line.get("rehearsal") for line in log if line["event"] == "publish"] == ["skipped", None]
    with pytest.raises(InputError, match="rehearsal 'lovely' is unknown"):
        publish(server, "3.0", server.world.firmware(3).signed, rehearsal="lovely")
    state = operator(server).get("/v1/products/blink")
    assert (state["device_port"], state["device_certificates"]) == (server.port, False)
    assert operator(server).firmware(release) == one.signed
    with pytest.raises(SystemFaultError, match="answers 404"):
        operator(server).firmware(replace(release, version="9.9"))


def test_attachments_come_with_an_upload(server: Running) -> None:
    signed, sbom = server.world.firmware(1).signed, b'{"bomFormat": "CycloneDX"}'
    client = operator(server)
    admitted = client.check([Firmware(signed)], Origin("blink", "1.0", "2026-01-01T00:00:00Z"), Options())
    client.publish(admitted, attachments={"sbom": sbom})
    assert client.fetch("/v1/products/blink/releases/1.0/attachments/sbom") == sbom
    assert client.get("/v1/products/blink/releases")["attachments"] == {"1.0": ["sbom"]}
    assert client.fetch("/v1/products/blink/releases/1.0/attachments/provenance") is None
    with pytest.raises(InputError, match="'licence' is no attachment"):
        client.get("/v1/products/blink/releases/1.0/attachments/licence")


@pytest.mark.parametrize(
    ("header", "status", "error"),
    [
        ("sbom", 400, "X-Otaseal-Attachments 'sbom'"),
        ("sbom=4,sbom=4", 400, "X-Otaseal-Attachments 'sbom=4,sbom=4' names a kind twice"),
        ("provenance=99999999", 413, "the provenance has 99999999 bytes"),
        ("sbom=4", 422, "the sbom is not JSON"),
    ],
)
def test_attachments_that_cannot_be(server: Running, header: str, status: int, error: str) -> None:
    body = server.world.firmware(1).signed + b"{{{{"
    reply = upload(server, body, f"Content-Length: {len(body)}", f"X-Otaseal-Attachments: {header}")
    assert refusal(reply, status) == error
    assert operator(server).get("/v1/products/blink/releases")["releases"] == []
