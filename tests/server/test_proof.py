"""Devices that prove their names: what they may do, and what nobody else may do in their names."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from otaseal.chips.boot_image import FlashMode
from otaseal.keys.public import public_pem
from otaseal.release.channels import Pointer
from otaseal.release.evidence import Evidence
from otaseal.server.device_api.answers import Answer, DeviceRequest, LaterError
from otaseal.server.device_api.app import DeviceApp
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.device_api.request_parser import RequestParser
from otaseal.server.tls import ClientCertificate
from otaseal.store.backup import backup, restore
from otaseal.store.device_rows import Device
from otaseal.store.devices import Devices
from otaseal.store.files import DEVICES_FILE
from otaseal.store.known_keys import REPLACED_SECONDS
from otaseal.store.proof_keys import ProofKeys
from otaseal.store.rollout_rows import Rollout
from otaseal.store.secrets import SECRETS_FILE, Secrets
from otaseal.store.store import Store
from support.clock import Clock
from support.device_apps import make_app
from support.proving import ProvingDevice, plausible
from support.releases import make_archive, make_release
from support.servers import MAC, World

CAPABILITIES = "1 proof enroll"
OLD, NEW = "0" * 32, "f" * 32
HOME, AWAY, ELSEWHERE = "192.0.2.1", "198.51.100.2", "203.0.113.3"
FIRMWARE, CERTS = "/blink/firmware.bin.signed", "/blink/certs.ar.signed"
BLOB = b"firmware" * 100
RELEASE = replace(make_release("1.0", BLOB), flash_mode=FlashMode.DIO)
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_900_000_000.0)
    monkeypatch.setattr(time, "time", clock)
    return clock


class Served(NamedTuple):
    """What answers, and what it records in."""

    app: DeviceApp
    recorder: Recorder
    store: Store

    def ask(self, request: bytes, address: str = HOME, certificate: ClientCertificate | None = None) -> Answer:
        """Return the answer to a request, with a proof or without, all of which arrives."""
        (received,) = RequestParser().feed(request)
        asked = DeviceRequest(received.head, certificate, address, received.proof, received.mac)
        try:
            answer = self.app.answer(asked)
        except LaterError as later:
            asked = later.request or asked
            answer = later.work() or self.app.answer(asked)
        self.app.account(asked, answer, len(answer.body), True)
        return answer

    def rows(self) -> dict[str, Device]:
        """Return what is known of each device."""
        assert self.recorder.flush(10)
        with Devices(self.store.directory / DEVICES_FILE) as devices:
            return {device.device: device for device in devices.list("blink")}

    def evidence(self, began: float) -> dict[Evidence, int]:
        """Return how many devices count as what in a rollout that began then."""
        self.rows()
        with Devices(self.store.directory / DEVICES_FILE) as devices:
            tally = devices.tally("blink", "stable", Rollout("1.0", began), time.time(), None)
        return {kind: int(counts.eligible) for kind, counts in tally.devices.items()}


def make_store(folder: Path, world: World) -> Store:
    store = Store.create(folder)
    store.add_key("blink", "signing", public_pem(world.key.public_key()))
    store.publish(RELEASE, [BLOB], by="test")
    store.point("blink", "stable", Pointer("1.0"), expected=0, by="test")
    store.publish_archive("blink", "stable", make_archive(b"certs"), b"certs", expected=0)
    return store


@pytest.fixture
def served(tmp_path: Path, world: World, clock: Clock) -> Iterator[Served]:
    store = make_store(tmp_path / "store", world)
    with serving(store) as one:
        yield one


@contextlib.contextmanager
def serving(store: Store) -> Iterator[Served]:
    with (
        Recorder(store.directory / DEVICES_FILE, print) as recorder,
        Secrets(store.directory / SECRETS_FILE) as secrets,
    ):
        yield Served(make_app(store, recorder, secrets), recorder, store)


def asking(mac: str = MAC, md5: str = OLD, path: str = FIRMWARE) -> bytes:
    """Return what a device with a library of before says, or a stock one."""
    lines = (f"GET {path} HTTP/1.1", "Host: x", f"x-ESP8266-STA-MAC: {mac}", f"x-ESP8266-sketch-md5: {md5}")
    return "\r\n".join([*lines, "x-ESP8266-mode: sketch", "", ""]).encode()


def poll(served: Served, device: ProvingDevice, address: str = HOME, md5: str = OLD) -> str:
    """Poll as the library does: for firmware, whose answer it cannot read, and for certificates. Return its advice.

    The second request is not the core's updater's, and names the device in nothing but its proof.
    """
    served.ask(device.prove(asking(device.mac, md5)), address)
    answer = served.ask(device.prove(f"GET {CERTS} HTTP/1.1\r\nHost: x\r\n\r\n".encode()), address)
    return device.heed({name.lower(): value for name, value in answer.headers})


def known(served: Served, device: ProvingDevice | None = None, address: str = HOME) -> ProvingDevice:
    """Return a device that has agreed its key, and has proved it since."""
    device = device or ProvingDevice(MAC)
    assert [poll(served, device, address) for _ in range(3)] == ["unknown", "", ""]
    return device


def test_a_key_is_agreed_at_first_contact_and_proves_from_then_on(served: Served, clock: Clock) -> None:
    device = ProvingDevice(MAC)
    first = served.ask(device.prove(asking()))
    said = dict(first.headers)
    assert (said["X-Otaseal-Capabilities"], said["X-Otaseal-Proof"]) == (CAPABILITIES, "unknown")
    assert served.rows()[f"mac:{MAC}"].sequence is None
    device.shows = True
    agreed = served.ask(device.prove(asking()))
    assert "X-Otaseal-Proof" not in dict(agreed.headers)
    assert served.rows()[f"mac:{MAC}"].sequence is None, "what is said at first contact counts as without proof"
    device.shows = False
    clock.now += HOUR
    proven = served.ask(device.prove(asking()), AWAY)
    assert (proven.device, proven.proven) == (f"mac:{MAC}", True)
    (row,) = served.rows().values()
    assert (row.sequence, row.address, row.enrolled, row.first_seen) == (device.clock, AWAY, None, clock.now - HOUR)


def test_two_devices_whose_requests_differ_in_nothing_but_the_proof(served: Served) -> None:
    first, second = known(served), known(served, ProvingDevice(plausible(2)))
    assert [poll(served, device) for device in (first, second, first, second)] == [""] * 4
    kept = second.prove(f"GET {CERTS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    stolen = kept.replace(second.name.encode(), first.name.encode())
    assert dict(served.ask(stolen).headers)["X-Otaseal-Proof"] == "wrong"


def test_a_device_without_the_header_gets_none(served: Served) -> None:
    answers = [served.ask(asking(path=path)) for path in (FIRMWARE, CERTS, "/nothing/firmware.bin.signed")]
    for answer in answers:
        names = {name for name, _ in answer.headers}
        assert not names & {"X-Otaseal-Capabilities", "X-Otaseal-Proof"}
    assert set(served.rows()) == {f"mac:{MAC}"}


def test_what_the_server_offers_stands_in_every_answer_to_who_asks(served: Served) -> None:
    device = known(served)
    odd = device.prove(asking()).replace(b"sketch-md5: 0", b"sketch-md5: z")
    paths = (FIRMWARE, CERTS, "/blink/beta/firmware.bin.signed", "/nothing/firmware.bin.signed", "/x/y/z/a")
    requests = [device.prove(asking(path=path)) for path in paths] + [device.prove(asking(md5=NEW)), odd]
    for request in requests:
        answer = served.ask(request)
        if answer.status != 400:
            assert [value for name, value in answer.headers if name == "X-Otaseal-Capabilities"] == [CAPABILITIES]


def attacks(device: ProvingDevice, kept: bytes) -> dict[str, bytes]:
    """Return what others can say in a device's name, who have heard one request of it."""
    thief = ProvingDevice(device.mac, clock=device.clock + 1000, shows=True)
    changed = kept.replace(OLD.encode(), NEW.encode())
    return {
        "no proof": asking(device.mac, NEW),
        "a key of their own": thief.prove(asking(device.mac, NEW)),
        "a request that was heard": kept,
        "another request with its proof": changed,
        "the name of another in the proof": ProvingDevice(plausible(1), shows=True).prove(asking(device.mac, NEW)),
    }


