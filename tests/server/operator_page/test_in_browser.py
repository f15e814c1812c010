"""The page in Debian's Chromium: as people see it, with and without JavaScript, on a phone, by keyboard alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import chromium, sign_in, violations, window
from support.page_client import CHANNEL, HOME, audit, device_page, visit
from support.page_fleet import mac, roll_out
from support.servers import Running, StartServer, as_device, operator, publish, talk

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STATIC = Path(__file__).resolve().parents[3] / "docs" / "static"
SCREENS = {
    "overview": HOME,
    "rollout": CHANNEL,
    "devices": f"{HOME}/devices",
    "device": device_page(f"mac:{mac(3)}"),
    "releases": f"{HOME}/releases",
    "release": f"{HOME}/releases/1.4.0",
    "certificates": f"{HOME}/certificates",
    "history": f"{HOME}/history",
    "access": f"{HOME}/access",
    "upload": f"{HOME}/upload",
    "report": f"{HOME}/report",
    "name": device_page(f"mac:{mac(3)}", "label"),
    "tags": f"{HOME}/tags",
    "rule": f"{HOME}/tags/rule?tag=esp",
    "plan": f"{CHANNEL}/plan",
    "promote": f"{CHANNEL}/promote?version=1.3.2",
    "roll back": f"{CHANNEL}/rollback",
    "notes": f"{HOME}/releases/1.4.0/notes",
    "forget": device_page(f"mac:{mac(3)}", "forget"),
}
API = "/v1/products/blink/channels/stable"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def fleet(shared_server: StartServer) -> Running:
    """Return a server in the middle of a rollout, which tests leave so."""
    server = shared_server()
    roll_out(server)
    return server


@pytest.mark.proof
def test_every_screen_is_for_everybody(browser: Browser, fleet: Running) -> None:
    """axe-core finds nothing, nothing is cut off, nothing breaks the policy: by day at a desk, at night on a phone."""
    with window(browser, width=360, scheme="dark") as page:
        page.goto(f"{fleet.url}/page/sign-in")
        found = {"sign-in": violations(page)}
        sign_in(page, fleet)
        for number, (name, path) in enumerate(SCREENS.items()):
            at_night = number % 2 == 0
            page.emulate_media(color_scheme="dark" if at_night else "light")
            page.set_viewport_size({"width": 360 if at_night else 1440, "height": 780})
            page.goto(fleet.url + path)
            found[name] = violations(page)
            for width in (360, 800, 920, 1440):
                page.set_viewport_size({"width": width, "height": 780})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
        assert not any(found.values()), found


def test_an_empty_server_says_what_comes_next(browser: Browser, bare: Running) -> None:
    with window(browser, width=360) as page:
        sign_in(page, bare)
        for path, words in ((HOME, "pio run -t deploy"), (f"{HOME}/devices", "otaseal doctor")):
            page.goto(bare.url + path)
            assert words in page.inner_text("main")
            assert violations(page) == []


@pytest.mark.parametrize("script", [True, False])
def test_promote_and_roll_back(browser: Browser, fleet: Running, script: bool) -> None:
    begun = len(audit(fleet))
    with window(browser, script=script, width=1440 if script else 360) as page:
        sign_in(page, fleet)
        page.click("[data-live=channel-beta] >> text=Give out a release")
        question = page.locator("dialog[open] h1" if script else "main h1")
        question.wait_for()
        assert page.locator("dialog").count() == int(script)
        page.select_option("select[name=version]", "1.4.0")
        page.click("button:has-text('Go on')")
        page.wait_for_url("**/promote?version=1.4.0")
        page.fill("input[name=percent]", "100")
        page.click("button:has-text('Give out 1.4.0')")
        page.wait_for_url("**/channels/beta")
        page.wait_for_selector("text=1.4.0 for everybody")
        page.click("text=Roll back to 1.5.0-rc1")
        page.wait_for_selector("h1:text-is('Roll channel beta back from 1.4.0 to 1.5.0-rc1?')")
        page.click("button:has-text('Roll back to 1.5.0-rc1')")
        page.wait_for_url("**/channels/beta")
        page.wait_for_selector("text=1.5.0-rc1 for everybody")
    by_page = audit(fleet)[begun:]
    operator(fleet).post("/v1/products/blink/channels/beta/promote", {"version": "1.4.0"})
    operator(fleet).post("/v1/products/blink/channels/beta/rollback", {})
    assert by_page == audit(fleet)[begun + len(by_page) :]
    assert [line["event"] for line in by_page] == ["point", "rollback"]


@pytest.mark.parametrize("script", [True, False])
def test_files_of_names_and_plans(browser: Browser, fleet: Running, tmp_path: Path, script: bool) -> None:
    (tmp_path / "devices.csv").write_text(f"device,tags\n{mac(3)},crew\n")
    (tmp_path / "rollout.toml").write_text('[[wave]]\ntags = "crew"\n[[wave]]\npercent = 100\n')
    with window(browser, script=script, width=1440 if script else 360) as page:
        sign_in(page, fleet)
        page.goto(f"{fleet.url}{HOME}/tags")
        page.click("text=Import a file")
        page.set_input_files("input[name=file]", tmp_path / "devices.csv")
        page.click("button:has-text('Show what it changes')")
        page.click("button:text-matches('^Change [01] device')")
        page.wait_for_selector("li:has-text('#crew'):has-text('1 device')")
        page.goto(f"{fleet.url}{HOME}/channels/beta")
        page.click("text=Give out by a plan")
        page.select_option("select[name=version]", "1.5.0-rc1")
        page.set_input_files("input[name=file]", tmp_path / "rollout.toml")
        page.click("button:has-text('Show the plan')")
        page.wait_for_selector("li:has-text('Wave 1: 0 devices: tag crew'):has-text('no device to update has the tag')")
        assert not script or violations(page) == []
        page.click("button:has-text('Begin the rollout of 1.5.0-rc1')")
        page.wait_for_url("**/channels/beta")
        page.wait_for_selector("text=Wave 1 of 2")
        page.wait_for_selector("text=The next wave waits: no device to update has the tag 'crew'")
    operator(fleet).post("/v1/products/blink/channels/beta/promote", {"version": "1.5.0-rc1"})


def test_a_change_is_seen_without_a_click(browser: Browser, fleet: Running) -> None:
    with window(browser) as page:
        sign_in(page, fleet)
        page.wait_for_selector("[data-live=channel-stable] >> text=Rolling out: 50 %")
        operator(fleet).post(f"{API}/percent", {"percent": 55})
        page.wait_for_selector("[data-live=channel-stable] >> text=Rolling out: 55 %")
        operator(fleet).post(f"{API}/percent", {"percent": 50})


def test_the_keyboard_is_enough(browser: Browser, fleet: Running) -> None:
    with window(browser) as page:
        page.goto(f"{fleet.url}/page/sign-in")
        page.keyboard.type(fleet.token)
        page.keyboard.press("Enter")
        page.wait_for_url("**/page/products/blink")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        link = page.locator("[data-live=channel-stable] >> text=Roll back to 1.3.2")
        for _ in range(40):
            if link.evaluate("one => one === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog[open]")
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        assert violations(page) == []
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        assert link.evaluate("one => one === document.activeElement"), "one goes on where one was"


def test_hostile_words_stay_words(browser: Browser, fleet: Running) -> None:
    """A search, or a name in an address, is shown as it is."""
    with window(browser) as page:
        sign_in(page, fleet)
        name = "mac:<img src=x onerror=alert(1)>\u202e"
        reply = visit(fleet).ask("GET", device_page(name))
        assert (reply.status, b"<img src=x" in reply.body) == (404, False)
        page.goto(f"{fleet.url}{device_page(name, 'forget')}")
        assert page.locator("img[src=x]").count() == 0


WATCHED = 200


@pytest.mark.proof
def test_a_rollout_of_200_devices_halts_while_somebody_watches(browser: Browser, server: Running) -> None:
    """Devices with addresses of their own ask over TLS; the page tells what becomes of them without a click."""
    context, builds = server.world.context(), {seed: server.world.firmware(seed) for seed in (1, 2)}

    def ask(number: int, seed: int) -> int:
        request = as_device("/blink/firmware.bin.signed", builds[seed], f"5C:CF:7F:00:00:{number:02X}")
        return talk(context, server.port, request, f"127.0.{1 + number // 100}.{1 + number % 100}").status

    publish(server, "1.0", builds[1].signed)
    for number in range(WATCHED):
        ask(number, 1)
    publish(server, "1.1", builds[2].signed, percent=50)
    with window(browser) as page:
        sign_in(page, server)
        page.goto(server.url + CHANNEL)
        page.wait_for_selector(f"[data-live=state] >> text=of {WATCHED} run it")
        given = [number for number in range(WATCHED) if ask(number, 1) == 200]
        assert WATCHED // 4 < len(given) < 3 * WATCHED // 4
        for place, number in enumerate(given):
            ask(number, 1 if place % 3 == 0 else 2)  # every third one comes back with what it had
        page.wait_for_selector("[data-live=state] >> text=1.1 was halted")
        page.wait_for_selector("[data-live=failed] >> text=came back without 1.1")
        failed = len(given[::3])
        page.wait_for_selector(f"[data-live=state] .bad-text a:text-is('{failed}')")
        page.click("[data-live=state] .bad-text a")
        page.wait_for_url("**state=stuck")
        assert page.inner_text(".head").split()[:2] == ["Devices", str(failed)]
        page.goto(server.url + CHANNEL)
        page.click("text=Roll back to 1.0")
        page.click("dialog >> button:has-text('Roll back to 1.0')")
        page.wait_for_selector("text=1.0 for everybody")


@pytest.mark.skipif(not os.environ.get("OTASEAL_SCREENSHOTS"), reason="makes the pictures of the documentation")
def test_pictures_for_the_documentation(browser: Browser, fleet: Running) -> None:
    for name, width, scheme in (("overview", 1200, "light"), ("rollout", 1200, "dark"), ("device", 360, "light")):
        with window(browser, width=width, scheme=scheme) as page:
            sign_in(page, fleet)
            page.goto(fleet.url + SCREENS[name])
            page.screenshot(path=STATIC / f"page-{name}.png")
