"""Devices that poll and an operator who asks, while something happens to the machines: all of it goes on a record."""

from __future__ import annotations

import contextlib
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from otaseal.client.deployment import Options
from otaseal.errors import OtasealError
from otaseal.image.firmware import Firmware as Image
from otaseal.release.records import Origin
from support import cluster
from support.cluster import DEVICES, OPERATORS, Five
from support.promises import Answer, Change, Record, Request, State
from support.servers import PRODUCT, Firmware, Reply, World, as_device, get, talk, until

PATH = "/blink/firmware.bin.signed"
STABLE = f"/v1/products/{PRODUCT}/channels/stable"
UNSURE = re.compile("is changed, and|has it, and no standby|it is not known whether")
"""What a server says that cannot say more; of anything else that it reports, nothing has happened."""
NO_HALT = {"max_failed": 100}
"""For all that is asked for: a device that a fault cut off looks like one that did not come back."""
FLEET, THREADS = 24, 3
PATIENCE = 4.0
"""Seconds that a device waits for an answer."""


@dataclass
class Trial:
    """The machines, the firmware that there is, and the record of what happened."""

    five: Five
    record: Record = field(default_factory=Record)
    firmware: dict[str, Firmware] = field(default_factory=dict)
    versions: dict[bytes, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    running: list[Future[None]] = field(default_factory=list)

    def make(self, version: str) -> Firmware:
        """Return the firmware of a version, made when it is new."""
        if version not in self.firmware:
            made = self.five.world.firmware(len(self.firmware) + 1)
            self.versions[made.signed] = version
            self.firmware[version] = made
        return self.firmware[version]

    def poll(self, context: ssl.SSLContext, device: str) -> Answer:
        """Poll as a device does, and run what it is given."""
        runs, began = self.runs[device], time.monotonic()
        request = as_device(PATH, self.firmware[runs], device)
        try:
            reply = talk(context, DEVICES, request, self.five.network.outside, self.five.front.address, PATIENCE)
        except (OSError, AssertionError) as error:
            reply = Reply(0, {}, str(error).encode())
        whole = len(reply.body) == int(reply.headers.get("content-length", "-1"))
        status = reply.status if reply.status != 200 or whole else 0
        version = self.versions.get(reply.body, "?") if status == 200 else ""
        error = "" if status in (200, 304) else reply.body[:200].decode(errors="replace")
        answer = Answer(began, time.monotonic(), device, runs, status, version, error)
        self.record.answers.append(answer)
        if status == 200 and version != "?":
            self.runs[device] = version
        return answer

    def devices(self, number: int) -> None:
        """Poll as every THREADS-th device until it is over."""
        context, own = self.five.world.context(), sorted(self.runs)[number::THREADS]
        while not self.over.is_set():
            for device in own:
                self.poll(context, device)
                if self.over.wait(0.02):
                    return

    def operator(self, seed: int) -> None:
        """Publish, promote, roll out in steps, and roll back until it is over."""
        generator, number = random.Random(seed), 1
        while not self.over.is_set():
            kind = generator.choice(("publish", "publish", "rollout", "rollout", "promote", "rollback", "halt"))
            if kind == "publish":
                number += self.publish(f"1.{number}", 100)
            elif kind == "rollout":
                number += self.publish(f"1.{number}", 30)
                for percent in generator.choice(((60, 100), (0,), (60, 0), (70,))):
                    self.percent(percent)
            elif kind == "halt":
                self.percent(0)
            elif kind == "rollback":
                self.ask(kind, State.rolled_back, [(kind, "")], f"{STABLE}/rollback", {})
                self.percent(100)
            else:
                self.promote(generator.choice(list(self.published())), generator.choice((50, 100)))
            self.over.wait(0.05 if self.record.requests[-1].outcome == "done" else 0.2)

    def published(self) -> list[str]:
        """Return the versions that were acknowledged."""
        return [
            version
            for request in self.record.requests
            if request.outcome == "done"
            for event, version in request.events
            if event == "publish"
        ]

    def publish(self, version: str, percent: int) -> bool:
        """Publish a version, and return whether that was acknowledged: if not, it is repeated."""
        made, now = self.make(version), datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        client = self.five.operator()
        try:
            options = Options(percent=percent, allow_downgrade=True, **NO_HALT)
            admitted = client.check([Image(made.signed)], Origin(PRODUCT, version, now), options)
        except OtasealError:
            return False
        with self.asking(
            f"publish {version} {percent}",
            lambda state: state.pointed(version, percent),
            [("publish", version), ("point", version)],
        ) as said:
            said["before"] = client.publish(admitted).before
        return self.record.requests[-1].outcome == "done"

    def percent(self, percent: int) -> None:
        """Set to how many devices the release goes."""
        name = f"percent {percent}"
        self.ask(
            name,
            lambda state: state.pointed("", percent),
            [("point", "")],
            f"{STABLE}/percent",
            {"percent": percent, **NO_HALT},
        )

    def promote(self, version: str, percent: int) -> None:
        """Point the channel at an earlier release."""
        name, body = f"promote {version} {percent}", {"version": version, "percent": percent, **NO_HALT}
        self.ask(name, lambda state: state.pointed(version, percent), [("point", version)], f"{STABLE}/promote", body)

    def ask(self, name: str, change: Change, events: list[tuple[str, str]], path: str, body: dict[str, Any]) -> None:
        """Ask for a change of the channel; what is said to be before it has to be one of what could be."""
        with self.asking(name, change, events) as said:
            said.update(self.five.operator().post(path, body))

    @contextlib.contextmanager
    def asking(self, name: str, change: Change, events: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Note what comes of what is asked for within."""
        request, said = Request(name, change, events), dict[str, Any]()
        try:
            yield said
            self.record.finish(request, "done", said=said)
        except OtasealError as error:
            told = error.message.startswith(("the server refuses: ", "the server reports: "))
            refused = told and not UNSURE.search(error.message)
            self.record.finish(request, "refused" if refused else "maybe", f"{error.message}\n{error.hint}")

    def heals(self, name: str) -> None:
        """Wait until something that is asked for from now on is acknowledged, and a device is served."""
        begun = time.monotonic()
        until(
            lambda: (
                any(one.done() for one in self.running)
                or (
                    any(one.began > begun and one.outcome == "done" for one in self.record.requests[-5:])
                    and any(one.began > begun and one.status in (200, 304) for one in self.record.answers[-50:])
                )
            ),
            f"nothing is acknowledged after '{name}': {self.record.told(3)}, {self.record.answers[-3:]}",
        )
        for one in self.running:
            if one.done():
                one.result()

    def server(self, name: str, path: str, token: str = "") -> Reply:
        """Ask one server as an operator."""
        lines = [f"Authorization: Bearer {token}"] if token else []
        address = self.five.network.address(name)
        return talk(self.five.world.context(), OPERATORS, get(path, *lines), self.five.network.outside, address)

    @contextlib.contextmanager
    def load(self, *more: Callable[[], None]) -> Iterator[None]:
        """Let devices poll, and do what else is given, in threads, until the end of the block."""
        with ThreadPoolExecutor(THREADS + len(more)) as pool:
            self.running += [pool.submit(self.devices, number) for number in range(THREADS)]
            self.running += map(pool.submit, more)
            try:
                yield
            finally:
                self.over.set()
            for one in self.running:
                one.result()


@contextlib.contextmanager
def trial(world: World) -> Iterator[Trial]:
    """Run five machines with one release, and a fleet that runs it."""
    with cluster.running(world) as five:
        five.add_servers()
        made = Trial(five)
        made.make("1.0")
        made.runs = {f"5C:CF:7F:00:0A:{number:02X}": "1.0" for number in range(FLEET)}
        assert made.publish("1.0", 100), made.record.told(1)
        yield made