@pytest.mark.parametrize("name", attacks(ProvingDevice(MAC), b""))
@pytest.mark.parametrize("address", [HOME, AWAY])
def test_nobody_changes_anything_of_a_device_that_proves_itself(
    served: Served, clock: Clock, name: str, address: str
) -> None:
    """Downloads that loop, an MD5 that is not its own, and silence from home for a week: its row stays as it was."""
    device = known(served)
    kept = device.prove(asking())
    served.ask(kept)
    before = served.rows()[f"mac:{MAC}"]
    assert before.offered == "1.0"
    assert before.deliveries > 0
    for _ in range(5):
        clock.now += DAY
        answer = served.ask(attacks(device, kept)[name], address)
        assert (answer.device, answer.proven) == (f"unproven:{MAC}", False)
    rows = served.rows()
    assert rows[f"mac:{MAC}"] == before
    assert set(rows) == {f"mac:{MAC}", f"unproven:{MAC}"}
    assert served.evidence(clock.now + DAY)[Evidence.NEWCOMER] == 1, "however long it is said"
    assert poll(served, device, md5=NEW) == ""


def test_a_replay_is_told_the_number_to_go_on_behind(served: Served) -> None:
    device = known(served)
    kept = device.prove(asking(path=CERTS))
    assert "X-Otaseal-Proof" not in dict(served.ask(kept).headers)
    assert dict(served.ask(kept).headers)["X-Otaseal-Proof"] == f"after {device.clock}"
    back = device.clock
    device.clock = 5  # a clock that was not set yet
    assert poll(served, device) == f"after {back}"
    assert poll(served, device) == ""


