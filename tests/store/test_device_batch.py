"""Requests of devices that only say again what they said before."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from otaseal.store.device_rows import Asking, Sighting
from otaseal.store.row_changes import delivered_to, offered_to, repeats, seen, touched
from support.devices import Open, open_devices

__all__ = ["open_devices"]

OLD, NEW = "0" * 32, "1" * 32
FIRST = Sighting("blink", "stable", "mac:A", OLD, "1.0", "A")


@given(st.lists(st.sampled_from(["offer", "deliver", "see", "come back", "elsewhere", "prove"]), max_size=8), st.data())
def test_a_request_that_repeats_changes_nothing_but_when(steps: list[str], data: st.DataObject) -> None:
    home = replace(FIRST, address="home")
    claims = {
        "see": home,
        "come back": replace(home, md5=NEW),
        "elsewhere": replace(home, address="away"),
        "prove": replace(home, proven=True, address=""),
    }
    row = seen(None, home, 0.0)
    for number, step in enumerate(steps, 1):
        asking = Asking("blink", "mac:A", "home")
        if step == "offer":
            row = offered_to(row, asking, "2.0", NEW, float(number))
        elif step == "deliver":
            row = delivered_to(row, asking, "2.0", float(number))
        else:
            row = seen(row, claims[step], float(number), number)
    claim = data.draw(st.sampled_from(list(claims.values())))
    later = data.draw(st.sampled_from([10.0, 3600.0, 7 * 3600.0]))
    if repeats(row, claim, later):
        after = touched(row, later, 99 if claim.proven else None)
        assert (
            seen(row, claim, later, 99)
            == after
            == row._replace(last_seen=later, sequence=after.sequence, pace=after.pace)
        )


def test_requests_that_repeat_are_written_with_the_others_of_their_batch(open_devices: Open) -> None:
    with open_devices() as devices:
        names = ("touched", "offered", "after", "forgotten")
        first = {name: devices.see(replace(FIRST, device=name), 1.0) for name in names}
        with devices.batch() as rows:
            for name in (*names, "unknown"):
                if name == "after":
                    rows.offer(Asking("blink", name), "2.0", NEW, 3.0)
                rows.touch("blink", name, 3600.5, 7)
            rows.offer(Asking("blink", "offered"), "2.0", NEW, 3.0)
            rows.forget("blink", "forgotten")
        assert devices.get("blink", "touched") == touched(first["touched"], 3600.5, 7)
        for name in ("offered", "after"):
            row = devices.get("blink", name)
            assert row is not None
            assert (row.offered, row.last_seen, row.sequence) == ("2.0", 3600.5, 7)
        assert devices.get("blink", "forgotten") is None
        assert devices.get("blink", "unknown") is None, "nothing is made of a device that is gone"
