"""What a release would do to the devices that are out there: refuse it for ever, or never go back again.

A device takes what a key in its firmware signed, and with the OtaSeal library nothing below its own security counter.
So a release signed with a key that seen devices do not have strands them, and a counter that is raised cannot be
lowered again. Both are refused until a person says that this is meant. What devices run is a claim: it can only make
this more careful, because what a device said before counts beside it (`store.statements`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from ..errors import InputError, counted
from .records import Release


@dataclass(frozen=True)
class Group:
    """How many seen devices run one release, None for one that the server does not know."""

    release: Release | None
    count: int


@dataclass(frozen=True)
class Consent:
    """What a person says is meant."""

    raise_counter: bool = False
    strand_devices: bool = False

    def given(self) -> tuple[str, ...]:
        """Return the names of the fields that are set: a server need not know the others."""
        return tuple(name for name, given in asdict(self).items() if given)


@dataclass(frozen=True)
class Effect:
    """What happens when a channel is pointed at a release.

    `by_key` devices do not have the key that signed it; `by_counter`, which do, have the library and a higher counter,
    or it has no manifest. Both refuse it and everything like it. `by_board` get nothing more: they run an image for a
    board for which there is none in it. `unknown` run something that the server never
    published, or in which no key was found. `raised` are the security counters before and after, None where it does
    not go up. `new_key`: the release before was signed with another one.
    """

    by_key: int = 0
    by_counter: int = 0
    by_board: int = 0
    unknown: int = 0
    raised: tuple[int, int] | None = None
    new_key: bool = False

    @property
    def stranded(self) -> int:
        """How many devices would be left behind."""
        return self.by_key + self.by_counter + self.by_board

    def warnings(self) -> list[str]:
        """Return in words what is unknown about the effect."""
        if not (self.unknown and self.new_key):
            return []
        devices = counted(self.unknown, "device")
        return [f"it is unknown whether the firmware of {devices} seen has the key that signs now"]

    def as_event(self) -> dict[str, object]:
        """Return what somebody agreed to, for the audit log; empty where there was nothing to agree to."""
        event: dict[str, object] = {}
        if self.raised is not None:
            event["raised_counter"] = list(self.raised)
        if self.stranded:
            event["stranded_devices"] = self.stranded
        return event


def effect(new: Release, current: Release | None, fleet: Iterable[Group]) -> Effect:
    """Return what pointing a channel at `new` does to the devices of its `fleet`; `current` is what it points at."""
    others = [group for group in fleet if group.release is None or not set(group.release.runs) <= set(new.runs)]
    known = [(group.release, group.count) for group in others if group.release is not None]
    others_board = [group for group in known if _lacks_board(group[0], new)]
    known = [group for group in known if group not in others_board]
    before, after = (0 if current is None else current.security_counter or 0), new.security_counter or 0
    return Effect(
        by_key=sum(count for running, count in known if _lacks_key(running, new)),
        by_counter=sum(count for running, count in known if not _lacks_key(running, new) and _is_above(running, new)),
        by_board=sum(count for _, count in others_board),
        unknown=sum(group.count for group in others if group.release is None or not group.release.embedded_keys),
        raised=(before, after) if current is not None and after > before else None,
        new_key=current is not None and current.key_fingerprint != new.key_fingerprint,
    )


def check(new: Release, current: Release | None, fleet: Iterable[Group], consent: Consent) -> Effect:
    """Return the effect of `new` where `consent` covers it; else raise InputError with how many, and the way out."""
    change = effect(new, current, fleet)
    if change.by_key and not consent.strand_devices:
        raise InputError(
            f"the key {new.key_fingerprint[:23]}, which signed '{new.version}', is missing in the firmware of "
            f"{counted(change.by_key, 'device')} seen",
            "first give them a bridge release: signed with the key that they have, and carrying the new one "
            "(custom_otaseal_next_public_key); or leave them behind with --strand-devices",
        )
    if change.by_counter and not consent.strand_devices:
        raise InputError(
            f"'{new.version}', whose security counter is "
            f"{'missing' if new.security_counter is None else new.security_counter}, is refused by "
            f"{counted(change.by_counter, 'device')} seen with the OtaSeal library",
            "build its source anew with their counter (custom_otaseal_security_counter) and a new version, and deploy "
            "that; or leave them behind with --strand-devices",
        )
    if change.by_board and not consent.strand_devices:
        raise InputError(
            f"'{new.version}' has no image for the board of {counted(change.by_board, 'device')} seen",
            "publish it with an image for each board (custom_otaseal_environments); or leave them behind with "
            "--strand-devices",
        )
    if change.raised is not None and not consent.raise_counter:
        before, after = change.raised
        raise InputError(
            f"the security counter rises from {before} to {after}: devices with the OtaSeal library that take "
            f"'{new.version}' never go back to anything below it",
            f"if that is meant, say so with otaseal deploy --raise-counter (or promote); else set "
            f"custom_otaseal_security_counter = {before}",
        )
    return change


def _lacks_key(running: Release, new: Release) -> bool:
    """Tell whether firmware refuses `new` for its key; without a key in it, or in its record, nothing is known."""
    return bool(running.embedded_keys) and new.key_fingerprint not in (running.embedded_keys or ())


def _lacks_board(running: Release, new: Release) -> bool:
    return running.board_key is not None and not running.others and new.for_board(running.board_key) is None


def _is_above(running: Release, new: Release) -> bool:
    counter = running.security_counter or 0
    return running.library and (new.security_counter is None or new.security_counter < counter)
