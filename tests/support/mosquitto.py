"""Mosquitto, the MQTT broker, in a process of its own: over TLS, for clients with a certificate."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from support import peers
from support.servers import SECONDS, World, until

LINES = """
listener {port} 127.0.0.1
cafile {clients}
certfile {chain}
keyfile {key}
require_certificate true
use_identity_as_username true
persistence false
allow_anonymous true
log_type error
user root
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@dataclass
class Mosquitto:
    """A broker on a port, which can be stopped and started; it forgets what was retained."""

    world: World
    folder: Path
    port: int
    clients: Path
    """The authority of its clients."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        values = {"port": self.port, "chain": self.world.chain, "key": self.world.chain.with_name("key.pem")}
        config.write_text(LINES.format(clients=self.clients, **values))
        self.process = subprocess.Popen([peers.tool("mosquitto", "mosquitto"), "-c", str(config)])
        until(self._answers, "mosquitto does not start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(SECONDS) == 0
            self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "mosquitto has ended"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@dataclass
class Listening:
    """A client that hears everything; `retained` is the last payload by topic, `heard` all topics."""

    client: Client
    retained: dict[str, bytes] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(SECONDS)

    def wait(self, condition: Callable[[dict[str, bytes]], bool], what: str) -> None:
        until(lambda: condition(dict(self.retained)), f"{what}: {self.retained}")


@contextmanager
def listening(broker: Mosquitto, client_folder: Path) -> Iterator[Listening]:
    """Listen to all topics of a broker, with the certificate in a folder."""
    client = Client(CallbackAPIVersion.VERSION2, "tests")
    client.tls_set_context(broker.world.context(client_folder))
    found, subscribed = Listening(client), threading.Event()

    def take(_: Any, __: Any, message: Any) -> None:
        found.heard.append(message.topic)
        found.retained[message.topic] = message.payload

    client.on_message = take
    client.on_subscribe = lambda *_: subscribed.set()
    client.connect("localhost", broker.port)
    client.loop_start()
    client.subscribe("#", qos=1)
    assert subscribed.wait(SECONDS)
    try:
        yield found
    finally:
        client.disconnect()
        client.loop_stop()
