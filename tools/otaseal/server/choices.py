"""Which release of a channel a device is given: by its turn in the rollout, and by the windows of the waves.

What is here is computed from the channel's state and the time; what a store has is read by `catalog`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from ..protocol.answers import HALTED, NOT_INCLUDED, PAUSED
from ..protocol.running import Running
from ..release import waves
from ..release.channels import Channel
from ..release.records import Release
from ..release.waves import Openings, Turn, Wave
from ..release.windows import Opening

TagsOf = Callable[[str, str], Collection[str]]
"""Returns the tags of a product's device."""


def no_tags(product: str, device: str) -> Collection[str]:
    """Return the tags of a device of which nothing is said."""
    return ()


@dataclass(frozen=True, eq=False)
class Choice:
    """The release that a URL and the channel's rollout lead one device to; without one, what is `missing`.

    A device is `held` until its turn comes, or until its window is open: then `opening` says when that is.
    One object stands for one state of the store and its windows: as long as it is the same, so is the answer to the
    same request.
    """

    product: str | None = None
    channel: str | None = None
    release: Release | None = None
    held: bool = False
    behind: str = ""
    """Why it is not the channel's release, or held: one of `protocol.answers.REASONS`."""
    missing: str = "product"
    known: Mapping[str, Running] = field(default_factory=dict, repr=False)
    opening: Opening | None = None


@dataclass(eq=False)
class ChannelChoices:
    """The state of a channel, and the choices in it; all but the first are made when they are needed."""

    state: Channel
    current: Choice
    held: Choice | None = None
    previous: Choice | None = None
    waves: tuple[Wave, ...] = ()
    by_tags: bool = False
    openings: Openings | None = None
    closed: dict[int, Choice] = field(default_factory=dict)
    """By the wave, for who waits for its window, as long as `openings` holds."""

    def __post_init__(self) -> None:
        self.waves = self.state.pointer.waves
        self.by_tags = any(wave.tags for wave in self.waves)

    def choose(self, device: str | None, tags_of: TagsOf, now: float) -> Choice | None:
        """Return the choice for a device by its turn at `now`, seconds since 1970; None as `before`."""
        pointer = self.state.pointer
        if device is None and pointer.percent < 100:
            return self.before()
        name = device or ""
        stopped = pointer.halted or pointer.paused
        if pointer.granted and not stopped and waves.is_named(name, pointer.granted):
            return self.current
        tags = tags_of(self.current.product or "", name) if self.by_tags else ()
        wave = waves.wave_of(self.waves, name, tags, pointer.salt)
        turn = waves.turn(pointer.current_wave, wave, self._windows(now).is_open)
        if turn is Turn.CLOSED:
            return self.closed[wave or 0]
        return self.current if turn is Turn.NOW and not stopped else self.before()

    def before(self) -> Choice | None:
        """Return the choice for who is not to have the channel's release; None where `previous` is still to be made."""
        if self.state.previous is None:
            self.held = self.held or replace(self.current, held=True, behind=self.behind)
            return self.held
        return self.previous

    @property
    def behind(self) -> str:
        """Why devices do not get the release that the channel points at."""
        pointer = self.state.pointer
        return HALTED if pointer.halted else PAUSED if pointer.paused else NOT_INCLUDED

    def _windows(self, now: float) -> Openings:
        """Return which waves' windows are open now."""
        if self.openings is None or not self.openings.holds(now):
            self.openings = waves.openings(self.waves, now)
            self.closed = {
                number: replace(self.current, held=True, opening=opening)
                for number, opening in enumerate(self.openings.windows)
                if opening is not None
            }
        return self.openings
