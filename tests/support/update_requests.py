"""Requests for an update, as clients send them."""

from __future__ import annotations

from otaseal.protocol.request import (
    UpdateRequest,
    parse_request,
)

MD5 = "5d41402abc4b2a76b9719d911017c592"
SHA256 = "2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824"
EXPECTED = UpdateRequest(
    method="GET",
    family="esp8266",
    mode="sketch",
    version="1.2.2",
    mac="5C:CF:7F:F0:04:CB",
    sketch_md5=MD5,
    sketch_size=326368,
    free_space=2818048,
    chip_size=4194304,
    sdk_version="2.2.2-dev(38a443e)",
)
PICO = (
    b"GET /firmware.bin.signed HTTP/1.0\r\nHost: updates.example\r\nUser-Agent: Pico-HTTP-Update\r\n"
    b"Connection: close\r\nx-Pico-Chip-ID: E6614103E7452D2F\r\nx-Pico-STA-MAC: 28:CD:C1:00:11:22\r\n"
    b"x-Pico-AP-MAC: 28:CD:C1:00:11:22\r\nx-Pico-Mode: sketch\r\nx-Pico-Version: 4\r\n\r\n"
)
ESP32 = (
    b"GET /firmware.bin.signed HTTP/1.0\r\nHost: updates.example\r\nUser-Agent: ESP32-http-Update\r\n"
    b"Connection: close\r\nCache-Control: no-cache\r\nx-ESP32-STA-MAC: 24:0A:C4:00:11:22\r\n"
    b"x-ESP32-AP-MAC: 24:0A:C4:00:11:23\r\nx-ESP32-free-space: 1310720\r\nx-ESP32-sketch-size: 912345\r\n"
    b"x-ESP32-sketch-md5: " + MD5.encode() + b"\r\nx-ESP32-sketch-sha256: " + SHA256.encode() + b"\r\n"
    b"x-ESP32-chip-size: 4194304\r\nx-ESP32-sdk-version: v4.4.7-dirty\r\nx-ESP32-mode: sketch\r\n\r\n"
)
CURL = b"GET /firmware.bin.signed HTTP/1.1\r\nHost: updates.example\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n"


def parsed(wire: bytes) -> UpdateRequest:
    """Split a request as any HTTP server does, and parse it."""
    head, *lines = wire.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return parse_request(head.split(b" ")[0].decode(), pairs)
