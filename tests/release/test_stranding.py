"""What would lock devices out: every pair of what they run and what they are to get, and what has to be agreed to."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.release import stranding as lockout
from otaseal.release.records import Release
from otaseal.release.stranding import Consent, Effect, Group
from support.releases import make_release

OLD, NEW, OTHER = (f"SHA256:{digit * 64}" for digit in "123")
PLAIN, ALL = Consent(), Consent(raise_counter=True, strand_devices=True)


def made(version: str, signed: str = OLD, carries: tuple[str, ...] | None = (OLD,), **fields: object) -> Release:
    """Return a release that `signed` signed and that carries these keys."""
    plain = make_release(version, version.encode())
    return replace(plain, key_fingerprint=signed, embedded_keys=carries, **fields)  # type: ignore[arg-type]


# what devices run, what they are to get, and how many of 3 are left behind by (key, counter)
CASES = {
    "the same key": (made("1"), made("2"), (0, 0)),
    "a bridge release": (made("1"), made("2", OLD, (NEW,)), (0, 0)),
    "after the bridge": (made("1", OLD, (NEW,)), made("2", NEW, (NEW,)), (0, 0)),
    "a bridge left out": (made("1"), made("2", NEW, (NEW,)), (3, 0)),
    "back before the bridge": (made("2", OLD, (NEW,)), made("1", OLD, (OLD,)), (3, 0)),
    "two keys, and the second signs": (made("1", OLD, (OLD, NEW)), made("2", NEW, (NEW,)), (0, 0)),
    "two keys, and a third signs": (made("1", OLD, (OLD, NEW)), made("2", OTHER, (OTHER,)), (3, 0)),
    "no key in the firmware": (made("1", OLD, ()), made("2", NEW, (NEW,)), (0, 0)),
    "a record that does not say": (made("1", OLD, None), made("2", NEW, (NEW,)), (0, 0)),
    "the release itself": (made("2", NEW, (OLD,)), made("2", NEW, (OLD,)), (0, 0)),
    "a lower counter": (made("1", security_counter=5, library=True), made("2", security_counter=4), (0, 3)),
    "no manifest": (made("1", security_counter=0, library=True), made("2"), (0, 3)),
    "the same counter": (made("1", security_counter=5, library=True), made("2", security_counter=5), (0, 0)),
    "a lower counter for stock devices": (made("1", security_counter=5), made("2", security_counter=4), (0, 0)),
    "neither": (made("1", security_counter=5, library=True), made("2", NEW, security_counter=4), (3, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_who_is_left_behind(name: str) -> None:
    running, new, (by_key, by_counter) = CASES[name]
    effect = lockout.effect(new, running, [Group(running, 3), Group(None, 2)])
    assert (effect.by_key, effect.by_counter) == (by_key, by_counter)
    assert effect.unknown == 2 + (0 if running.embedded_keys or running.sketch_md5 == new.sketch_md5 else 3)
    if by_key or by_counter:
        with pytest.raises(InputError, match="3 devices seen") as caught:
            lockout.check(new, running, [Group(running, 3)], Consent(raise_counter=True))
        assert "--strand-devices" in caught.value.hint
        assert ("bridge release" in caught.value.hint) == bool(by_key)
        agreed = lockout.check(new, running, [Group(running, 3)], Consent(strand_devices=True))
        assert agreed.as_event() == {"stranded_devices": 3}
    else:
        assert lockout.check(new, running, [Group(running, 3)], PLAIN).as_event() == {}


def test_counter_matrix() -> None:
    """Every counter after every counter: a rise asks for --raise-counter, a fall strands who has the library."""
    for before, after in itertools.product([None, 0, 1, 2, 2**32 - 1], repeat=2):
        current = made("1", security_counter=before, library=before is not None)
        new = made("2", security_counter=after, library=after is not None)
        effect = lockout.effect(new, current, [Group(current, 1)])
        rises = (after or 0) > (before or 0)
        assert (effect.raised is not None) == rises
        assert effect.by_counter == int(before is not None and (after is None or after < before))
        if rises:
            with pytest.raises(InputError, match=f"rises from {before or 0} to {after}") as caught:
                lockout.check(new, current, [], Consent(strand_devices=True))
            assert "--raise-counter" in caught.value.hint
            agreed = lockout.check(new, current, [], Consent(raise_counter=True))
            assert agreed.as_event() == {"raised_counter": [before or 0, after]}
    assert lockout.check(made("1", security_counter=7), None, [], PLAIN).raised is None, "nothing to go back to"


def test_unknown_devices_are_a_warning_when_the_key_changes() -> None:
    fleet = [Group(None, 4), Group(made("0", OLD, ()), 1)]
    assert not lockout.check(made("2"), made("1"), fleet, PLAIN).warnings()
    (warning,) = lockout.check(made("2", NEW, (NEW,)), made("1"), fleet, PLAIN).warnings()
    assert "the firmware of 5 devices seen" in warning


KEYS = st.sampled_from([OLD, NEW, OTHER])
RELEASES = st.builds(
    made,
    st.sampled_from(["1", "2", "3", "4"]),
    KEYS,
    st.none() | st.lists(KEYS, unique=True, max_size=2).map(lambda keys: tuple(sorted(keys))),
    security_counter=st.none() | st.integers(0, 3),
    library=st.booleans(),
)
FLEETS = st.lists(st.builds(Group, st.none() | RELEASES, st.integers(1, 9)), max_size=5)


@given(RELEASES, st.none() | RELEASES, FLEETS, st.booleans(), st.booleans())
def test_nothing_is_let_through_that_nobody_agreed_to(
    new: Release, current: Release | None, fleet: list[Group], raising: bool, stranding: bool
) -> None:
    effect = lockout.effect(new, current, fleet)
    assert effect.stranded + effect.unknown <= 2 * sum(group.count for group in fleet)
    try:
        allowed: Effect | None = lockout.check(new, current, fleet, Consent(raising, stranding))
    except InputError:
        allowed = None
    assert (allowed is not None) == ((raising or effect.raised is None) and (stranding or not effect.stranded))
    assert lockout.check(new, current, fleet, ALL) == effect
