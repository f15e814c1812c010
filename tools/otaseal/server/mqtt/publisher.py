"""Publishes devices to a broker, in a thread of its own: what has changed, and no faster than the broker takes it.

One server of several does. While the broker is away nothing is kept for it: when it is back all is published anew. What
comes from it is never trusted: at most it asks for one device to be given what its channel gives out anyhow.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...errors import OtasealError
from ..telemetry import Telemetry
from . import home_assistant
from .broker import Broker
from .home_assistant import GONE, INSTALL, OFFLINE, ONLINE, STATE, Entity, Told
from .leftovers import Leftovers

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo

LOOK_SECONDS = 1.0
REST = 20
"""How much longer than a look at a product took it is not looked at again."""
ALL_SECONDS = 600.0
"""How often all is looked at, whatever has been said to have changed."""
AT_ONCE = 50
"""Messages on their way; more follow when the broker has these."""
ANSWER_SECONDS = 10.0
KEEPALIVE_SECONDS = 30
PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Before the broker is asked again, after each time in vain."""
MAX_COMMANDS = 100
"""Devices whose installation is asked for, and not done yet."""
CLOSE_SECONDS = 5.0


class Source(Protocol):
    """What there is to tell, and who does what is asked."""

    def products(self) -> Iterable[str]:
        """Return the products' names; raises OtasealError."""

    def devices(self, product: str) -> Iterable[Told]:
        """Return the devices of a product; raises OtasealError."""

    def install(self, product: str, channel: str, device: str) -> None:
        """Give a device what its channel gives out; raises OtasealError."""


class Sent(NamedTuple):
    """What the broker has of a device: digests of both messages; and which device of which channel it is."""

    config: bytes
    state: bytes
    device: str
    channel: str


