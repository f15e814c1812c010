"""What devices ask: the very bytes that clients send, and what of them is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otaseal.errors import InputError
from otaseal.protocol.request import Route, UpdateRequest, device_id, parse_request, route
from support.update_requests import CURL, ESP32, EXPECTED, MD5, PICO, SHA256, parsed

# What `ESP8266httpUpdate` and `HTTPClient` of the core write, in their order; 2.7.4, 3.0.2, 3.1.2 and HEAD agree.
ESP8266 = (
    b"GET /blink/stable/firmware.bin.signed HTTP/1.0\r\n"
    b"Host: 192.168.178.123:8443\r\n"
    b"User-Agent: ESP8266-http-Update\r\n"
    b"Connection: close\r\n"
    b"x-ESP8266-Chip-ID: 15729867\r\n"
    b"x-ESP8266-STA-MAC: 5C:CF:7F:F0:04:CB\r\n"
    b"x-ESP8266-AP-MAC: 5E:CF:7F:F0:04:CB\r\n"
    b"x-ESP8266-free-space: 2818048\r\n"
    b"x-ESP8266-sketch-size: 326368\r\n"
    b"x-ESP8266-sketch-md5: " + MD5.encode() + b"\r\n"
    b"x-ESP8266-chip-size: 4194304\r\n"
    b"x-ESP8266-sdk-version: 2.2.2-dev(38a443e)\r\n"
    b"x-ESP8266-mode: sketch\r\n"
    b"x-ESP8266-version: 1.2.2\r\n"
    b"\r\n"
)
NO_VERSION = ESP8266.replace(b"x-ESP8266-version: 1.2.2\r\n", b"")
WITH_PASSWORD = ESP8266.replace(b"Connection", b"Authorization: Basic dXNlcjpwYXNz\r\nConnection")
OLD_PICO = PICO.replace(b"x-Pico-", b"x--").replace(b"Pico-HTTP-Update", b"-http-Update")
PICO_EXPECTED = UpdateRequest("GET", "pico", version="4", mac="28:CD:C1:00:11:22")
ESP32_EXPECTED = UpdateRequest(
    "GET",
    "esp32",
    mac="24:0A:C4:00:11:22",
    sketch_md5=MD5,
    sketch_sha256=SHA256.lower(),
    sketch_size=912345,
    free_space=1310720,
    chip_size=4194304,
    sdk_version="v4.4.7-dirty",
)


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (ESP8266, EXPECTED),
        (NO_VERSION, replace(EXPECTED, version=None)),
        (WITH_PASSWORD, EXPECTED),
        (ESP8266.replace(b"mode: sketch", b"mode: spiffs"), replace(EXPECTED, mode="filesystem")),
        (ESP8266.replace(b"mode: sketch", b"mode: version"), replace(EXPECTED, mode="version")),
        (PICO, PICO_EXPECTED),
        (OLD_PICO, PICO_EXPECTED),
        (PICO.replace(b"Version: 4", b"Version: "), replace(PICO_EXPECTED, version=None)),
        (ESP32, ESP32_EXPECTED),
        (ESP32.replace(b"x-ESP32-STA", b"x-ESP32-BASE-MAC: 24:0A:C4:00:11:20\r\nx-ESP32-STA"), ESP32_EXPECTED),
        # A chip without Wi-Fi has no address but its own.
        (ESP32.replace(b"x-ESP32-STA-MAC", b"x-ESP32-BASE-MAC"), ESP32_EXPECTED),
        (CURL, UpdateRequest("GET")),
        (CURL.replace(b"GET", b"HEAD"), UpdateRequest("HEAD")),
        (CURL.replace(b"curl/8.5.0", b"ESP8266-http-Update"), UpdateRequest("GET", "esp8266")),
        (CURL.replace(b"curl/8.5.0", b"Pico-HTTP-Update"), UpdateRequest("GET", "pico")),
    ],
)
def test_what_clients_send(wire: bytes, expected: UpdateRequest) -> None:
    assert parsed(wire) == expected


def test_header_names_have_no_case() -> None:
    lowered = [(name.lower(), value) for name, value in pairs_of(ESP8266)]
    raised = [(name.upper(), value) for name, value in pairs_of(ESP8266)]
    assert parse_request("GET", lowered) == parse_request("GET", raised) == EXPECTED


def pairs_of(wire: bytes) -> list[tuple[bytes, bytes]]:
    lines = wire.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (b"x-ESP8266-free-space", b"-1", "32-bit number"),
        (b"x-ESP8266-free-space", b"4294967296", "32-bit number"),
        (b"x-ESP8266-free-space", "\u0661".encode(), "32-bit number"),
        (b"x-ESP8266-sketch-size", b"1e6", "32-bit number"),
        (b"x-ESP8266-chip-size", b"9" * 100, "32-bit number"),
        (b"x-ESP8266-sketch-md5", b"0" * 31, "32 hex digits"),
        (b"x-ESP8266-sketch-md5", b"g" * 32, "32 hex digits"),
        (b"x-ESP32-sketch-sha256", b"0" * 63, "64 hex digits"),
        (b"x-ESP8266-STA-MAC", b"5C:CF:7F:F0:04", "a MAC address"),
        (b"x-ESP8266-mode", b"bootloader", "an update mode"),
        (b"x-ESP8266-version", b"1.0\x1b[2J", "printable"),
        (b"x-ESP8266-version", b"1.0\r\nx-MD5: 0", "printable"),
        (b"x-ESP8266-version", b"v" * 129, "129 bytes"),
        (b"x-ESP8266-yet-to-come", b"v" * 129, "129 bytes"),
    ],
)
def test_a_claim_that_is_not_of_its_kind_is_refused(name: bytes, value: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse_request("GET", [(name, value)])
    assert refused.value.hint


def test_contradictions_and_floods_are_refused() -> None:
    with pytest.raises(InputError, match="given twice"):
        parse_request("GET", [(b"x-ESP8266-mode", b"sketch"), (b"X-esp8266-MODE", b"sketch")])
    with pytest.raises(InputError, match="esp32 and esp8266 devices at once"):
        parse_request("GET", [(b"x-ESP8266-mode", b"sketch"), (b"x-ESP32-version", b"1")])
    with pytest.raises(InputError, match="more than 64 headers"):
        parse_request("GET", ((b"x-%d" % i, b"") for i in range(65)))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/firmware.bin.signed", Route("firmware.bin.signed")),
        ("/blink/firmware.bin.signed", Route("firmware.bin.signed", "blink")),
        ("/blink/stable/firmware.bin.signed", Route("firmware.bin.signed", "blink", "stable")),
        ("/b.l_i-nk2/9/firmware.bin.signed", Route("firmware.bin.signed", "b.l_i-nk2", "9")),
        ("/certs.ar.signed", Route("certs.ar.signed")),
        ("/blink/stable/certs.ar.signed", Route("certs.ar.signed", "blink", "stable")),
    ],
)
def test_urls(path: str, expected: Route) -> None:
    assert route(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "firmware.bin.signed",
        "/firmware.bin",
        "/certs.ar",
        "/blink/certs.ar.signed/firmware.bin",
        "//firmware.bin.signed",
        "/../firmware.bin.signed",
        "/blink/../firmware.bin.signed",
        "/blink/./firmware.bin.signed",
        "/Blink/firmware.bin.signed",
        "/blink\\x/firmware.bin.signed",
        "/blink%2f/firmware.bin.signed",
        "/blink\n/firmware.bin.signed",
        "/blink\0/firmware.bin.signed",
        "/a/b/c/firmware.bin.signed",
        "/firmware.bin.signed/",
        f"/{'a' * 65}/firmware.bin.signed",
    ],
)
def test_what_is_no_url_of_ours(path: str) -> None:
    with pytest.raises(InputError, match="no firmware at"):
        route(path)


def test_a_path_that_is_too_long() -> None:
    with pytest.raises(InputError, match="a path of 10001 characters"):
        route("/" + "a/" * 5000)


def test_a_certificate_is_the_identity_and_a_mac_only_a_claim() -> None:
    assert device_id(EXPECTED.mac, "kitchen") == "cert:kitchen"
    assert device_id(EXPECTED.mac, None) == "mac:5C:CF:7F:F0:04:CB"
    assert device_id(None, None) is None
    posing = parse_request("GET", [(b"x-esp8266-sta-mac", b"5c-cf-7f-f0-04-cb")])
    assert device_id(posing.mac, None) == device_id(EXPECTED.mac, None)
    assert device_id(posing.mac, None) != device_id(posing.mac, "mac:5C:CF:7F:F0:04:CB")