def test_nobody_elsewhere_keeps_the_place_of_a_key_that_a_device_at_home_shows(served: Served, clock: Clock) -> None:
    device, other = known(served), ProvingDevice(MAC)
    keys = served.app.proofs.keys
    for address, one, holds in ((ELSEWHERE, other, other), (HOME, device, device), (ELSEWHERE, other, device)):
        if one is device:
            clock.now += HOUR
            device.lose_secret()
        assert [poll(served, one, address) for _ in range(3)] == ["wrong"] * 3
        waiting = keys.waiting("blink", f"mac:{MAC}")
        assert waiting is not None
        assert waiting.key == holds.key


def test_a_certificate_without_a_name_proves_none(served: Served) -> None:
    device = known(served)
    before = served.rows()[f"mac:{MAC}"]
    nameless = ClientCertificate("", 7)
    served.ask(asking(md5=NEW), ELSEWHERE, nameless)
    rows = served.rows()
    assert rows[f"mac:{MAC}"] == before
    assert rows[f"unproven:{MAC}"].address == ELSEWHERE
    assert served.ask(asking(plausible(1)), ELSEWHERE, nameless).device == f"mac:{plausible(1)}"
    assert served.ask(device.prove(asking()), AWAY, nameless).device == f"mac:{MAC}"


def test_numbers_that_were_written_hold_after_a_restart(served: Served) -> None:
    device = known(served)
    kept = device.prove(asking())
    served.ask(kept)
    rows = served.rows()
    assert rows[f"mac:{MAC}"].sequence is not None
    last = {("blink", name): (row.sequence, row.last_seen) for name, row in rows.items() if row.sequence is not None}
    served.app.proofs.keys.write()
    with (
        Devices(served.store.directory / DEVICES_FILE) as devices,
        Secrets(served.store.directory / SECRETS_FILE) as secrets,
    ):
        assert devices.proofs() == last
        again = ProofKeys(secrets, devices.proofs())
    number, when = last["blink", f"mac:{MAC}"]
    assert [again.advance("blink", f"mac:{MAC}", one, when) for one in (number, number + 1)] == [number, None]


def test_a_fleet_that_was_known_is_confirmed_and_proven_in_one_row_each(served: Served, clock: Clock) -> None:
    """A rollout brings the library that can prove: nothing is counted twice, and who was known stays so."""
    fleet = [ProvingDevice(plausible(number)) for number in range(3)]
    for device in fleet:
        served.ask(asking(device.mac))
    clock.now += DAY
    began = clock.now
    expected = RELEASE.runs[0]
    for device in fleet:
        served.ask(asking(device.mac))
        clock.now += 60
        assert [poll(served, device, md5=expected) for _ in range(3)] == ["unknown", "", ""]
    rows = served.rows()
    assert set(rows) == {f"mac:{device.mac}" for device in fleet}
    for row in rows.values():
        assert row.sequence is not None
        assert row.confirmed_at is not None
        assert row.first_seen < began
    assert served.evidence(began) == {Evidence.KNOWN: 3}


