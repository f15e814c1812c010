"""Tags by rule: the same devices in a list, which a database makes, and in a row, which is compared here."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError, NotFoundError
from otaseal.store import tag_rules
from otaseal.store.device_rows import Hardware, Sighting
from otaseal.store.labels import Label, Labels
from otaseal.store.row_changes import seen
from otaseal.store.selection import Condition, Facts, Match, negated
from otaseal.store.sql import Tables
from otaseal.store.tag_rules import TagRule
from support.devices import OneByOne, Open, open_devices
from support.secret_tables import either_secrets

__all__ = ["either_secrets", "open_devices"]

OLD, NEW, OTHER = "0" * 32, "1" * 32, "2" * 32
BOARD, UNKNOWN = "ab" * 8, "cd" * 8
FACTS = Facts({OLD: "1.0", NEW: "2.0_b"}, {OLD: "d1_mini"}, {BOARD: "nodemcuv2"})
SEEN = Sighting("blink", "stable", "mac:A", OLD, "1.0")
TEXTS = st.sampled_from(
    ["", "1.0", "2.0_b", "2.0xb", "A%", "a_b", "stable", "ünter", "Beta\\", "d1_mini", "nodemcuv2", UNKNOWN]
)
GLOBS = st.text("a1_%\\*?.Bbt", min_size=1, max_size=4)


def listed(devices: OneByOne, where: Condition) -> set[str]:
    return {row.device for row in devices.list("blink", where)}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    told=st.lists(
        st.tuples(TEXTS, TEXTS, st.sampled_from(["", BOARD, UNKNOWN]), st.sampled_from(["", OLD, NEW, OTHER])),
        min_size=1,
        max_size=6,
    ),
    glob=st.one_of(GLOBS, TEXTS.filter(bool)),
    exact=st.booleans(),
)
def test_a_pattern_means_the_same_in_the_database(
    open_devices: Open, told: list[tuple[str, str, str, str]], glob: str, exact: bool
) -> None:
    match = Match(glob, glob=not exact)
    with open_devices() as devices:
        rows = [
            seen(None, Sighting("blink", channel, f"mac:{n}", md5, version, hardware=Hardware(board)), 1.0)
            for n, (version, channel, board, md5) in enumerate(told)
        ]
        devices.take(rows)
        for column, where, value in (
            ("channel", match.on("channel"), lambda row: row.channel),
            ("version", FACTS.runs(match), FACTS.version),
            ("board", FACTS.on_board(match), FACTS.board),
        ):
            wanted = {row.device for row in rows if match.fits(value(row))}
            assert listed(devices, where) == wanted, column
            assert listed(devices, negated(where)) == {row.device for row in rows} - wanted, column
        with devices.batch() as batch:
            for row in rows:
                batch.forget("blink", row.device)


def test_tags_come_and_go_with_what_a_device_reports(either_secrets: Tables, open_devices: Open) -> None:
    told: list[str] = []
    labels, other = Labels(either_secrets, tell=lambda _, names: told.extend(names)), Labels(either_secrets)
    labels.facts = other.facts = lambda product: FACTS
    labels.set("blink", "mac:A", Label("Kitchen", tags=frozenset({"by-hand"})))
    for rule in (
        TagRule("old", version="1.*", channel="stable"),
        TagRule("minis", board="D1*"),
        TagRule("kitchen", name="kitchen*"),
        TagRule("esp", chip="esp32"),
    ):
        labels.rules.set("blink", rule)
    other.apply(told)
    row = seen(None, SEEN, 1.0)
    with open_devices() as devices:
        for changed, tags in (
            (row, {"by-hand", "old", "minis", "kitchen"}),
            (row._replace(md5=OTHER, version="2"), {"by-hand", "kitchen"}),
            (row._replace(device="mac:B", chip="esp32", channel="beta", md5=NEW), {"esp"}),
        ):
            devices.take([changed])
            for known in (labels, other, Labels(either_secrets)):
                known.facts = labels.facts
                assert known.tags_of("blink", changed.device, changed) == tags
                assert {
                    tag
                    for tag in known.tags("blink")
                    if listed(devices, known.has_tag("blink", tag)) == {changed.device}
                } == tags
            with devices.batch() as rows:
                rows.forget("blink", changed.device)
    assert labels.tags_of("blink", "mac:A", None) == {"by-hand"}, "nothing is known that it reports"
    assert labels.tags_of("other", "mac:A", row) == frozenset()
    told.clear()
    assert labels.rules.drop("blink", "old") == TagRule("old", version="1.*", channel="stable")
    other.apply(told)
    assert sorted(other.rules.of("blink")) == ["esp", "kitchen", "minis"]
    with pytest.raises(NotFoundError, match="no rule for the tag 'old'"):
        labels.rules.drop("blink", "old")


def test_rules_that_cannot_be(either_secrets: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Labels(either_secrets).rules
    for rule, message in (
        (TagRule("a"), "says nothing of its devices"),
        (TagRule("a", version="x" * 65), "no pattern for a version"),
        (TagRule("a", name="%"), "'%' is no pattern for a name"),
    ):
        with pytest.raises(InputError, match=message):
            rules.set("blink", rule)
    monkeypatch.setattr(tag_rules, "MAX_RULES", 1)
    for channel in ("a", "b"):
        rules.set("blink", TagRule("one", channel=channel))
    rules.set("other", TagRule("two", channel="a"))
    with pytest.raises(InputError, match="'blink' has 1 rules"):
        rules.set("blink", TagRule("two", channel="a"))
    assert rules.of("blink") == {"one": TagRule("one", channel="b")}
