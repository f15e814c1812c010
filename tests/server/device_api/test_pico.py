"""Devices with arduino-pico at a live server: it goes by the version that they say, for they say no MD5 (F57)."""

from __future__ import annotations

import hashlib
from functools import cache

from otaseal.image import gzip_payload, signed_image
from support.images import Signer
from support.pico_images import build_image
from support.servers import Reply, Running, devices_seen, publish, talk, until

MAC = ("28:CD:C1:00:11:22",)
FILE = "/firmware.bin.signed"


@cache
def image(version: str) -> bytes:
    return build_image("rp2350", code=version.encode() * 500)


def signed(server: Running, version: str, *, packed: bool = False) -> bytes:
    raw = image(version)
    return signed_image.sign(gzip_payload.compress(raw) if packed else raw, Signer(server.world.key))


def ask(server: Running, version: str, mac: str = "28:CD:C1:00:11:22", *more: str) -> Reply:
    """Ask as HTTPUpdate of arduino-pico 6.0.0 does."""
    lines = ["User-Agent: Pico-HTTP-Update", "Connection: close", "x-Pico-Chip-ID: E6614103E7452D2F"]
    lines += [f"x-Pico-STA-MAC: {mac}", f"x-Pico-AP-MAC: {mac}", "x-Pico-Mode: sketch", f"x-Pico-Version: {version}"]
    request = "\r\n".join([f"GET {FILE} HTTP/1.0", "Host: localhost", *lines, *more, "", ""])
    return talk(server.world.context(), server.port, request.encode())


def state(server: Running, mac: str = "28:CD:C1:00:11:22") -> str:
    return str({device["device"]: device["state"] for device in devices_seen(server)}.get(f"mac:{mac}", "unknown"))


def test_an_update_is_delivered_confirmed_and_not_sent_again(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    assert ask(server, "1.0").status == 304
    publish(server, "1.1", signed(server, "1.1"))
    reply = ask(server, "1.0")
    assert (reply.status, reply.body) == (200, signed(server, "1.1"))
    until(lambda: state(server) == "updating", "the delivery was lost")
    assert ask(server, "1.1").status == 304
    until(lambda: state(server) == "updated", "the confirmation was lost")
    (device,) = devices_seen(server)
    assert (device["running"], device["version"]) == ("1.1", "1.1")


def test_a_device_that_comes_back_with_its_old_version_is_stuck_and_its_loop_is_broken(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    publish(server, "1.1", signed(server, "1.1"))
    for deliveries in range(1, 4):
        assert ask(server, "1.0").status == 200
        until(lambda count=deliveries: devices_seen(server)[0]["deliveries"] == count, "a delivery was lost")
    assert ask(server, "1.0").headers["x-otaseal-reason"] == "loop"


def test_a_rollout_goes_by_what_devices_confirm(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    publish(server, "1.1", signed(server, "1.1"), percent=50)
    macs = [f"28:CD:C1:00:11:{number:02X}" for number in range(40)]
    given = [mac for mac in macs if ask(server, "1.0", mac).status == 200]
    assert 0 < len(given) < len(macs)
    for mac in given:
        assert ask(server, "1.1", mac).status == 304
    until(lambda: all(state(server, mac) == "updated" for mac in given), "a confirmation was lost")


def test_a_gzip_goes_to_devices_with_the_library(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"), signed(server, "1.0", packed=True))
    assert ask(server, "0.9").body == signed(server, "1.0")
    with_library = ask(server, "0.9", "28:CD:C1:00:11:23", "x-OtaSeal-Counter: 0", "x-OtaSeal-Error: 0")
    assert with_library.body == signed(server, "1.0", packed=True)


def test_a_device_whose_new_library_says_an_md5_is_confirmed_and_then_known_by_it(server: Running) -> None:
    """It begins with one that says its version; what was published for that one stays as it was."""
    saying = {
        version: build_image("rp2350", code=version.encode() * 400 + b"sketch-md5\0") for version in ("1.1", "1.2")
    }
    publish(server, "1.0", signed(server, "1.0"))
    assert ask(server, "1.0").status == 304
    runs = "1.0", ""
    for version, image_ in saying.items():
        publish(server, version, signed_image.sign(image_, Signer(server.world.key)))
        assert ask(server, runs[0], *MAC, *([runs[1]] if runs[1] else [])).status == 200
        until(lambda: state(server) == "updating", "the delivery was lost")
        runs = version, f"x-Pico-sketch-md5: {hashlib.md5(image_).hexdigest()}"
        assert ask(server, version, *MAC, runs[1]).status == 304
        until(lambda: state(server) == "updated", "the confirmation was lost")
    (device,) = devices_seen(server)
    assert device["running"] == "1.2"


def test_no_esp8266_and_no_esp32_gets_it(server: Running) -> None:
    publish(server, "1.0", signed(server, "1.0"))
    for name in ("ESP8266", "ESP32"):
        request = f"GET {FILE} HTTP/1.0\r\nHost: localhost\r\nx-{name}-STA-MAC: 28:CD:C1:00:11:22\r\n\r\n"
        reply = talk(server.world.context(), server.port, request.encode())
        assert (reply.status, reply.headers["x-otaseal-reason"]) == (403, "platform")