class Publisher:
    """A thread that publishes while it is `leading`; use it in a `with` statement."""

    def __init__(
        self, broker: Broker, source: Source, telemetry: Telemetry, leading: Callable[[], bool] = lambda: True
    ) -> None:
        self._leading = leading
        self._broker, self._source, self._telemetry = broker, source, telemetry
        self._client: Client | None = None
        self._refusal = ""
        self._sent: dict[str, dict[str, Sent]] = {}
        """By product and a device's identifier."""
        self._told: set[str] = set()
        """Products all of whose devices the broker was told on this connection."""
        self._leftovers = Leftovers(broker, lambda name: name[1] in self._sent.get(name[0], {}))
        self._due: dict[str, float] = {}
        """When a product may be looked at again."""
        self._hints: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._commands: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._all_at = 0.0
        self._ready, self._closing, self._wake = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)

    def hint(self, kind: str, product: str, channel: str) -> None:
        """Note that something has changed, as `Changes` tells it; returns at once."""
        if product and kind in ("devices", "releases", "channel"):
            self._hints[kind, product, channel] = None
            self._wake.set()

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                if not self._leading():
                    self._disconnect()
                    self._telemetry.set_problems("mqtt", [])
                elif self._client is None:
                    self._connect()
                    failures = 0
                    self._telemetry.set_problems("mqtt", [])
                elif not self._client.is_connected():
                    raise ConnectionError("the connection has ended")
                else:
                    self._work()
            except (OSError, ValueError) as error:
                self._disconnect()
                reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
                self._telemetry.set_problems("mqtt", [f"the broker '{self._broker.host}': {reason}"])
                self._closing.wait(PAUSES[min(failures, len(PAUSES) - 1)])
                failures += 1
            except OtasealError as error:  # the store: tried again
                self._telemetry.event("mqtt", message=error.message)
                self._closing.wait(LOOK_SECONDS)
            except Exception:  # a fault of ours: the thread has to go on
                self._telemetry.alarm("fault", message=traceback.format_exc())
                self._closing.wait(PAUSES[-1])
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
        self._disconnect()

    def _connect(self) -> None:
        """Connect, and say that we are there; raises OSError."""
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        status = home_assistant.status_topic(self._broker)
        # The same name for every server: the broker ends the connection of the one before.
        name = "otaseal-" + hashlib.sha256(self._broker.topic.encode()).hexdigest()[:12]
        client = Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTv311, reconnect_on_failure=False)
        if self._broker.context is not None:
            client.tls_set_context(self._broker.context)
        if self._broker.username:
            client.username_pw_set(self._broker.username, self._broker.password)
        client.will_set(status, OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_message = self._connected, self._received
        self._ready.clear()
        self._client = client
        client.connect(self._broker.host, self._broker.port, KEEPALIVE_SECONDS)
        client.loop_start()
        if not self._ready.wait(ANSWER_SECONDS):
            raise ConnectionError("it does not answer")
        if self._refusal:
            raise ConnectionError(f"it refuses: {self._refusal}")
        if self._broker.install:
            client.subscribe(home_assistant.install_topics(self._broker), qos=1)
        self._sent.clear()
        self._told.clear()
        self._leftovers.begin()
        self._all_at = 0.0
        self._publish([(status, ONLINE.encode())])
        self._telemetry.event("mqtt", message="connected", host=self._broker.host)

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            if client.is_connected():
                status = home_assistant.status_topic(self._broker)
                client.publish(status, OFFLINE, qos=1, retain=True).wait_for_publish(1)
        client.disconnect()
        client.loop_stop()

    def _work(self) -> None:
        """Do what is asked, and tell what has changed; raises OSError, OtasealError."""
        now = time.monotonic()
        if now >= self._all_at:
            self._all_at = now + ALL_SECONDS
            for product in self._source.products():
                self._hints["devices", product, ""] = None
        waiting: list[tuple[str, str, str]] = []
        looked: set[str] = set()
        while self._hints:
            hint, _ = self._hints.popitem(last=False)
            kind, product, channel = hint
            if kind == "channel":
                self._say_poll(product, channel)
            if product in looked:
                continue
            if time.monotonic() < self._due.get(product, 0.0):
                waiting.append(("devices", product, ""))
                continue
            looked.add(product)
            self._tell(product)
        self._hints.update(dict.fromkeys(waiting))
        self._install()
        if not self._leftovers.is_over:
            self._sweep()

    def _say_poll(self, product: str, channel: str) -> None:
        if self._client is not None:
            self._client.publish(home_assistant.poll_topic(self._broker, product, channel), b"", qos=0)

    def _tell(self, product: str) -> None:
        """Publish what is new of a product's devices, and take away those that are gone."""
        began = time.monotonic()
        before, after = self._sent.setdefault(product, {}), set()
        messages: list[tuple[str, bytes]] = []
        said: dict[str, Sent] = {}
        for told in self._source.devices(product):
            name, new = home_assistant.identifier(told.row.device), home_assistant.entity(self._broker, told)
            sent = Sent(_digest(new.config), _digest(new.state), told.row.device, told.row.channel)
            after.add(name)
            messages += self._news(product, name, new, changed=_changed(before.get(name), sent))
            said[name] = sent
            if len(messages) >= AT_ONCE:
                self._publish(messages)
                before.update(said)
                messages, said = [], {}
        self._publish(messages)
        before.update(said)
        for name in before.keys() - after:
            self._publish(self._news(product, name, GONE, changed=(True, True)))
            del before[name]
        self._told.add(product)
        self._due[product] = time.monotonic() + REST * (time.monotonic() - began)

    def _sweep(self) -> None:
        """Take away what the broker has of devices that are gone, when all that are there were told; raises OSError."""
        assert self._client is not None
        if self._leftovers.is_asked:
            for product, name in self._leftovers.take(self._client):
                self._publish(self._news(product, name, GONE, changed=(True, True)))
        elif self._told.issuperset(self._source.products()):
            self._leftovers.ask(self._client)

    def _news(self, product: str, name: str, new: Entity, *, changed: tuple[bool, bool]) -> list[tuple[str, bytes]]:
        """Return the messages of a device, of which the config or the state has `changed`.

        The state comes first and goes last: where it is not retained, no config is, either (`Leftovers`).
        """
        config, state = changed
        topics = home_assistant.config_topic, home_assistant.state_topic
        wanted = config and bool(self._broker.discovery), state
        made = zip(topics, new, wanted, strict=True)
        news = [(topic(self._broker, product, name), payload) for topic, payload, is_wanted in made if is_wanted]
        return news if new == GONE else news[::-1]

    def _publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Publish messages that are retained, and wait until the broker has them; raises OSError."""
        assert self._client is not None
        on_their_way: list[MQTTMessageInfo] = [
            self._client.publish(topic, payload, qos=1, retain=True) for topic, payload in messages
        ]
        end = time.monotonic() + ANSWER_SECONDS
        for one in on_their_way:
            try:
                one.wait_for_publish(max(0.0, end - time.monotonic()))
            except RuntimeError as error:
                raise ConnectionError("the connection has ended") from error
            if not one.is_published():
                raise ConnectionError("it does not take messages")
        self._telemetry.count("otaseal_mqtt_messages_total", len(on_their_way))

    def _connected(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refusal = str(reason) if reason.is_failure else ""
        self._ready.set()

    def _received(self, client: Client, data: Any, message: MQTTMessage) -> None:
        """Note what is asked for a device, and what is retained; a retained command was meant for nobody now."""
        if message.retain and message.topic.endswith(f"/{STATE}"):
            self._leftovers.hear(message.topic)
        if message.retain or message.payload != INSTALL.encode() or len(self._commands) >= MAX_COMMANDS:
            return
        self._commands[home_assistant.device_of(message.topic)] = None
        self._wake.set()

    def _install(self) -> None:
        while self._commands:
            (product, name), _ = self._commands.popitem(last=False)
            sent = self._sent.get(product, {}).get(name)
            if sent is None:
                continue
            named = {"product": product, "channel": sent.channel, "device": sent.device}
            try:
                self._source.install(**named)
                self._telemetry.event("mqtt", message="install", **named)
            except OtasealError as error:
                self._telemetry.event("mqtt", message=f"not installed: {error.message}", **named)


def _digest(message: bytes) -> bytes:
    return hashlib.blake2b(message, digest_size=8).digest()


def _changed(before: Sent | None, now: Sent) -> tuple[bool, bool]:
    """Return whether a device's config and state are other than what the broker has."""
    return (before is None or before.config != now.config), (before is None or before.state != now.state)


def is_installed() -> bool:
    """Return whether there is the package that speaks MQTT."""
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        return False
    return True