def test_a_lost_secret_counts_as_somebody_else_until_it_is_accepted_or_a_week_has_passed(
    served: Served, clock: Clock
) -> None:
    device = known(served)
    row = served.rows()[f"mac:{MAC}"]
    device.lose_secret()
    assert [poll(served, device) for _ in range(3)] == ["wrong"] * 3
    assert device.shows
    assert served.rows()[f"mac:{MAC}"] == row
    waiting = served.app.proofs.keys.waiting("blink", f"mac:{MAC}")
    assert waiting is not None
    assert (waiting.key, waiting.address) == (device.key, HOME)
    clock.now += REPLACED_SECONDS - 60
    assert poll(served, device) == "wrong"
    clock.now += 120
    poll(served, device)
    assert poll(served, device) == ""
    assert served.rows()[f"mac:{MAC}"].sequence is not None


def test_an_accepted_key_proves_at_once_and_counts_for_itself_in_the_next_rollout(served: Served, clock: Clock) -> None:
    device = known(served)
    device.lose_secret()
    poll(served, device)
    poll(served, device)
    served.app.proofs.keys.enrol("blink", f"mac:{MAC}", device.key, clock.now)
    began = clock.now
    clock.now += HOUR
    assert poll(served, device) == ""
    assert served.rows()[f"mac:{MAC}"].enrolled == began
    assert served.evidence(began) == {Evidence.NEWCOMER: 2}
    assert served.evidence(clock.now) == {Evidence.PROVEN: 1, Evidence.NEWCOMER: 1}


def test_the_first_to_come_has_the_name_only_where_the_device_is_at_home(served: Served, clock: Clock) -> None:
    """A stock device was here before: who says its name elsewhere, with a key, does not take it over."""
    served.ask(asking())
    thief = ProvingDevice(MAC)
    for _ in range(20):
        clock.now += HOUR / 2
        assert poll(served, thief, AWAY) == "unknown"
        served.ask(asking())
    assert set(served.rows()) == {f"mac:{MAC}"}
    assert served.app.proofs.keys.counts()["agreed"] == 0
    clock.now += 7 * HOUR
    assert poll(served, ProvingDevice(MAC, shows=True), AWAY) == "", "nothing was heard from home for six hours"


def test_another_chip_and_a_cloned_flash_are_other_devices(served: Served) -> None:
    device = known(served)
    known(served, ProvingDevice(plausible(7), device.secret))
    assert {name: row.sequence is not None for name, row in served.rows().items()} == {
        f"mac:{MAC}": True,
        f"mac:{plausible(7)}": True,
    }
    assert poll(served, device) == ""


def test_a_flood_of_first_contacts_is_bounded_and_real_keys_stay(served: Served, clock: Clock) -> None:
    keys = served.app.proofs.keys
    keys.limit = 100
    real = [ProvingDevice(plausible(number)) for number in range(10)]
    for device in real:
        known(served, device)
    clock.now += DAY + 1
    for number in range(300):
        served.ask(
            ProvingDevice(plausible(10_000 + number), shows=True).prove(asking(plausible(10_000 + number))), AWAY
        )
    assert keys.counts() == {"enrolled": 0, "agreed": 20, "waiting": 0}
    assert keys.flood()
    assert [poll(served, device) for device in real] == [""] * len(real)


def test_a_restored_server_knows_its_devices_and_without_the_keys_they_agree_again(
    served: Served, clock: Clock, tmp_path: Path
) -> None:
    device = known(served)
    served.app.proofs.keys.write()
    backup(served.store, tmp_path / "a.tar")
    restored = restore(tmp_path / "a.tar", tmp_path / "restored")
    with serving(restored) as again:
        assert poll(again, device, AWAY) == ""
        assert again.rows()[f"mac:{MAC}"].sequence is not None
    (restored.directory / SECRETS_FILE).unlink()
    with serving(restored) as lost:
        assert [poll(lost, device, AWAY) for _ in range(3)] == ["unknown", "", ""]


def test_an_enrolled_device_that_loops_waits_for_a_person_and_one_that_was_agreed_for_an_hour(
    served: Served, clock: Clock
) -> None:
    agreed, enrolled = known(served), ProvingDevice(plausible(1))
    served.app.proofs.keys.enrol("blink", f"mac:{enrolled.mac}", enrolled.key, clock.now - 1)
    codes = []
    for device in (agreed, enrolled):
        for _ in range(4):
            served.ask(device.prove(asking(device.mac)))
        codes.append(served.ask(device.prove(asking(device.mac))).code)
        clock.now += 2 * HOUR
        codes.append(served.ask(device.prove(asking(device.mac))).code)
    assert codes == ["loop", "update", "loop", "loop"]
