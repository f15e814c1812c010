"""Devices at a real broker over mutual TLS: what is told and asked, and a broker that is away, slow or another."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import ConfigError
from otaseal.pki.profile import Role
from otaseal.pki.store import Slot
from otaseal.release.channels import Pointer
from otaseal.server.mqtt import leftovers
from otaseal.server.mqtt import publisher as publishing
from otaseal.server.mqtt.broker import Broker, read_broker
from otaseal.server.mqtt.home_assistant import Told, identifier
from otaseal.server.mqtt.publisher import Publisher
from otaseal.server.telemetry import Telemetry
from otaseal.store.device_rows import Device
from otaseal.store.labels import Label
from support.mosquitto import Mosquitto, free_port, listening
from support.servers import MAC, StartServer, World, as_device, operator, publish, talk, until

TOPIC = f"otaseal/blink/{identifier(f'mac:{MAC}')}"
CONFIG = f"homeassistant/update/otaseal_blink/{identifier(f'mac:{MAC}')}/config"


@pytest.fixture(scope="session")
def clients(world: World) -> Path:
    return world.client(Role.OPERATOR, "broker-client")


@pytest.fixture
def broker(world: World, tmp_path: Path) -> Iterator[Mosquitto]:
    authority = world.pki.directory / Slot.OPERATOR.value / "certificate.pem"
    made = Mosquitto(world, tmp_path, free_port(), authority)
    made.start()
    yield made
    made.stop()


def options(broker: Mosquitto, clients: Path | None, *lines: str) -> Path:
    path = broker.folder / "broker.ini"
    own = [f"certificate = {clients}/chain.pem", f"key = {clients}/key.pem"] if clients else []
    said = ["[mqtt]", f"url = mqtts://localhost:{broker.port}", f"ca = {broker.world.ca}", *own, *lines]
    path.write_text("\n".join(said) + "\n")
    return path


@dataclass
class Fleet:
    """What there is to tell of one product, and what was asked for."""

    told: list[Told]
    installed: list[str] = field(default_factory=list)

    def products(self) -> list[str]:
        return ["blink"]

    def devices(self, product: str) -> list[Told]:
        return list(self.told)

    def install(self, product: str, channel: str, device: str) -> None:
        assert (product, channel) == ("blink", "stable")
        self.installed.append(device)


def told(number: int) -> Told:
    row = Device("blink", f"mac:{number}", "stable", "0" * 32, "1.0", "", 1.0, 2.0)
    return Told(row, "1.0", Label(), Pointer("2.0"))


def test_a_home_sees_its_devices_and_installs(
    world: World, start_server: StartServer, broker: Mosquitto, clients: Path
) -> None:
    server = start_server("--mqtt", options(broker, clients, "install = yes"))
    old, new = world.firmware(1), world.firmware(2)

    def poll(firmware: Any) -> bytes:
        return talk(world.context(), server.port, as_device("/blink/firmware.bin.signed", firmware)).body

    def state(retained: dict[str, bytes]) -> tuple[str, str, bool]:
        said = json.loads(retained.get(f"{TOPIC}/state", b"{}") or b"{}")
        return tuple(said.get(name) for name in ("installed_version", "latest_version", "in_progress"))  # type: ignore[return-value]

    publish(server, "1.0", old.signed)
    poll(old)
    with listening(broker, clients) as home:
        home.wait(lambda all: state(all) == ("1.0", "1.0", False) and CONFIG in all, "it is not told")
        config = json.loads(home.retained[CONFIG])
        assert home.retained[config["availability_topic"]] == b"online"
        publish(server, "2.0", new.signed, percent=0)
        operator(server).set_notes("blink", "2.0", {"severity": "fix", "notes": "Brighter."})
        home.wait(lambda all: state(all) == ("1.0", "2.0", False), "the release is not told")
        until(lambda: "otaseal/blink/stable/poll" in home.heard, "no device is told to poll")
        home.wait(lambda all: b"[fix] Brighter." in all[f"{TOPIC}/state"], "the notes are not told")
        assert poll(old) == b"", "it is not its turn"
        home.publish(config["command_topic"], b"remove", retain=False)
        home.publish(config["command_topic"], b"install", retain=False)
        until(lambda: poll(old) == new.signed, "it is not granted")
        home.wait(lambda all: state(all) == ("1.0", "2.0", True), "it is not in progress")
        poll(new)
        home.wait(lambda all: state(all) == ("2.0", "2.0", False), "it is not installed")
        (row,) = [one for one in operator(server).get("/v1/audit?event=grant")["rows"] if one["devices"]]
        assert (row["by"], row["devices"]) == ("mqtt:install", [f"mac:{MAC}"])
        assert server.stop() == 0
        home.wait(lambda all: all["otaseal/status"] == b"offline", "it is not said that it has gone")


@pytest.mark.proof
def test_a_broker_that_was_away_is_told_all_anew_and_who_is_forgotten_goes(broker: Mosquitto, clients: Path) -> None:
    fleet, telemetry = Fleet([told(number) for number in range(120)]), Telemetry(lambda event: True)
    with Publisher(read_broker(options(broker, clients, "install = yes")), fleet, telemetry) as publisher:
        with listening(broker, clients) as home:
            home.wait(lambda all: sum(bool(one) for one in all.values()) == 241, "not all is told")
            home.publish(f"otaseal/blink/{identifier('mac:7')}/install", b"install", retain=True)
            home.publish("otaseal/blink/nobody/install", b"install")
            home.publish(f"otaseal/blink/{identifier('mac:8')}/install", b"install")
            until(lambda: fleet.installed[-1:] == ["mac:8"], "it is not asked for")
            fleet.told.pop()
            publisher._due.clear()
            publisher.hint("devices", "blink", "")
            home.wait(lambda all: all[f"otaseal/blink/{identifier('mac:119')}/state"] == b"", "it is there still")
        broker.stop()
        until(lambda: bool(telemetry.problems.get("mqtt")), "nobody is told that it is away")
        broker.start()
        until(lambda: not telemetry.problems["mqtt"], "it is not asked again")
        with listening(broker, clients) as home:
            home.wait(lambda all: sum(bool(one) for one in all.values()) == 239, "not all is told again")
            assert home.retained["otaseal/status"] == b"online"


def test_what_was_forgotten_while_nobody_told_the_broker_goes(
    broker: Mosquitto, clients: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than are remembered at once; what is not ours stays."""
    monkeypatch.setattr(leftovers, "MAX_FOUND", 3)
    monkeypatch.setattr(leftovers, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(publishing, "LOOK_SECONDS", 0.05)
    fleet, read = Fleet([told(number) for number in range(8)]), read_broker(options(broker, clients))
    others = ("homeassistant/update/zigbee/lamp/config", "otaseal/blink/one/two/state", "other/a/b/state")
    gone = f"otaseal/old.lamp/{identifier('mac:1')}/state"
    names = [identifier(f"mac:{number}") for number in range(2)]
    ours = {f"otaseal/blink/{name}/state" for name in names}
    configs = {f"homeassistant/update/otaseal_blink/{name}/config" for name in names}
    with listening(broker, clients) as home:
        with Publisher(read, fleet, Telemetry(lambda event: True)):
            home.wait(lambda all: sum(bool(one) for one in all.values()) == 17, "not all is told")
        for topic in (*others, gone):
            home.publish(topic, b"x", retain=True)
        del fleet.told[2:]
        with Publisher(read, fleet, Telemetry(lambda event: True)) as publisher:
            until(lambda: publisher._leftovers.is_over, "it asks for ever")
            kept = {"otaseal/status", *others, *ours, *configs}
            home.wait(lambda all: {topic for topic in all if all[topic]} == kept, "these are retained")


def problem(broker: Broker, fleet: Fleet | None = None) -> str:
    """Return what is said of a broker that cannot be told anything."""
    telemetry = Telemetry(lambda event: True)
    with Publisher(broker, fleet or Fleet([told(1)]), telemetry):
        until(lambda: bool(telemetry.problems.get("mqtt")), "nothing is wrong with it")
    return telemetry.problems["mqtt"][0]


# paho 2.2 leaves a socket whose handshake has failed to the garbage collector
@pytest.mark.proof
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_the_right_certificates_nothing_is_told(broker: Mosquitto, clients: Path, tmp_path: Path) -> None:
    with listening(broker, clients) as home:
        assert "localhost" in problem(read_broker(options(broker, None)))
        other = World.create(tmp_path / "other", broker.world.key)
        trusted = replace(read_broker(options(broker, clients)), context=ssl.create_default_context(cafile=other.ca))
        assert "certificate" in problem(trusted) or "CERTIFICATE" in problem(trusted)
        assert home.heard == []


def test_a_broker_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "it does not answer" in problem(Broker("127.0.0.1", silent.getsockname()[1], None))


def test_who_does_not_lead_does_not_connect() -> None:
    asked = threading.Event()

    def leading() -> bool:
        asked.set()
        return False

    with socket.create_server(("127.0.0.1", 0)) as never:
        never.settimeout(0)
        broker = Broker("127.0.0.1", never.getsockname()[1], None)
        with Publisher(broker, Fleet([]), Telemetry(lambda event: True), leading):
            assert asked.wait(30)
        with pytest.raises(BlockingIOError):
            never.accept()


def test_who_leads_no_more_has_no_problem_with_the_broker() -> None:
    telemetry, leads = Telemetry(lambda event: True), threading.Event()
    leads.set()
    with Publisher(Broker("127.0.0.1", free_port(), None), Fleet([]), telemetry, leads.is_set):
        until(lambda: bool(telemetry.problems.get("mqtt")), "nobody is told that it is away")
        leads.clear()
        until(lambda: not telemetry.problems["mqtt"], "it is told for ever")


Write = Callable[[str], Path]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("url = mqtts://broker", "has no section"),
        ("[mqtt]\nuri = mqtts://broker", "'uri' .* is no option"),
        ("[mqtt]\nurl = broker:8883", "no address of a broker"),
        ("[mqtt]\nurl = mqtts://me:secret@broker", "no address of a broker"),
        ("[mqtt]\nurl = mqtts://broker:port", "no address of a broker"),
        ("[mqtt]\nurl = mqtt://broker", "'broker' .* without TLS"),
        ("[mqtt]\nurl = mqtts://broker\nca = missing.pem", "ca in .* is '.*missing.pem', which is not a file"),
        ("[mqtt]\nurl = mqtts://broker\nca = broker.ini", "names '.*broker.ini', and they cannot be used"),
        ("[mqtt]\nurl = mqtt://localhost\nca = broker.ini", "ca in .* is for TLS"),
        ("[mqtt]\nurl = mqtts://broker\nkey = broker.ini", "has a key and no certificate"),
        ("[mqtt]\nurl = mqtts://broker\npassword = secret", "has a password and no username"),
        ("[mqtt]\nurl = mqtts://broker\n[homeassistant]", r"'\[homeassistant\]' .* is no section"),
        ("[mqtt]\nurl = mqtt://localhost\ntopic = a/#", "no topic of ours"),
        ("[mqtt]\nurl = mqtt://localhost\ninstall = true", "install .* is 'true'"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, lines: str, why: str) -> None:
    path = tmp_path / "broker.ini"
    path.write_text(lines)
    with pytest.raises(ConfigError, match=why) as caught:
        read_broker(path)
    assert "secret" not in caught.value.message


def test_a_password_does_not_print_itself(tmp_path: Path) -> None:
    path = tmp_path / "broker.ini"
    path.write_text("[mqtt]\nurl = mqtt://localhost\nusername = me\npassword = %secret\ndiscovery =\n")
    broker = read_broker(path)
    assert (broker.port, broker.username, broker.password, broker.discovery) == (1883, "me", "%secret", "")
    assert "secret" not in repr(broker)
    assert broker.secrets == (path,)
