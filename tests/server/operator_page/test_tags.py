"""Rules for tags, a file of names, and a plan, by forms: the same checks, rights and audit lines as by the commands."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone

import pytest

from otaseal.store.tokens import TokenFile
from support.page_client import CHANNEL, HOME, FormReader, PageClient, audit, visit
from support.servers import MAC, PRODUCT, Reply, Running, StartServer, as_device, operator, publish, talk

TAGS, API = f"{HOME}/tags", f"/v1/products/{PRODUCT}"
CSV = f"device,name,tags\n{MAC},hall <b>,indoor spare\nmac:unseen,,indoor\n".encode()
PLAN = b"""
patience = "1d"
[[wave]]
tags = "indoor"
answers = 1
[[wave]]
percent = 100
window = "02:00-04:00"
zone = "UTC"
"""


@pytest.fixture(scope="module")
def one(shared_server: StartServer) -> Running:
    """Return a server with the releases 1.0 and 1.1, and a device that runs 1.0."""
    server = shared_server()
    firmware = server.world.firmware(1)
    publish(server, "1.0", firmware.signed)
    publish(server, "1.1", server.world.firmware(2).signed, channel="beta")
    assert talk(server.world.context(), server.port, as_device("/blink/firmware.bin.signed", firmware)).status == 304
    return server


def test_rules_are_made_changed_and_removed(one: Running) -> None:
    client, api, begun = visit(one), operator(one), len(audit(one))
    rule = {"board": "", "chip": "ESP8*", "version": "1.?", "channel": "", "name": ""}
    reply = client.submit(f"{TAGS}/rule", tag="first", **rule)
    assert (reply.status, reply.headers["location"]) == (303, TAGS)
    shown = client.see(TAGS)
    assert "#first 1 device, by rule: chip ESP8*, runs the version 1.?" in shown.text
    assert f"{HOME}/devices?tag=first" in shown.links
    assert client.see(f"{TAGS}/rule?tag=first").fields["chip"] == "ESP8*", "what there is can be changed"
    assert client.submit(f"{TAGS}/remove?tag=first").status == 303
    by_form = audit(one)[begun:]
    api.post(f"{API}/tag-rules", {"tag": "first", "chip": "ESP8*", "version": "1.?"})
    api.post(f"{API}/tag-rules/remove", {"tag": "first"})
    assert by_form == audit(one)[begun + 2 :]
    for fields, status, words in (
        ({"tag": "Big"}, 422, b"is not a valid tag"),
        ({"tag": "x"}, 422, b"says nothing of its devices"),
        ({"tag": "x", "board": "<b>"}, 422, b"is no pattern for a board"),
    ):
        refused = client.submit(f"{TAGS}/rule", **fields)
        assert (refused.status, words in refused.body) == (status, True), refused.body
    assert client.submit(f"{TAGS}/remove?tag=none").status == 404


def confirm(client: PageClient, asked: Reply) -> Reply:
    """Send the form of a file that was shown."""
    return client.upload(f"{TAGS}/import/start", {}, **FormReader(asked.body.decode()).fields)


def test_a_file_of_names_is_imported_or_nothing_of_it(one: Running) -> None:
    client, begun = visit(one), len(audit(one))
    asked = client.upload(f"{TAGS}/import", {"file": CSV})
    shown = FormReader(asked.body.decode()).text
    assert "2 devices would be changed, of 2 in the file." in shown
    assert "1 device in it asked for nothing yet" in shown
    assert len(audit(one)) == begun, "nothing is taken yet"
    assert confirm(client, asked).headers["location"] == TAGS
    assert b"0 devices would be changed, of 2" in client.upload(f"{TAGS}/import", {"file": CSV}).body
    for carried in ("%", "YQ", base64.b64encode(b"device\n\xff").decode()):
        refused = client.upload(f"{TAGS}/import/start", {}, csv=carried)
        assert 400 <= refused.status < 500, refused.body
    assert "#indoor 1 device" in client.see(TAGS).text
    assert "hall <b>" in client.see(f"{HOME}/devices?tag=indoor,spare").text
    for data, words in ((b"", b"there is no file"), (b"device,tags\nmac:1,NO", b"line 2"), (b"\xff", b"is not UTF-8")):
        refused = client.upload(f"{TAGS}/import", {"file": data})
        assert (400 <= refused.status < 500, words in refused.body) == (True, True), refused.body
    operator(one).put(f"{API}/labels", CSV)
    by_form, by_command = audit(one)[begun:]
    assert by_form == by_command
    assert by_form["event"] == "import"


def test_the_largest_file_is_shown_and_taken(one: Running) -> None:
    client, row = visit(one), f"{MAC},,,{'x' * 480}\n"
    rows = "".join(f"mac:{number:06},,,{'x' * 480}\n" for number in range(1400))
    asked = client.upload(f"{TAGS}/import", {"file": f"device,name,tags,note\n{row}{rows}".encode()})
    assert b"1401 devices would be changed, of 1401" in asked.body
    assert confirm(client, asked).status == 303
    assert client.upload(f"{TAGS}/import", {"file": b"device\n" + b"x" * 800_000}).status == 413


def test_a_plan_is_shown_before_it_begins(one: Running) -> None:
    client, api = visit(one), operator(one)
    confirm(client, client.upload(f"{TAGS}/import", {"file": CSV}))
    api.set_notes(PRODUCT, "1.1", {"severity": "security", "cves": "CVE-2026-12345"})
    begun = len(audit(one))
    asked = client.upload(f"{CHANNEL}/plan", {"file": PLAN}, version="1.1")
    shown = FormReader(asked.body.decode())
    for words in (
        "Give 1.1 to the devices of channel stable by this plan?",
        "It is a release for security.",
        "It closes CVE-2026-12345.",
        "Wave 1: 1 device: tag indoor; at any time; next after 1 answer, or all.",
        "Wave 2: 0 devices: all others; 02:00-04:00 UTC, ",
    ):
        assert words in shown.text, shown.text
    assert shown.fields["patience"] == "1440"
    assert len(audit(one)) == begun, "nothing has begun"

    sent = {**shown.fields, "max_failed": "101"}
    assert client.ask("POST", f"{CHANNEL}/plan/start", {**sent, "proof": "0" * 64}).status == 403
    refused = client.ask("POST", f"{CHANNEL}/plan/start", sent)
    again = FormReader(refused.body.decode())
    assert (refused.status, "is not a percentage of failures" in again.text) == (400, True)
    assert again.fields["waves"] == shown.fields["waves"], "the plan is there still"
    assert client.ask("POST", f"{CHANNEL}/plan/start", shown.fields).headers["location"] == CHANNEL
    by_form = audit(one)[begun:]
    assert "Wave 1 of 2" in client.see(CHANNEL).text

    api.post(f"{API}/channels/stable/promote", {"version": "1.0"})
    begun = len(audit(one))
    waves = json.loads(shown.fields["waves"])
    limits = {"max_failed": 5, "patience": 1440}
    api.post(f"{API}/channels/stable/promote", {"version": "1.1", "waves": waves, **limits})
    assert by_form == audit(one)[begun:]


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (b"", b"there is no file"),
        (b"[[wave]]\npercent = 10 %", b"is not TOML"),
        (b"[[wave]]\npercent = 50\n[[wave]]\npercent = 10", b"wave 2 has 10 %"),
        (
            b"[[wave]]\ndevices = [" + b",".join(b'"cert:' + b"x" * 100 + b'%d"' % one for one in range(60)) + b"]",
            b"4096",
        ),
    ],
)
def test_what_is_no_plan_is_refused(one: Running, plan: bytes, words: bytes) -> None:
    reply = visit(one).upload(f"{CHANNEL}/plan", {"file": plan}, version="1.1")
    assert (reply.status, words in reply.body) == (400, True), reply.body
    assert b"By which plan is channel stable" in reply.body, "the form is there again"


def test_who_may_only_look_changes_nothing(one: Running) -> None:
    _, reads = TokenFile(one.store).issue("reads", PRODUCT, "-", 1, datetime.now(timezone.utc))
    client, before = visit(one, reads), audit(one)
    shown = client.see(TAGS)
    assert not any(link.startswith(f"{TAGS}/") for link in shown.links)
    for path in (f"{TAGS}/rule", f"{TAGS}/remove", f"{TAGS}/import", f"{TAGS}/import/start", f"{CHANNEL}/plan"):
        client.see(path, 403)
    assert audit(one) == before
