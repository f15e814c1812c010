"""Firmware that is not in memory: read and hashed beside the event loop, once for all who wait for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from otaseal import files
from otaseal.keys.public import public_pem
from otaseal.release.channels import Pointer
from otaseal.server import catalog
from otaseal.server.device_api.answers import DeviceRequest, LaterError
from otaseal.server.device_api.app import MAX_PATH, DeviceApp
from otaseal.server.device_api.heads import Head
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.tls import ClientCertificate
from otaseal.store.documents import AUDIT, PRODUCTS, blob_name
from otaseal.store.files import DEVICES_FILE
from otaseal.store.labels import Label
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.store import Store
from support.device_apps import make_app
from support.releases import make_release
from support.servers import StartServer, World, get, publish, talk, until

BLOB = b"firmware of a device" * 1000
ASKED = DeviceRequest(Head("GET", "/blink/firmware.bin.signed", (), "1.1", keeps=True, has_body=False))


@pytest.fixture
def app(tmp_path: Path, world: World) -> Iterator[DeviceApp]:
    store = Store.create(tmp_path / "store")
    store.add_key("blink", "signing", public_pem(world.key.public_key()))
    store.publish(make_release("1.0", BLOB), [BLOB], by="test")
    store.point("blink", "stable", Pointer("1.0"), expected=0, by="test")
    with (
        Recorder(store.directory / DEVICES_FILE, print) as recorder,
        Secrets(store.directory / SECRETS_FILE) as secrets,
    ):
        yield make_app(store, recorder, secrets)


def test_no_file_is_read_for_an_answer(app: DeviceApp) -> None:
    with pytest.raises(LaterError) as missing:
        app.answer(ASKED)
    assert missing.value.work() is None
    answer = app.answer(ASKED)
    assert (answer.status, answer.body, answer.delivers) == (200, BLOB, True)


def test_a_poll_looks_at_the_audit_log_alone(app: DeviceApp, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = app.catalog.store.directory
    os.utime(directory / PRODUCTS, (1, 1))  # nothing was changed just now
    monkeypatch.setattr(catalog, "TRUSTED_SECONDS", 1e9)
    app.catalog.warm()
    headers = ((b"x-esp8266-sta-mac", b"5C:CF:7F:F0:04:CB"), (b"x-esp8266-mode", b"sketch"))
    poll = DeviceRequest(Head("GET", ASKED.head.path, headers, "1.0", keeps=False, has_body=False), None, "127.0.0.1")
    looks: list[str] = []
    stamp = files.stamp

    def look(path: Path | str) -> files.Stamp | None:
        looks.append(os.path.relpath(path, directory))
        return stamp(path)

    first = app.answer(poll)
    monkeypatch.setattr(files, "stamp", look)
    assert app.answer(poll).device == first.device == "mac:5C:CF:7F:F0:04:CB"
    assert looks == [AUDIT]


def test_a_pin_holds_from_the_next_poll_on_and_no_longer(app: DeviceApp) -> None:
    headers = ((b"x-esp8266-sta-mac", b"5C:CF:7F:F0:04:CB"), (b"x-esp8266-mode", b"sketch"))
    poll = ASKED._replace(head=Head("GET", ASKED.head.path, headers, "1.1", keeps=True, has_body=False))
    other = poll._replace(head=replace(poll.head, headers=((b"x-esp8266-sta-mac", b"5C:CF:7F:00:00:01"), headers[1])))
    codes = [app.answer(poll).code]
    for pinned in (True, False):
        app.labels.set("blink", "mac:5C:CF:7F:F0:04:CB", Label(pinned=pinned))
        codes += [app.answer(asked).code for asked in (poll, other)]
    unpinned = codes[0]
    assert unpinned != "pinned"
    assert codes == [unpinned, "pinned", unpinned, unpinned, unpinned]


def test_what_cannot_be_read_is_an_alarm(app: DeviceApp) -> None:
    with pytest.raises(LaterError) as missing:
        app.answer(ASKED)
    (app.catalog.store.directory / blob_name(app.catalog.release("blink", "1.0").forms[0].blob)).write_bytes(BLOB[:-1])
    answer = missing.value.work()
    assert answer is not None
    assert (answer.status, answer.code, answer.alarm) == (503, "corrupt", True)
    with pytest.raises(LaterError):
        app.answer(ASKED)


def test_a_blob_that_was_put_back_is_served_at_once(start_server: StartServer, world: World) -> None:
    signed, request = world.firmware(1).signed, get("/firmware.bin.signed")
    first = start_server()
    publish(first, "1.0", signed)
    assert first.stop() == 0
    (blob,) = first.store.glob("blobs/sha256/*/*")
    blob.write_bytes(signed[:-1])
    server = start_server()
    assert [talk(world.context(), server.port, request).status for _ in range(2)] == [503, 503]
    until(lambda: "code=corrupt" in server.log.read_text(), "no alarm")
    blob.write_bytes(signed)
    assert talk(world.context(), server.port, request).body == signed


@pytest.mark.parametrize(("length", "named"), [(MAX_PATH, False), (MAX_PATH + 1, True)])
def test_the_longest_path(app: DeviceApp, length: int, *, named: bool) -> None:
    head = Head("GET", "/" + "a" * (length - 1), (), "1.1", keeps=True, has_body=False)
    answer = app.answer(DeviceRequest(head))
    assert answer.status == 404
    assert (f"a path of {length} characters" in answer.reason) is named


def test_which_answers_the_loop_breaker_counts(app: DeviceApp) -> None:
    with pytest.raises(LaterError) as missing:
        app.answer(ASKED)
    assert missing.value.work() is None
    anonymous = app.answer(ASKED)
    known = app.answer(DeviceRequest(ASKED.head, ClientCertificate("hall", 1)))
    assert (anonymous.delivers, anonymous.counts) == (True, False)
    assert (known.delivers, known.counts) == (True, True)
