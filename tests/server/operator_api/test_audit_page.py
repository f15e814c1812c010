"""The audit log as operators read it, with the days on which devices were seen first: in order, whatever the page."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otaseal.errors import ConfigError
from otaseal.server.operator_api import audit_page
from otaseal.server.operator_api.audit_page import Place, Wanted, read
from otaseal.store.device_table import FirstSeen
from otaseal.store.store import Store
from support.command import process
from support.page_client import HOME, visit
from support.servers import Running, as_device, operator, publish, talk

DAY = 86400.0
LINES = ("2030-01-03T09:00", "2030-01-03T10:00", "2030-01-05T08:00", "2030-01-05T07:00", "no time")
"""Of one person each, the earliest first; the clock went back once, and the log was damaged once."""
DAYS = {"2030-01-06": 4, "2030-01-05": 3, "2030-01-04": 2, "2030-01-03": 1, "2029-12-31": 5}
EXPECTED = (
    *("d4", "seen 01-06 4", "seen 01-05 3", "d3", "d2", "seen 01-04 2"),
    *("d1", "seen 01-03 1", "d0", "seen 12-31 5"),
)


def sightings(product: str) -> list[FirstSeen]:
    found = []
    for text, devices in DAYS.items():
        begin = datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()
        found += [
            FirstSeen(name, int(begin // DAY), devices, begin + 60, begin + 9.5 * 3600) for name in ("lamp", "blink")
        ]
    return [one for one in found if product in ("", one.product)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    lines = [{"at": at, "event": "publish", "product": "blink", "by": f"d{who}"} for who, at in enumerate(LINES)]
    (tmp_path / "store" / "audit.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return made


def told(store: Store, wanted: Wanted, limit: int) -> list[str]:
    """Return what all pages say, one after the other."""
    said, after = [], ""
    while True:
        page = read(store.documents, sightings, wanted, Place.parse(after), limit)
        assert len(page.rows) <= limit
        said += [f"seen {row['at'][5:10]} {row['count']}" if row["event"] == "seen" else row["by"] for row in page.rows]
        if page.next is None:
            return said
        assert page.next != after
        after = page.next


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
def test_devices_that_came_stand_where_the_last_of_their_day_did(store: Store, limit: int) -> None:
    assert told(store, Wanted("blink"), limit) == list(EXPECTED)
    assert told(store, Wanted("blink", event="seen"), limit) == [one for one in EXPECTED if one.startswith("seen")]
    assert told(store, Wanted("blink", event="publish"), limit) == [one for one in EXPECTED if one[0] == "d"]
    assert told(store, Wanted("blink", by="d1"), limit) == ["d1"]
    assert told(store, Wanted("blink", by="server"), limit) == told(store, Wanted("blink", event="seen"), limit)
    assert told(store, Wanted("blink", version="1.0"), limit) == []
    everywhere = told(store, Wanted(), limit)
    assert [one for one in everywhere if one[0] == "d"] == ["d4", "d3", "d2", "d1", "d0"]
    assert everywhere.count("seen 01-05 3") == 2, "of both products, wherever a page ends"
    assert len(everywhere) == len(LINES) + 2 * len(DAYS)


def test_pages_that_end_because_much_was_looked_at_go_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_page, "MAX_SCANNED", 1)
    assert told(store, Wanted("blink"), 100) == list(EXPECTED)


def test_since(store: Store) -> None:
    assert told(store, Wanted("blink", since="2030-01-05"), 100) == ["d4", "seen 01-06 4", "seen 01-05 3", "d3", "d2"]
    assert told(store, Wanted("lamp", since="2030-01-06T00:01"), 100) == ["seen 01-06 4"]
    assert told(store, Wanted("lamp", since="2030-01-06T09:31"), 100) == []


def test_an_empty_log_has_days(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "store")
    assert told(made, Wanted("blink"), 2) == [one for one in EXPECTED if one.startswith("seen")]


@pytest.mark.parametrize(
    "text", ["x", "-1", "1.2", "1.2.", "1.2.UP", "1.2.a/b", "²", "9" * 19, "1.1234567890123456.blink", ".."]
)
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ConfigError, match="is no place in the log"):
        Place.parse(text)
    assert str(Place.parse("12.1893456000000.blink")) == "12.1893456000000.blink"


def test_devices_that_come_write_no_line_and_are_told_of(server: Running, tmp_path: Path) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    log = server.store / "audit.log"
    before = log.read_bytes()
    for number in range(4):
        request = as_device("/blink/firmware.bin.signed", server.world.firmware(1), mac=f"5C:CF:7F:00:00:0{number}")
        talk(server.world.context(), server.port, request)
    (row,) = operator(server).get("/v1/audit?product=blink&event=seen")["rows"]
    assert (row["count"], row["by"], row["devices"]) == (4, "server", [])
    shown = visit(server).see(f"{HOME}/history").text
    assert f"The server saw 4 devices for the first time on {row['at'][:10]} " in shown
    assert " more" not in shown
    token = tmp_path / "token"
    token.write_text(server.token)
    token.chmod(0o600)
    asked = ("--server", server.url, "--ca", server.world.ca, "--token-file", token, "--product", "blink")
    (line,) = process("audit", "--event", "seen", *asked, cwd=tmp_path).succeeded().out.splitlines()
    assert "  seen  server  4 devices for the first time, since 2" in line
    assert log.read_bytes() == before
