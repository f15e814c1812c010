"""What people do by the forms of the page is what the commands do: same checks, same rights, same audit lines."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from otaseal.store.tokens import TokenFile
from support.page_client import CHANNEL, HOME, audit, device_page, visit
from support.servers import (
    MAC,
    PRODUCT,
    Running,
    StartServer,
    as_device,
    devices_seen,
    operator,
    publish,
    publish_two,
    talk,
    until,
)

API = f"/v1/products/{PRODUCT}/channels/stable"
DEVICE = f"mac:{MAC}"
NOW = datetime.now(timezone.utc)


@pytest.fixture(scope="module")
def unasked(shared_server: StartServer) -> Running:
    """Return a server with two releases, 1.0 and 1.1, that no device has asked; each test leaves 1.1 in stable."""
    return publish_two(shared_server())


@pytest.fixture(scope="module")
def two(shared_server: StartServer) -> Running:
    """Return what `failing` does; tests leave its device failed."""
    return failing(shared_server())


def failing(server: Running) -> Running:
    """Return a server with two releases: 1.0, and 1.1, which one device has downloaded in vain."""
    publish(server, "1.0", server.world.firmware(1).signed)
    poll(server, 1)
    publish(server, "1.1", server.world.firmware(2).signed)
    fail(server)
    return server


def settle(server: Running) -> None:
    """Have 1.1 in the stable channel, and 1.0 as what it goes back to."""
    for version in ("1.0", "1.1"):
        operator(server).post(f"{API}/promote", {"version": version})


def fail(server: Running) -> None:
    """Let the device download 1.1, and come back without it; the server notes that a moment after its answer."""
    poll(server, 1)
    poll(server, 1)
    until(lambda: devices_seen(server)[0]["state"] in ("stuck", "looping"), "it is not noted")


def poll(server: Running, seed: int) -> int:
    """Let the device ask that runs the firmware of this seed."""
    request = as_device("/blink/firmware.bin.signed", server.world.firmware(seed))
    return talk(server.world.context(), server.port, request).status


def added(server: Running, change: Callable[[], object]) -> list[dict[str, Any]]:
    """Return what a change adds to the audit log."""
    before = len(audit(server))
    change()
    return audit(server)[before:]


@pytest.mark.parametrize(
    ("path", "fields", "command", "body"),
    [
        ("promote?version=1.0", {"percent": "25"}, "promote", {"version": "1.0", "percent": 25}),
        ("percent", {"percent": "40", "max_failed": "7"}, "percent", {"percent": 40, "max_failed": 7, "patience": 60}),
        ("rollback", {}, "rollback", {}),
    ],
)
def test_a_channels_form_leaves_the_commands_line(
    unasked: Running, path: str, fields: dict[str, str], command: str, body: dict[str, Any]
) -> None:
    client, api = visit(unasked), operator(unasked)

    def by_form() -> None:
        reply = client.submit(f"{CHANNEL}/{path}", **fields)
        assert (reply.status, reply.headers["location"]) == (303, CHANNEL), reply.body.decode()

    lines = added(unasked, by_form)
    settle(unasked)
    assert lines == added(unasked, lambda: api.post(f"{API}/{command}", body)) != []
    settle(unasked)
    assert lines[-1]["by"] == "token:tests"


WAVES = [{"percent": 10, "soak": 60, "approval": ["tests"]}, {"percent": 100}]


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (("pause",), "paused"),
        (("pause", "resume"), "running"),
        (("halt",), "halted"),
        (("halt", "resume"), "running"),
        (("approve",), "running"),
    ],
)
def test_a_rollouts_form_leaves_the_commands_line(unasked: Running, steps: tuple[str, ...], state: str) -> None:
    client, api = visit(unasked), operator(unasked)

    def begin() -> None:
        settle(unasked)
        api.post(f"{API}/promote", {"version": "1.0", "waves": WAVES})

    def by_form() -> None:
        for step in steps:
            assert f"{CHANNEL}/rollout/{step}" in client.see(CHANNEL).links
            assert client.submit(f"{CHANNEL}/rollout/{step}").headers["location"] == CHANNEL

    def by_command() -> None:
        for step in steps:
            api.post(f"{API}/rollout/{step}", {})

    begin()
    lines = added(unasked, by_form)
    assert api.get(f"{API}/rollout")["state"] == state
    begin()
    assert lines == added(unasked, by_command) != []
    settle(unasked)


def test_the_share_that_a_release_has_is_kept(unasked: Running) -> None:
    """A release that the channel gives out already is not taken from devices by a number that nobody chose."""
    client = visit(unasked)
    operator(unasked).post(f"{API}/promote", {"version": "1.1", "percent": 60})
    shares = [client.see(f"{CHANNEL}/promote?version={version}").fields["percent"] for version in ("1.1", "1.0")]
    settle(unasked)
    assert shares == ["60", "10"]


def test_a_release_goes_out_in_waves(unasked: Running) -> None:
    client, api = visit(unasked), operator(unasked)
    assert client.submit(f"{CHANNEL}/promote?version=1.0", ramp="1, 10,100", soak="2h").status == 303
    assert [wave["plan"] for wave in api.get(f"{API}/rollout")["waves"]] == [
        {"percent": percent, "soak": 120} for percent in (1, 10, 100)
    ]
    assert "Wave 1 of 3" in client.see(CHANNEL).text
    assert client.submit(f"{CHANNEL}/rollout/approve", "now").status == 303
    assert "Wave 2 of 3" in client.see(CHANNEL).text
    refused = client.submit(f"{CHANNEL}/promote?version=1.1", ramp="50,10")
    assert (refused.status, b"wave 2 has 10 %" in refused.body) == (400, True)
    settle(unasked)


def test_what_is_refused_stands_in_the_form(start_server: StartServer) -> None:
    client = visit(failing(start_server()))
    reply = client.submit(f"{CHANNEL}/percent", percent="101")
    assert reply.status == 400
    shown = reply.body.decode()
    assert "is not a percentage" in shown
    assert "use a whole number from 0 to 100" in shown
    assert 'value="101"' in shown, "what was typed is still there"
    assert client.submit(f"{CHANNEL}/percent", percent="100").status == 409, "its one device failed: it would halt"


def test_what_a_roll_back_does_is_said_before(unasked: Running) -> None:
    shown = visit(unasked).see(f"{CHANNEL}/rollback")
    assert "Roll channel stable back from 1.1 to 1.0?" in shown.text
    assert "Nobody seen is left behind." in shown.text
    assert not shown.checks


def test_a_release_is_chosen_first(unasked: Running) -> None:
    client = visit(unasked)
    shown = client.see(f"{CHANNEL}/promote")
    assert set(shown.fields) == {"version"}
    assert {"1.0", "1.1"} <= set(shown.words)
    assert "Give 1.1 to the devices of channel stable?" in client.see(f"{CHANNEL}/promote?version=1.1").text
    client.see(f"{CHANNEL}/promote?version=9.9", 404)


def test_a_channel_is_made_by_the_form(unasked: Running) -> None:
    client = visit(unasked)
    assert "The channel is new." in client.see(f"{HOME}/channels/beta/promote?version=1.1").text
    assert client.submit(f"{HOME}/channels/beta/promote?version=1.1", percent="100").status == 303
    assert operator(unasked).get(f"/v1/products/{PRODUCT}/releases")["channels"]["beta"]["version"] == "1.1"


def test_a_release_is_described_and_deleted(unasked: Running) -> None:
    client, api = visit(unasked), operator(unasked)
    words = "Fixes <b>that</b>\nand more \u202e"

    def by_form() -> None:
        assert client.submit(f"{HOME}/releases/1.2/notes", severity="security", notes="Fixes <b>that</b>").status == 303
        assert "<b>that" not in client.ask("GET", f"{HOME}/releases/1.2").body.decode()
        assert client.submit(f"{HOME}/releases/1.2/notes", severity="fix", notes=words).status == 422
        assert client.submit(f"{HOME}/releases/1.2/delete").headers["location"] == f"{HOME}/releases"
        client.see(f"{HOME}/releases/1.2", 404)

    def by_command() -> None:
        api.set_notes(PRODUCT, "1.2", {"severity": "security", "notes": "Fixes <b>that</b>"})
        api.delete(f"/v1/products/{PRODUCT}/releases/1.2")

    lines = []
    for act in (by_form, by_command):
        publish(unasked, "1.2", unasked.world.firmware(3).signed, channel="gone", percent=50)
        api.post(f"/v1/products/{PRODUCT}/channels/gone/promote", {"version": "1.1"})
        lines.append(added(unasked, act))
    assert lines[0] == lines[1]
    assert [line["event"] for line in lines[0]] == ["notes", "prune"]


def test_a_release_that_is_needed_stays(unasked: Running) -> None:
    client = visit(unasked)
    assert f"{HOME}/releases/1.1/delete" not in client.see(f"{HOME}/releases/1.1").links
    assert client.submit(f"{HOME}/releases/1.1/delete").status == 409


def test_a_device_that_failed_gets_it_again(two: Running) -> None:
    client = visit(two)
    shown = client.see(device_page(DEVICE))
    assert "Failed" in shown.text
    assert device_page(DEVICE, "retry") in [link.replace("%3A", ":").replace(":", "%3A") for link in shown.links]
    lines = added(two, lambda: client.submit(device_page(DEVICE, "retry")))
    fail(two)
    assert lines == added(two, lambda: operator(two).post(f"/v1/products/{PRODUCT}/devices/retry", {"device": DEVICE}))
    assert [line["event"] for line in lines] == ["retry"]
    fail(two)


def test_a_device_is_forgotten(start_server: StartServer) -> None:
    server = start_server()
    client = visit(server)
    publish(server, "1.0", server.world.firmware(1).signed)
    poll(server, 1)
    until(lambda: bool(devices_seen(server)), "it is not noted")
    reply = client.submit(device_page(DEVICE, "forget"))
    assert (reply.status, reply.headers["location"]) == (303, f"{HOME}/devices")
    assert devices_seen(server) == []
    assert "No device was seen yet" in client.see(f"{HOME}/devices").text
    assert client.submit(device_page(DEVICE, "forget")).status == 404


def by_people(server: Running) -> list[dict[str, Any]]:
    """Return the audit lines but those of the server, which halts a rollout when it finds that."""
    return [line for line in audit(server) if line.get("by") != "server"]


@pytest.mark.parametrize("scope", [("blink", "beta"), ("blink", "-"), ("lamp", "*")])
def test_a_token_keeps_to_its_scope(two: Running, scope: tuple[str, str]) -> None:
    _, secret = TokenFile(two.store).issue("other", *scope, 1, NOW)
    client, whole, before = visit(two, secret), visit(two), by_people(two)
    if scope[0] == "lamp":
        assert client.ask("GET", HOME).status == 403
        assert "No product that you may see" in client.see("/page/").text
        return
    for path in (HOME, CHANNEL, device_page(DEVICE)):
        theirs = [link for link in client.see(path).links if "/stable/" in link or "/device/" in link]
        assert not theirs, "what would be refused is not offered"
        assert [link for link in whole.see(path).links if "/stable/" in link or "/device/" in link]
    for path in (f"{CHANNEL}/percent", f"{CHANNEL}/rollback", f"{CHANNEL}/promote"):
        assert client.ask("GET", path).status == 403
    proof = client.ask("GET", HOME).body.decode().partition('name="proof" value="')[2][:64]
    fields = {"proof": proof, "percent": "1", "version": "1.0", "name": DEVICE}
    for path in (f"{CHANNEL}/percent", f"{CHANNEL}/rollback", f"{CHANNEL}/promote", f"{HOME}/device/forget"):
        reply = client.ask("POST", path, fields)
        assert (reply.status, b"is not for product" in reply.body) == (403, True), path
    assert by_people(two) == before


def test_numbers_lead_to_the_devices(two: Running) -> None:
    """Each is the total of the list that it leads to."""
    client = visit(two)
    text = client.ask("GET", HOME).body.decode() + client.ask("GET", CHANNEL).body.decode()
    numbers = re.findall(r'<a class="count" href="([^"]+)">(\d+)</a>', text)
    assert len(numbers) >= 4
    for link, number in numbers:
        shown = client.see(link.replace("&amp;", "&"))
        assert f"Devices {number} " in shown.text, link
    assert MAC in client.see(f"{HOME}/devices?channel=stable&state=stuck").text
    assert "No such device" in client.see(f"{HOME}/devices?state=looping").text
    client.see(f"{HOME}/devices?state=odd", 400)


@pytest.mark.parametrize(
    ("path", "marked"),
    [
        (HOME, 'aria-current="page">Overview'),
        (CHANNEL, 'aria-current="true">Overview'),
        (device_page(DEVICE), 'aria-current="true">Devices'),
        (f"{HOME}/tags", 'aria-current="true">Devices'),
        (f"{HOME}/releases", 'aria-current="page">Releases'),
        (f"{HOME}/upload", 'aria-current="true">Releases'),
    ],
)
def test_the_navigation_marks_where_a_screen_belongs(two: Running, path: str, marked: str) -> None:
    navigation = visit(two).ask("GET", path).body.decode().partition("</nav>")[0]
    assert marked in re.sub("(?s)<svg.*?</svg>\n?", "", navigation)
    assert navigation.partition("<nav")[2].count("aria-current") == 1


def test_what_people_say_of_a_device(two: Running) -> None:
    client, api = visit(two), operator(two)
    path = f"/v1/products/{PRODUCT}/devices/label"

    def by_form() -> None:
        said = {"called": "Lamp <b>", "tags": "hall, beta", "note": ""}
        assert client.submit(device_page(DEVICE, "label"), **said).status == 303
        assert client.submit(device_page(DEVICE, "pin")).status == 303
        assert client.submit(device_page(DEVICE, "forget")).status == 409, "it would get the next release"
        assert client.submit(device_page(DEVICE, "unpin")).status == 303
        assert client.submit(device_page(DEVICE, "label"), called="", tags="").status == 303

    def by_command() -> None:
        api.post(path, {"device": DEVICE, "name": "Lamp <b>", "note": "", "tag": ["beta", "hall"]})
        api.post(path, {"device": DEVICE, "pinned": True})
        api.post(path, {"device": DEVICE, "pinned": False})
        api.post(path, {"device": DEVICE, "name": "", "note": "", "untag": ["beta", "hall"]})

    lines = added(two, by_form)
    assert lines == added(two, by_command)
    assert [line["event"] for line in lines] == ["label"] * 4
    refused = client.submit(device_page(DEVICE, "label"), called="a\u202eb", tags="Big!")
    assert (refused.status, b"is not a valid tag" in refused.body) == (422, True)


def test_names_and_tags_are_text(two: Running) -> None:
    client = visit(two)
    client.submit(device_page(DEVICE, "label"), called="<i>Küche</i>", tags="x, y", note="<script>alert(1)</script>")
    for path in (f"{HOME}/devices", device_page(DEVICE), f"{HOME}/history", CHANNEL):
        text = client.ask("GET", path).body.decode()
        assert "<i>K" not in text
        assert "<script>alert" not in text
    assert "<i>Küche</i>" in client.see(f"{HOME}/devices?text=K%C3%BCche").text
    chips = client.ask("GET", f"{HOME}/devices?tag=x").body.decode()
    assert 'devices?tag=x%2Cy">y</a>' in chips, "both have to be there"
    chips = client.ask("GET", f"{HOME}/devices?tag=x%2Cy").body.decode()
    assert 'devices?tag=y" aria-current="true">x</a>' in chips, "without x again"
    assert "Devices 1 " in client.see(f"{HOME}/devices?tag=x,y").text
    assert "No such device" in client.see(f"{HOME}/devices?tag=x,z").text
    client.submit(device_page(DEVICE, "label"), called="", tags="", note="")


def test_a_device_gets_it_before_its_turn(two: Running) -> None:
    client, api = visit(two), operator(two)

    def begin() -> None:
        api.post(f"{API}/promote", {"version": "1.0"})
        api.post(f"{API}/promote", {"version": "1.1", "percent": 1, "max_failed": 100})

    def by_form() -> None:
        assert "Give it 1.1 now" in client.see(device_page(DEVICE)).text
        assert client.submit(device_page(DEVICE, "grant")).status == 303

    begin()
    lines = added(two, by_form)
    begin()
    assert lines == added(two, lambda: api.post(f"{API}/rollout/grant", {"device": DEVICE}))
    api.post(f"{API}/promote", {"version": "1.1", "max_failed": 100})


HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 77*7 }}", "a" * 128, "&lt;x", "%00")


def test_what_a_device_says_is_text(unasked: Running) -> None:
    for number, version in enumerate(HOSTILE):
        mac = f"5C:CF:7F:00:00:{number:02X}"
        request = as_device("/blink/firmware.bin.signed", unasked.world.firmware(9), mac, version=version)
        assert talk(unasked.world.context(), unasked.port, request).status == 200
    client = visit(unasked)
    links = [link for link in client.see(f"{HOME}/devices").links if "/device?" in link]
    assert len(links) == len(HOSTILE)
    for path in (HOME, CHANNEL, f"{HOME}/devices", *links):
        text = client.ask("GET", path).body.decode()
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert " 539 " not in text, "a template in it is not run"
    for link, version in zip(links, HOSTILE, strict=True):
        assert version in client.see(link).text
