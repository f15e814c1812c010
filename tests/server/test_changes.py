"""Hints of what changed: each listener gets all of its product, in order, or is told that it has missed some."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from otaseal.errors import ConflictError, SystemFaultError
from otaseal.server import changes
from otaseal.server.changes import ALIVE, MAX_KEPT, SHARES, Changes, Listener, Subscription

Case = Callable[[Changes], Awaitable[None]]
Hints = list[tuple[str, str, str]]


class Reader:
    """The other end of a listener's connection."""

    def __init__(self, hub: Changes, product: str | None = None, last: str = "", caller: str = "") -> None:
        self.data = b""
        self.ended = False
        self.holds = True
        self.asked = 0
        self.subscription = Subscription(caller or f"token:{id(self)}", "", product, self._holds)
        self.listener: Listener = hub.listen(self.subscription, last)
        self.listener.begin(self)

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.ended = True

    def _holds(self) -> bool:
        self.asked += 1
        return self.holds

    @property
    def hints(self) -> Hints:
        """Kind, product and channel of the events, as the specification of server-sent events has them read."""
        found = []
        for block in self.data.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                hint = json.loads(fields["data"])
                found.append((fields["event"], hint["product"], hint["channel"]))
        return found

    @property
    def last(self) -> str:
        lines = [line for line in self.data.decode().splitlines() if line.startswith("id: ")]
        return lines[-1].removeprefix("id: ")

    async def hear(self, *hints: tuple[str, str, str]) -> None:
        """Wait until these, and no others, have come."""
        while len(self.hints) < len(hints):
            await asyncio.sleep(0)
        assert self.hints == list(hints)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "DELIVER_SECONDS", 0.001)


def run(case: Case, most: int = 10) -> None:
    """Run a case beside what delivers."""

    async def both() -> None:
        hub = Changes(most)
        delivering = asyncio.ensure_future(hub.run())
        try:
            await asyncio.wait_for(case(hub), 30)
        finally:
            delivering.cancel()

    asyncio.run(both())


def test_a_listener_to_a_product_gets_its_hints_and_those_of_the_server() -> None:
    async def case(hub: Changes) -> None:
        one, every = Reader(hub, "blink"), Reader(hub)
        hub.tell("devices", "lamp")
        hub.tell("channel", "blink", "stable")
        hub.tell("channel", "blink", "stable")
        hub.tell("alarms")
        await every.hear(("devices", "lamp", ""), ("channel", "blink", "stable"), ("alarms", "", ""))
        await one.hear(("channel", "blink", "stable"), ("alarms", "", ""))

    run(case)


def test_who_does_not_read_is_sent_nothing_and_then_told_to_reload() -> None:
    async def case(hub: Changes) -> None:
        slow, fast = Reader(hub), Reader(hub)
        slow.listener.pause()
        for number in range(MAX_KEPT + 1):
            hub.tell("devices", f"p{number}")
            while len(fast.hints) <= number:
                await asyncio.sleep(0)
        assert slow.data == ALIVE
        slow.listener.resume()
        assert slow.hints == [("reload", "", "")]
        hub.tell("alarms")
        await slow.hear(("reload", "", ""), ("alarms", "", ""))

    run(case)


def test_who_comes_back_goes_on_where_it_was() -> None:
    async def case(hub: Changes) -> None:
        first = Reader(hub)
        hub.tell("alarms")
        await first.hear(("alarms", "", ""))
        first.listener.leave()
        watcher = Reader(hub)
        hub.tell("releases", "blink")
        await watcher.hear(("releases", "blink", ""))
        assert Reader(hub, last=first.last).hints == [("releases", "blink", "")]
        assert Reader(hub, last=watcher.last).hints == []
        run_of_it = first.last.partition("-")[0]
        for other in ("deadbeef-0", "0", "-", "x" * 5000, f"{run_of_it}-{'9' * 5000}", f"{run_of_it}-²"):
            assert Reader(hub, last=other).hints == [("reload", "", "")], other

    run(case, most=20)


def test_there_are_so_many_listeners_and_no_more() -> None:
    async def case(hub: Changes) -> None:
        one, _ = Reader(hub), Reader(hub)
        with pytest.raises(SystemFaultError, match="2 listen already"):
            Reader(hub)
        one.listener.leave()
        Reader(hub)

    run(case, most=2)


def test_one_caller_has_so_many_and_the_others_theirs() -> None:
    async def case(hub: Changes) -> None:
        one, _ = (Reader(hub, caller="token:one") for _ in range(2))
        with pytest.raises(ConflictError, match="'token:one' listens 2 times already"):
            Reader(hub, caller="token:one")
        Reader(hub, caller="token:two")
        for _ in range(2):  # as its connection ends after it was told to
            one.listener.leave()
        Reader(hub, caller="token:one")
        with pytest.raises(ConflictError):
            Reader(hub, caller="token:one")

    run(case, most=2 * SHARES)


def test_who_may_listen_no_more_is_told_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHECK_SECONDS", 0.01)

    async def case(hub: Changes) -> None:
        one, two, slow, other = (Reader(hub, caller=f"token:{name}") for name in ("one", "one", "slow", "other"))
        assert one.subscription == two.subscription
        slow.listener.pause()
        while not other.asked:
            await asyncio.sleep(0)
        one.holds = slow.holds = False
        while not (one.ended and two.ended and slow.ended):
            await asyncio.sleep(0)
        assert two.asked == 0, "the same credentials are asked for once"
        slow.listener.resume()
        hub.tell("alarms")
        await other.hear(("alarms", "", ""))
        assert (one.data, two.data, slow.data) == (ALIVE, ALIVE, ALIVE)
        assert hub.listening == 1

    run(case, most=20)


def test_who_has_left_hears_nothing_and_all_end_with_the_server() -> None:
    gone: list[Reader] = []
    there: list[Reader] = []

    async def case(hub: Changes) -> None:
        gone.append(Reader(hub))
        there.append(Reader(hub))
        gone[0].listener.leave()
        hub.tell("alarms")
        await there[0].hear(("alarms", "", ""))

    run(case)
    assert (gone[0].data, gone[0].ended) == (ALIVE, False)
    assert there[0].ended


def test_who_hears_nothing_for_long_hears_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "ALIVE_SECONDS", 0.01)

    async def case(hub: Changes) -> None:
        reader, slow = Reader(hub), Reader(hub)
        slow.listener.pause()
        while reader.data != 3 * ALIVE:
            await asyncio.sleep(0)
        assert slow.data == ALIVE

    run(case)
