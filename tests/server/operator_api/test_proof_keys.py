"""The operators' part of proof: keys enrolled from the bench, and accepted from devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone

import pytest

from otaseal.client.client import Client, product_path
from otaseal.errors import InputError
from otaseal.store.proof_keys import ProofKeys, fingerprint
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.tokens import TokenFile
from support.servers import MAC, PRODUCT, Running, StartServer, as_device, operator, publish, talk

KEY = bytes(range(32))
DEVICE = f"mac:{MAC}"


def with_scope(server: Running, channel: str) -> Client:
    token = TokenFile(server.store).issue("scoped", PRODUCT, channel, 1, datetime.now(timezone.utc))[1]
    return operator(server, token)


def enrolled(server: Running) -> dict[str, bytes]:
    with Secrets(server.store / SECRETS_FILE) as secrets:
        keys = ProofKeys(secrets)
        found = {device: keys.get(PRODUCT, device) for device in (DEVICE, "mac:02:00:00:00:00:01")}
    return {device: key.key for device, key in found.items() if key is not None and key.enrolled is not None}


def audited(server: Running) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    return [line for line in lines if line["event"] in ("enrol", "accept")]


def test_a_key_is_enrolled_audited_kept_and_forgotten(start_server: StartServer) -> None:
    server = start_server()
    answer = operator(server).enrol(PRODUCT, MAC.lower(), KEY)
    expected = {"product": PRODUCT, "channel": None, "device": DEVICE, "key": fingerprint(KEY)}
    assert answer == expected
    assert enrolled(server) == {DEVICE: KEY}
    operator(server).enrol(PRODUCT, DEVICE, KEY[::-1])
    assert enrolled(server) == {DEVICE: KEY[::-1]}, "another chip's flash, or a new secret"
    (first, second) = audited(server)
    assert {**expected, "event": "enrol", "by": "token:tests"}.items() <= first.items()
    assert second["key"] == fingerprint(KEY[::-1])
    said = server.log.read_text() + (server.store / "audit.log").read_text()
    assert KEY.hex() not in said
    assert KEY[::-1].hex() not in said
    server.end()
    again = start_server()
    assert enrolled(again) == {DEVICE: KEY[::-1]}
    assert operator(again).post("/v1/products/blink/devices/forget", {"device": DEVICE})["device"] == DEVICE
    assert enrolled(again) == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "no key is given"),
        ({"key": "00" * 31}, "no key is given"),
        ({"key": "zz" * 32}, "no key is given"),
        ({"key": 1}, "no key is given"),
        ({"key": "00" * 32, "device": "x"}, "'device' is not a field here"),
    ],
)
def test_what_is_no_key_is_refused(bare: Running, body: dict[str, object], said: str) -> None:
    path = product_path(PRODUCT, "devices", MAC, "key")
    client = operator(bare)
    headers = {"Content-Type": "application/json"}
    with pytest.raises(InputError, match=said):
        client._json(client._request("PUT", path, json.dumps(body).encode(), headers))
    with pytest.raises(InputError, match="a body of type ''"):
        client.put(path, b"{}")
    with Secrets(bare.store / SECRETS_FILE) as secrets:
        assert secrets.query("SELECT count(*) FROM keys") in ([], [(0,)])


@pytest.mark.parametrize("call", [lambda client, name: client.enrol(PRODUCT, name, KEY), Client.accept])
def test_who_is_no_device_with_a_key_is_refused(bare: Running, call: Callable[..., object]) -> None:
    arguments = (PRODUCT,) if call is Client.accept else ()
    for name in ("cert:kitchen", "unproven:5C:CF:7F:F0:04:CB", "5C:CF:7F:F0:04"):
        with pytest.raises(InputError, match=f"'{name}' is no device with a key"):
            call(operator(bare), *arguments, name)


def test_rights_are_those_to_the_devices_channel_and_of_an_unknown_device_to_all_of_them(
    start_server: StartServer,
) -> None:
    server = start_server()
    firmware = server.world.firmware(1)
    publish(server, "1.0", firmware.signed, channel="beta")
    for channel in ("beta", "stable"):
        with pytest.raises(InputError, match="is not for product 'blink', channel '\\*'"):
            with_scope(server, channel).enrol(PRODUCT, MAC, KEY)
    talk(server.world.context(), server.port, as_device("/blink/beta/firmware.bin.signed", firmware))
    with pytest.raises(InputError, match="is not for product 'blink', channel 'beta'"):
        with_scope(server, "stable").enrol(PRODUCT, MAC, KEY)
    assert not (server.store / SECRETS_FILE).exists()
    assert with_scope(server, "beta").enrol(PRODUCT, MAC, KEY)["channel"] == "beta"
    with pytest.raises(InputError, match="no valid token"):
        Client(server.url, None, server.world.ca).enrol(PRODUCT, MAC, KEY)
    with pytest.raises(InputError, match="has no product 'lamp'"):
        operator(server).enrol("lamp", MAC, KEY)


def test_nothing_is_accepted_of_a_device_that_has_shown_no_key(bare: Running) -> None:
    with pytest.raises(InputError, match=f"'{DEVICE}' of 'blink' has shown no key"):
        operator(bare).accept(PRODUCT, MAC)
