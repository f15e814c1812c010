"""What was asked of servers, what they acknowledged, and what devices were given: and whether that fits together.

One operator asks, one thing after the other. What was acknowledged is so; what was refused by the rules is not; what
ended in any other way may be so, now or later, until something asked for after it is acknowledged.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class State(NamedTuple):
    """What a channel points at, for how many per cent of the devices, and what all of them had before."""

    version: str = ""
    percent: int = 100
    history: tuple[str, ...] = ()

    @property
    def previous(self) -> str | None:
        """What all devices had before; None where there was nothing."""
        return self.history[-1] if self.history else None

    @property
    def given(self) -> set[str]:
        """The versions that a device may be given."""
        return ({self.version} if self.percent else set()) | set(self.history[-1:])

    @property
    def known(self) -> set[str]:
        """The versions that a device which runs them keeps; "" where nothing goes before the first one."""
        return {self.version, *(self.history[-1:] or ("",))}

    @property
    def whole(self) -> set[str]:
        """The version that all devices have: what a server gives that does not see the database."""
        return {self.version} if self.percent == 100 else set(self.history[-1:])

    def pointed(self, version: str, percent: int) -> State:
        """Return the channel when it is pointed at a version, "" for the one that it has."""
        version, history = version or self.version, self.history
        if version != self.version and self.percent == 100 and self.version:
            history = (*history, self.version)
        return State(version, percent, history)

    def rolled_back(self) -> State:
        """Return the channel when it goes back; it is as it was where it cannot."""
        return State(self.history[-1], 100, self.history[:-1]) if self.history else self


Change = Callable[[State], State]


@dataclass
class Request:
    """What an operator asked for at `began`, and what came of it: "done", "refused", "maybe"; `states` after it."""

    name: str
    change: Change
    events: Sequence[tuple[str, str]]
    """What the audit log has of it, an event and a version each."""
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    outcome: str = ""
    message: str = ""
    states: frozenset[State] = frozenset()


def _fits(before: State, after: State, said: Mapping[str, Any]) -> bool:
    """Return whether an answer says that a channel has become this from that; it need not say everything."""
    channel = said.get("channel", {})
    return (
        (said.get("before") or before.version) == before.version
        and channel.get("version", after.version) == after.version
        and channel.get("percent", after.percent) == after.percent
        and channel.get("previous", after.previous) == after.previous
    )


class Answer(NamedTuple):
    """What a device that runs a version got: the status, 0 for no answer, and the version of the body, "?" unknown."""

    began: float
    ended: float
    device: str
    runs: str
    status: int
    version: str
    error: str = ""


class Span(NamedTuple):
    """When something was broken, until every server has seen the database again."""

    began: float
    ended: float
    name: str
    hides_database: bool
    """Whether a server that can be reached may not see the database, or not have seen it."""
    hits_database: bool
    """Whether it is the database alone that is broken."""


@dataclass
class Record:
    """All of it, in the order of time; written by several threads."""

    requests: list[Request] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    start: frozenset[State] = frozenset({State()})

    def finish(self, request: Request, outcome: str, message: str = "", said: Mapping[str, Any] | None = None) -> None:
        """Note what came of a request; `said` is the answer: what was there before, and what is now."""
        before, said = self.requests[-1].states if self.requests else self.start, said or {}
        pairs = [(state, request.change(state)) for state in before]
        changed = frozenset(after for state, after in pairs if _fits(state, after, said))
        assert changed or outcome != "done", f"{request.name} answers {said} after {self.told(24)}"
        if "channel" in said:
            request.events = [(event, said["channel"]["version"]) for event, _ in request.events]
        request.outcome, request.message, request.ended = outcome, message, time.monotonic()
        request.states = {"done": changed, "refused": before}.get(outcome, before | changed)
        self.requests.append(request)

    def told(self, count: int) -> str:
        """Return in words what was asked for last, and what came of it."""
        return "; ".join(
            f"{one.name}: {one.outcome} {one.began:.2f} to {one.ended:.2f} {one.message.partition(chr(10))[0]}"
            f" -> {sorted((state.version, state.percent, state.history[-1:]) for state in one.states)}"
            for one in self.requests[-count:]
        )

    def count(self, outcome: str) -> int:
        """Return how many requests came to that."""
        return sum(request.outcome == outcome for request in self.requests)

    def wrong_answers(self) -> list[str]:
        """Return the answers that no state of the channel explains which could be the one when they were asked for."""
        requests = list(self.requests)
        return [
            f"{answer} is none of {sorted(states)}"
            for answer in self.answers
            if answer.status in (200, 304) and not self._explained(answer, states := self._states(answer, requests))
        ]

    def _states(self, answer: Answer, requests: Sequence[Request]) -> set[State]:
        states = set(self.start)
        for request in requests:
            if request.began > answer.ended:
                break
            if request.ended <= answer.began:
                states = set(request.states)
            else:
                states |= request.states
        return states

    def _explained(self, answer: Answer, states: Iterable[State]) -> bool:
        if answer.status == 304:
            fits = any(answer.runs in state.known or "" in state.known for state in states)
        else:
            fits = any(answer.version in state.given for state in states)
        wanted = answer.version or answer.runs
        return fits or wanted in self._unseen(answer)

    def _unseen(self, answer: Answer) -> set[str]:
        """Return what a server may still give out that has not seen the database since some fault began."""
        given: set[str] = set()
        for span in self.spans:
            if span.hides_database and span.began <= answer.ended and answer.began <= span.ended:
                earlier = [request for request in self.requests if request.ended <= span.began]
                states = set(earlier[-1].states if earlier else self.start)
                for request in self.requests:
                    if request.ended > span.began and request.began <= answer.ended:
                        states |= request.states
                given |= set(itertools.chain.from_iterable(state.whole for state in states))
        return given

    def unserved(self) -> list[str]:
        """Return the polls that failed while nothing but the database was broken."""
        return [
            f"{answer} during {span.name}"
            for span in self.spans
            if span.hits_database
            for answer in self.answers
            if span.began <= answer.began <= span.ended and answer.status not in (200, 304)
        ]

    def failures(self) -> list[str]:
        """Return in words what was asked for and not acknowledged."""
        return [
            f"{one.name}: {one.outcome} after {one.ended - one.began:.1f} s: {one.message}"
            for one in self.requests
            if one.outcome != "done"
        ]

    def dishonest(self) -> list[str]:
        """Return the failed requests whose message has no second line, or says nothing."""
        return [
            f"{request.name}: {request.message!r}"
            for request in self.requests
            if request.outcome != "done" and not all(request.message.partition("\n")[::2])
        ]

    def lost(self, audit: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
        """Return what was acknowledged and is not in the audit log, in its order."""
        logged = iter([(str(line.get("event")), str(line.get("version", ""))) for line in audit])
        wanted = [event for request in self.requests if request.outcome == "done" for event in request.events]
        return [event for event in wanted if event not in logged]
