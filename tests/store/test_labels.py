"""What operators say of devices: durable, bounded, one truth for several servers, whatever a chip's name is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otaseal.errors import InputError
from otaseal.store import labels as rules
from otaseal.store.device_rows import Sighting
from otaseal.store.labels import NO_LABEL, Label, Labels
from otaseal.store.sql import Tables
from support.devices import Open, open_devices
from support.secret_tables import either_secrets

__all__ = ["either_secrets", "open_devices"]

MAC = "5C:CF:7F:F0:04:CB"
DEVICE = f"mac:{MAC}"
KITCHEN = Label("Küche", "by the door\nswap its battery", frozenset({"indoor", "battery"}), pinned=True)
DAY = 86400.0


def test_what_is_said_is_there_after_a_restart_and_goes_again(either_secrets: Tables) -> None:
    labels = Labels(either_secrets)
    labels.set("blink", DEVICE, KITCHEN)
    labels.set("blink", "cert:hall", Label(tags=frozenset({"indoor"})))
    for known in (labels, Labels(either_secrets)):
        assert known.get("blink", DEVICE) == KITCHEN
        assert known.tagged("blink", "indoor") == {DEVICE, "cert:hall"}
        assert known.tags("blink") == ["battery", "indoor"]
        assert [known.is_pinned("blink", name) for name in (DEVICE, "cert:hall", None)] == [True, False, False]
        assert known.get("other", DEVICE) == NO_LABEL
        assert known.of("other") == {}
    labels.set("blink", DEVICE, NO_LABEL)
    for known in (labels, Labels(either_secrets)):
        assert known.keys() == (("blink", "cert:hall"),)
        assert known.tagged("blink", "battery") == frozenset()
        assert not known.is_pinned("blink", DEVICE)


def test_a_chip_has_one_label_by_whatever_it_is_named(either_secrets: Tables) -> None:
    labels = Labels(either_secrets)
    labels.set("blink", f"cert:{MAC}", KITCHEN)
    for name in (DEVICE, f"cert:{MAC}", f"unproven:{MAC}"):
        assert labels.get("blink", name) == KITCHEN
        assert labels.is_pinned("blink", name)
        assert labels.tags_of("blink", name, None) == KITCHEN.tags
    assert labels.tagged("blink", "indoor") == {DEVICE}
    assert labels.get("blink", "cert:5C:CF:7F:F0:04") == NO_LABEL, "that is no address"


def test_servers_add_to_what_the_other_has_said_and_are_told_of_it(either_secrets: Tables) -> None:
    told: list[str] = []
    first = Labels(either_secrets, tell=lambda _, names: told.extend(names))
    second = Labels(either_secrets)
    first.set("blink", DEVICE, Label("hall"))
    assert second.get("blink", DEVICE) == NO_LABEL, "before it is told"
    said = second.change("blink", {DEVICE: lambda before: before._replace(tags=before.tags | {"indoor"})})
    assert said == {DEVICE: Label("hall", tags=frozenset({"indoor"}))}
    first.change("blink", {DEVICE: lambda before: before._replace(pinned=True)})
    second.apply(told)
    assert second.get("blink", DEVICE) == first.get("blink", DEVICE) == Label("hall", "", frozenset({"indoor"}), True)
    first.set("blink", DEVICE, NO_LABEL)
    second.apply(told)
    assert second.keys() == ()


def test_many_are_changed_at_once_and_all_or_none(either_secrets: Tables) -> None:
    told: list[str] = []
    labels, other = Labels(either_secrets, tell=lambda _, names: told.extend(names)), Labels(either_secrets)
    edits = {f"mac:{number:012}": lambda before: before._replace(name="one of many") for number in range(150)}
    labels.change("blink", edits)
    other.apply(told)
    assert len(other.of("blink")) == len(told) == 150
    with pytest.raises(InputError, match="'no tag' is not a valid tag"):
        labels.change("blink", {**edits, "mac:1": lambda before: Label(tags=frozenset({"no tag"}))})
    assert Labels(either_secrets).of("blink") == labels.of("blink") == other.of("blink")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (Label(name="a" * 65), "is no name for a device"),
        (Label(name="two\nlines"), "is no name for a device"),
        (Label(name="\ud800"), "is no name for a device"),
        (Label(note="a" * 501), "is no note on a device"),
        (Label(note="bell\a"), "is no note on a device"),
        (Label(tags=frozenset({"A"})), "'A' is not a valid tag"),
        (Label(tags=frozenset({""})), "'' is not a valid tag"),
        (Label(tags=frozenset({"a" * 33})), "is not a valid tag"),
        (Label(tags=frozenset(map(str, range(17)))), "17 tags on one device"),
    ],
)
def test_what_cannot_be_said(either_secrets: Tables, label: Label, message: str) -> None:
    labels = Labels(either_secrets)
    labels.set("blink", DEVICE, KITCHEN)
    with pytest.raises(InputError, match=message):
        labels.set("blink", DEVICE, label)
    assert Labels(either_secrets).get("blink", DEVICE) == labels.get("blink", DEVICE) == KITCHEN
    for device in ("", "mac:\n", "mac:" + "a" * 200):
        with pytest.raises(InputError, match="is no name of a device"):
            labels.set("blink", device, Label("a"))


def test_there_is_a_bound_on_labels_and_on_tags_of_a_product(
    either_secrets: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MAX_LABELS", 2)
    monkeypatch.setattr(rules, "MAX_TAGS_OF_PRODUCT", 2)
    labels = Labels(either_secrets)
    labels.set("blink", "mac:1", Label(tags=frozenset({"a", "b"})))
    with pytest.raises(InputError, match="3 tags in 'blink'"):
        labels.set("blink", "mac:2", Label(tags=frozenset({"c"})))
    labels.set("other", "mac:2", Label(tags=frozenset({"c"})))
    with pytest.raises(InputError, match="3 devices would have a name"):
        labels.set("blink", "mac:3", Label("a"))
    labels.set("blink", "mac:1", NO_LABEL)
    labels.set("blink", "mac:3", Label("a"))


def test_a_device_of_which_something_is_said_goes_last(open_devices: Open) -> None:
    """Whether it is new itself, and would go with the newcomers, or has been silent for the longest time."""
    seen = Sighting("blink", "stable", "", "0" * 32)
    kept = ("mac:silent", "mac:new", "cert:silent")
    with open_devices(limit=50) as devices:
        devices.labelled = lambda: [("blink", name) for name in kept]
        for name in (*kept, *(f"mac:{number}" for number in range(60))):
            for when in (1.0, DAY + 2.0):
                if (name, when) != ("mac:new", 1.0):
                    devices.see(replace(seen, device=name), when)
        for number in range(100):
            devices.see(replace(seen, device=f"invented:{number}"), 2 * DAY + number)
        assert {row.device for row in devices.list("blink")} > set(kept)
        devices.labelled = lambda: [("other", name) for name in kept]
        for number in range(100, 200):
            devices.see(replace(seen, device=f"invented:{number}"), 2 * DAY + number)
        assert "mac:new" not in {row.device for row in devices.list("blink")}
