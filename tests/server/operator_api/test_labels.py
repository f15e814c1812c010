"""What operators say of devices, over real TLS: names, notes, tags, rules, pins; who may, and who said it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otaseal.errors import InputError
from otaseal.server.operator_api import label_changes
from otaseal.store.documents import AUDIT
from support.command import process
from support.servers import MAC, Running, as_device, operator, publish, talk

PATH = "/v1/products/blink"
OTHER = "5C:CF:7F:00:00:01"
NAME = f"mac:{MAC}"


def poll(server: Running, mac: str = MAC, seed: int = 1) -> int:
    request = as_device("/blink/firmware.bin.signed", server.world.firmware(seed), mac)
    return talk(server.world.context(), server.port, request).status


def devices(server: Running, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = operator(server).get(f"{PATH}/devices?{query}")["devices"]
    return found


def label(server: Running, token: str | None = None, **said: object) -> dict[str, Any]:
    answer: dict[str, Any] = operator(server, token).post(f"{PATH}/devices/label", {"device": NAME, **said})
    return answer


def audit(server: Running, *names: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (server.store / AUDIT).read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "at"} for line in lines if line["event"] in names]


def test_a_device_is_named_tagged_pinned_and_told_why_it_gets_nothing(server: Running) -> None:
    client = operator(server)
    publish(server, "1.0", server.world.firmware(1).signed)
    assert [poll(server), poll(server, OTHER)] == [304, 304]
    assert label(server, name=" Küche ", tag=["indoor", "mini"])["name"] == "Küche"
    assert label(server, untag=["mini"], note="by the door", pinned=True) == {
        "product": "blink",
        "channel": "stable",
        "device": NAME,
        "name": "Küche",
        "note": "by the door",
        "tags": ["indoor"],
        "pinned": True,
    }
    publish(server, "2.0", server.world.firmware(2).signed, max_failed=100)
    assert [poll(server), poll(server, OTHER)] == [304, 200]
    (row,) = devices(server, "tag=indoor&pinned=1&text=k%C3%BCche&answered=pinned")
    assert (row["device"], row["name"], row["answered"], row["running"]) == (NAME, "Küche", "pinned", "1.0")
    assert (row["chip"], row["core"], row["free_space"]) == ("esp8266", "3.1.2", 2_818_048)
    shown = client.get(f"{PATH}/devices/{MAC}")
    assert shown["label"] == {"name": "Küche", "note": "by the door", "tags": ["indoor"], "pinned": True}
    history = [(event["event"], event["version"], event["detail"]) for event in shown["history"]]
    assert history == [
        ("answered", "", "pinned"),
        ("answered", "", "current"),
        ("first", "1.0", server.world.firmware(1).md5),
    ]
    counts = client.get(f"{PATH}/counts")
    assert (counts["total"], counts["pinned"], counts["tags"]) == (2, 1, {"indoor": 1})
    with pytest.raises(InputError, match=f"'{NAME}' is pinned"):
        client.post(f"{PATH}/devices/forget", {"device": NAME})
    label(server, pinned=False)
    assert poll(server) == 200
    client.post(f"{PATH}/devices/forget", {"device": NAME})
    with pytest.raises(InputError):
        client.get(f"{PATH}/devices/{MAC}")
    lines = audit(server, "label")
    changed = {"event": "label", "product": "blink", "channel": "stable", "device": NAME, "by": lines[0]["by"]}
    assert lines == [
        {**changed, "name": " Küche ", "tag": ["indoor", "mini"]},
        {**changed, "note": "by the door", "pinned": True, "untag": ["mini"]},
        {**changed, "pinned": False},
    ]


def test_rules_give_tags_by_what_devices_report(server: Running) -> None:
    client = operator(server)
    publish(server, "1.0", server.world.firmware(1).signed)
    poll(server)
    rule = {"tag": "first", "board": "", "chip": "ESP8*", "version": "1.?", "channel": "", "name": ""}
    answer = client.post(f"{PATH}/tag-rules", {name: value for name, value in rule.items() if value})
    assert answer == client.get(f"{PATH}/tag-rules")
    assert rule in answer["rules"]
    assert NAME in {row["device"] for row in devices(server, "tag=first")}
    assert client.get(f"{PATH}/counts")["tags"]["first"] == len(devices(server, "tag=first"))
    assert client.post(f"{PATH}/tag-rules/remove", {"tag": "first"})["rules"] == []
    assert devices(server, "tag=first") == []
    with pytest.raises(InputError, match="no rule for the tag 'first'"):
        client.post(f"{PATH}/tag-rules/remove", {"tag": "first"})
    made, removed = audit(server, "tag-rule")[:2]
    assert (made["tag"], made["rule"]) == ("first", {"chip": "ESP8*", "version": "1.?"})
    assert removed.keys().isdisjoint(("rule", "version", "channel"))
    assert removed["tag"] == "first"
    assert client.get("/v1/audit?event=tag-rule")["rows"][-1]["version"] == "", "a pattern is no release"


def test_a_file_of_names_is_taken_whole_or_not_at_all(server: Running) -> None:
    client, path = operator(server), f"{PATH}/labels"
    good = '\ufeffDevice,name,Tags,note\r\n5c-cf-7f-00-00-10,"Hall, left",a b,\r\n\r\ncert:cellar,,b,"two\nlines"\r\n'
    assert client.put(path, good.encode()) == {"product": "blink", "devices": 2}
    shown = [client.get(f"{PATH}/devices/{name}")["label"] for name in ("5C:CF:7F:00:00:10", "cert:cellar")]
    assert shown == [
        {"name": "Hall, left", "note": "", "tags": ["a", "b"], "pinned": False},
        {"name": "", "note": "two\nlines", "tags": ["b"], "pinned": False},
    ]
    assert client.post(f"{PATH}/devices/forget", {"device": "cert:cellar"})["channel"] is None
    with pytest.raises(InputError, match="no device 'cert:cellar'"):
        client.get(f"{PATH}/devices/cert:cellar")
    for text, message in (
        ("", "line 1: '' does not name the columns"),
        ("device,colour\n", "line 1: 'device,colour' does not name the columns"),
        ("device,name\nmac:1,ok\nmac:2\n", "line 3: too few fields"),
        ("device\nmac:1,x\n", "line 2: too many fields"),
        ("device,tags\nmac:1,ok\nmac:2,NO\n", "line 3: 'NO' is not a valid tag"),
        ("device\nmac:1\nmac:1\n", "line 3: 'mac:1' is there twice"),
        ("device,name\nmac:1,a\n,b\n", "line 3: '' is no name of a device"),
        ('device,name\nmac:1,"a\n', "line 2: unexpected end of data"),
        ("device,name\nmac:1,\a\n", "line 2: '\a' is no name"),
        ("device,name\n5C:CF:7F:F0:04:C,hall\n", "line 2: '5C:CF:7F:F0:04:C' is no name of a device"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            client.put(path, text.encode())
        assert "nothing was imported" in caught.value.hint
    with pytest.raises(InputError, match="line 2: that is not UTF-8"):
        client.put(path, b"device\n\xff\n")
    with pytest.raises(InputError):
        client.get(f"{PATH}/devices/mac:1")
    assert [line["devices"] for line in audit(server, "import")] == [2]


def test_a_file_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_changes, "MAX_ROWS", 2)
    assert len(label_changes.read_csv(b"device\nmac:1\nmac:2\n")) == 2
    with pytest.raises(InputError, match="line 4: more than 2 devices"):
        label_changes.read_csv(b"device\nmac:1\nmac:2\nmac:3\n")


def test_it_takes_the_right_to_the_devices_channel_or_to_all(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    poll(server)
    before = len(audit(server, "label", "import", "tag-rule"))
    made = process(
        *("token", "new", "ci-beta", "--store", server.store, "--product", "blink", "--channel", "beta", "--json"),
        cwd=server.store.parent,
    )
    client = operator(server, made.succeeded().json["token"])
    with pytest.raises(InputError, match="is not for product 'blink', channel 'stable'"):
        client.post(f"{PATH}/devices/label", {"device": NAME, "pinned": True})
    for ask in (
        lambda: client.put(f"{PATH}/labels", b"device,name\nmac:1,a\n"),
        lambda: client.post(f"{PATH}/tag-rules", {"tag": "a", "version": "*"}),
        lambda: client.post(f"{PATH}/tag-rules/remove", {"tag": "a"}),
        lambda: client.post(f"{PATH}/devices/label", {"device": "mac:unseen", "name": "a"}),
    ):
        with pytest.raises(InputError, match="is not for product 'blink'"):
            ask()
    assert len(audit(server, "label", "import", "tag-rule")) == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "no device is named"),
        ({"device": NAME}, "nothing is said"),
        ({"device": NAME, "name": 5}, "name is '5'"),
        ({"device": NAME, "tag": "indoor"}, "tag is 'indoor'"),
        ({"device": NAME, "tag": [5]}, r"tag is '\[5\]'"),
        ({"device": NAME, "tag": ["In door"]}, "'In door' is not a valid tag"),
        ({"device": NAME, "pinned": 1}, "pinned is '1'"),
        ({"device": NAME, "name": "\u202e\a"}, "is no name for a device"),
        ({"device": NAME, "colour": "red"}, "'colour' is not a field here"),
    ],
)
def test_what_is_no_label_is_refused(server: Running, body: dict[str, object], message: str) -> None:
    before = len(audit(server, "label"))
    with pytest.raises(InputError, match=message):
        operator(server).post(f"{PATH}/devices/label", body)
    assert len(audit(server, "label")) == before


@pytest.mark.parametrize(
    "query",
    [
        "tag=A",
        "tag=a,",
        "tag=a&tag=b",
        f"tag={','.join('abcdefghijklmnopq')}",
        "answered=x",
        "late=2",
        "no_room=",
        "since=x",
        "board=a%20b",
        "text=",
    ],
)
def test_filters_that_cannot_be(server: Running, query: str) -> None:
    with pytest.raises(InputError):
        operator(server).get(f"{PATH}/devices?{query}")
