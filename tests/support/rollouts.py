"""Plans of rollouts, and who is in one."""

from __future__ import annotations

from hypothesis import strategies as st

from otaseal.release.rollout import in_share, place
from otaseal.release.waves import Plan, Wave
from otaseal.release.windows import Window

TAGS = ("beta", "ours", "cellar")
NAMES = tuple(f"mac:5C:CF:7F:00:00:{number:02X}" for number in range(20))
devices = st.sampled_from(NAMES)
windows = st.none() | st.builds(
    lambda begins, ends: Window(begins, ends, "Europe/Berlin"), st.integers(0, 700), st.integers(701, 1439)
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan whose last wave has everybody."""
    shares = sorted(draw(st.sets(st.integers(1, 99), max_size=3)))
    waves = [Wave(percent=share, window=draw(windows)) for share in shares]
    named = st.builds(
        Wave,
        tags=st.lists(st.sampled_from(TAGS), min_size=1, max_size=2, unique=True).map(tuple),
        devices=st.lists(devices, max_size=2, unique=True).map(tuple),
        window=windows,
    )
    for wave in draw(st.lists(named, max_size=2)):
        waves.insert(draw(st.integers(0, len(waves))), wave)
    return Plan((*waves, Wave(percent=100, window=draw(windows))))


def includes(device: str, salt: str, percent: int) -> bool:
    """Return whether a device is among the first `percent` of the rollout named `salt`."""
    return in_share(place(device, salt), percent)
