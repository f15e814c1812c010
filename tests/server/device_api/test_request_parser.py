"""The parser of requests, and the heads that it remembers: however bytes come, what they mean stays the same."""

from __future__ import annotations

import re
import tracemalloc
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.protocol.request import parse_request
from otaseal.server import limits
from otaseal.server.device_api import heads, request_parser
from otaseal.server.device_api.answers import DeviceRequest
from otaseal.server.device_api.heads import Received, RememberedHeads
from otaseal.server.device_api.recorder import Recorder
from otaseal.server.device_api.request_parser import MAX_WAITING, RequestParser
from otaseal.store.store import Store
from support.device_apps import make_app
from support.proving import ProvingDevice
from support.servers import get
from support.update_requests import ESP32, PICO

ESP8266 = (
    b"GET /a HTTP/1.0\r\nHost: a\r\nx-ESP8266-Chip-ID: 15729867\r\nx-ESP8266-STA-MAC: 5C:CF:7F:00:00:00\r\n"
    b"x-ESP8266-AP-MAC: 5E:CF:7F:F0:04:CB\r\nx-ESP8266-mode: sketch\r\n\r\n"
)
BASED = ESP32.replace(b"x-ESP32-STA", b"x-ESP32-BASE-MAC: 24:0A:C4:00:11:20\r\nx-ESP32-STA")
SAYS = attrgetter("proof", *(f"head.{name}" for name in ("method", "path", "headers", "version", "keeps", "has_body")))


def forget() -> None:
    request_parser._remembered = RememberedHeads()


HEADS = st.lists(st.sampled_from(["/a", "/b/c", "/%41", "/" + "d" * 300]), min_size=1, max_size=5)


@given(HEADS, st.lists(st.integers(1, 400), max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_parser_finds_the_same_however_its_bytes_come(paths: list[str], cuts: list[int]) -> None:
    data = b"".join(get(path, "X: y", version="1.1") for path in paths)
    whole, pieces = RequestParser(), RequestParser()
    expected = whole.feed(data)
    found, position = [], 0
    for size in [*cuts, len(data)]:
        found += pieces.feed(data[position : position + size])
        position += size
    whole.close()
    pieces.close()
    assert list(map(SAYS, found)) == list(map(SAYS, expected))
    assert [one.head.path for one in found] == [path.replace("%41", "A") for path in paths]


PROOF = b"X-Otaseal-Proof: 5ccf7ff004cb 7 " + b"0" * 32
LINES = (
    b"X: y",
    b" folded",
    b"",
    b"\r",
    b"X: a\n",
    PROOF,
    PROOF.lower(),
    PROOF + b" ",
    b"X-Otaseal-Proof: ",
    PROOF + b"\tz",
)


@given(st.lists(st.sampled_from(LINES), max_size=4), st.lists(st.sampled_from(LINES), max_size=2))
@example([b"", b"\r"], [])
@settings(max_examples=300, deadline=None)
def test_a_proof_stands_beside_a_head_that_is_remembered_without_it(before: list[bytes], behind: list[bytes]) -> None:
    """Whatever stands around it: bytes of which a part is known say what they say to who reads them anew."""
    plain = [b"GET /a HTTP/1.1", b"Host: x", *before, *behind, b"", b""]
    proving = [b"GET /a HTTP/1.1", b"Host: x", *before, PROOF, *behind, b"", b""]
    found = []
    for seen_before in (False, True):
        forget()
        parser = RequestParser()
        if seen_before:
            for lines in (plain, [*plain[:-2], PROOF, b"", b""]):
                RequestParser().feed(b"\r\n".join(lines))
        received = parser.feed(b"\r\n".join(proving))
        found.append((list(map(SAYS, received)), parser.stopped, parser.unread, parser.within, parser.refusal))
    assert found[0] == found[1]


def test_a_device_is_remembered_whatever_number_its_proof_has() -> None:
    forget()
    parser = RequestParser()
    device, heads = ProvingDevice("5C:CF:7F:F0:04:CB", shows=True), []
    for shows in (True, False, False):
        device.shows = shows
        sent = device.prove(get("/a", version="1.1"))
        (received,) = parser.feed(sent)
        assert received.proof is not None
        assert (received.proof.sequence, received.proof.key) == (device.clock, device.key if shows else None)
        heads.append(received.head)
    assert heads[0] is heads[1] is heads[2]
    assert [name for name, _ in heads[0].headers] == [b"host", b"x-otaseal-capabilities"]
    (plain,) = parser.feed(get("/a", "X-Otaseal-Capabilities: 1 proof enroll", version="1.1"))
    assert plain == (heads[0], None, None)
    parser.feed(device.prove(device.prove(get("/a", version="1.1"))))
    assert parser.refusal == "X-Otaseal-Proof is given twice, or says nothing"


ODD = ("", "\n", "POST", "Content-Length: 3", "Connection: close", "Connection: keep-alive", "Upgrade: x", "\0")


@given(st.lists(st.tuples(st.sampled_from(["1.0", "1.1"]), st.sampled_from(ODD)), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_parser_finds_the_same_in_bytes_that_it_remembers(said: list[tuple[str, str]]) -> None:
    sent = [get("/a", line, version=version) if ":" in line else f"{line} /a".encode() for version, line in said]
    rounds = []
    for _ in range(3):
        parser = RequestParser()
        heads = [list(map(SAYS, parser.feed(data))) for data in sent]
        rounds.append((heads, parser.stopped, parser.unread, parser.within, parser.refusal))
        parser.close()
    forget()
    assert rounds[0] == rounds[1] == rounds[2]


def test_remembered_heads_take_a_bounded_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever strangers say, with what the app has made of it; once they were counted, however large each was."""
    monkeypatch.setattr(heads, "MAX_REMEMBERED_BYTES", 2_000_000)
    forget()
    with Recorder(tmp_path / "devices", print) as recorder:
        app = make_app(Store.create(tmp_path / "store"), recorder)
        tracemalloc.start()
        for number in range(1500):
            many = [f"A{of}-{number}: {number}" for of in range(number % 50)]
            path = f"/{number}{'l' * 200}"
            parser = RequestParser()
            (received,) = parser.feed(get(path, "x-ESP8266-STA-MAC: 5C:CF:7F:00:00:00", *many, version="1.1"))
            app.answer(DeviceRequest(received.head))
            parser.close()
    count, counted = len(request_parser._remembered._heads), request_parser._remembered.size
    full = tracemalloc.get_traced_memory()[0]
    forget()
    taken = full - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 200 < count < 700
    assert 1_000_000 < taken < counted <= 2_000_000
    long = get("/" + "l" * heads.REMEMBERED_BYTES, version="1.1")
    parser = RequestParser()
    assert parser.feed(long)[0].head is not parser.feed(long)[0].head
    parser.close()


def test_a_request_for_a_certificate_is_not_remembered() -> None:
    forget()
    for path, count in (("/blink/client.crt", 0), ("/blink/certs.ar.signed", 1)):
        parser = RequestParser()
        assert len(parser.feed(get(path, "X-Otaseal-Claim: 0000-0000-0000-0000", version="1.1"))) == 1
        assert len(request_parser._remembered._heads) == count


@pytest.mark.parametrize("sent", [ESP8266, PICO, ESP32, BASED])
def test_a_fleet_is_one_head(sent: bytes) -> None:
    """Each device once had a head of its own, all of it parsed and kept."""
    forget()
    found = set()
    for number in range(10_000):
        mac = f"5C:CF:7F:00:{number >> 8:02X}:{number & 255:02X}"
        (received,) = RequestParser().feed(re.sub(rb"(?<=A-MAC: )[0-9A-F:]+", mac.encode(), sent))
        assert received.mac == mac
        found.add(id(received.head))
    assert len(found) == len(request_parser._remembered._heads) == 1
    assert all(value == b"" for name, value in received.head.headers if name.endswith((b"-mac", b"-chip-id")))


CHIPS = (
    b"x-ESP8266-Chip-ID: 1572\r\nx-ESP8266-STA-MAC: %s\r\nx-ESP8266-AP-MAC: %s",
    b"x-Pico-Chip-ID: E6614103E7452D2F\r\nx-Pico-STA-MAC: %s\r\nx-Pico-AP-MAC: %s",
    b"x-ESP32-STA-MAC: %s\r\nx-ESP32-AP-MAC: %s",
    b"x-ESP32-BASE-MAC: 24:0A:C4:00:11:22\r\nx-ESP32-STA-MAC: %s\r\nx-ESP32-AP-MAC: %s",
)
ODD_CHIPS = (
    b"x-ESP32-BASE-MAC: 24:0A:C4:00:11:2\r\nx-ESP32-STA-MAC: %s\r\nx-ESP32-AP-MAC: %s",
    b"x-ESP8266-Chip-ID: 1\r\nx-ESP32-STA-MAC: %s\r\nx-ESP8266-AP-MAC: %s",
    b"x-ESP8266-STA-MAC: %s",
    b"x-esp8266-sta-mac: %s",
    b"x-ESP32-STA-MAC: %s ",
    b"x-ESP32-STA-MAC:%s\r\nx-ESP32-AP-MAC: %s0",
    b"x-ESP32-STA-MAC: %s\r\n folded\r\nx-ESP32-AP-MAC: %s",
    b"x-ESP32-BASE-MAC: %s",
    b"x-ESP32-free-space: %s",
    b"Content-Length: 40\r\n\r\nx-ESP32-STA-MAC: %s\r\nx-ESP32-AP-MAC: %s",
    b"X: %s\n",
    b"",
    b"x-Pico-Mode: sketch",
    b"x-ESP8266-mode: sketch",
    PROOF,
)
MACS = st.sampled_from(
    [b"5C:CF:7F:F0:04:CB", b"00:00:00:00:00:00", b"5c:cf:7f:f0:04:cb", b"24-0A-C4-00-11-22", b"5C", b""]
)
START = st.sampled_from(
    [b"GET /a HTTP/1.0\r\n", b"GET /a HTTP/1.1\r\nHost: x\r\n", b"\r\nGET /a HTTP/1.0\r\n", b"\r\n", b""]
)


def meaning(received: Received) -> tuple[object, ...]:
    """What is said, wherever it stands: the head's values, and the claims or what is wrong with them."""
    head, proof, mac = received
    try:
        request = parse_request(head.method, head.headers)
        claims: object = replace(request, mac=mac or request.mac)
    except InputError as error:
        claims = error.message
    names = [name for name, _ in head.headers]
    return proof, names, head.method, head.path, head.version, head.keeps, head.has_body, claims


@given(START, st.lists(st.sampled_from(CHIPS + ODD_CHIPS), max_size=4), MACS, st.lists(MACS, min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
def test_what_a_chip_says_of_itself_means_the_same_beside_a_head_that_is_remembered(
    start: bytes, lines: list[bytes], mac: bytes, before: list[bytes]
) -> None:
    def sent(by: bytes) -> bytes:
        return start + b"".join(line.replace(b"%s", by) + b"\r\n" for line in lines) + b"\r\n"

    forget()
    for other in before:
        RequestParser().feed(sent(other))
    parser, alone = RequestParser(), RequestParser()
    found, expected = parser.feed(sent(mac)), alone._parse(sent(mac))
    assert list(map(meaning, found)) == list(map(meaning, expected))
    for state in ("stopped", "unread", "within", "refusal"):
        assert getattr(parser, state) == getattr(alone, state)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_a_parser_takes_any_bytes(data: bytes) -> None:
    parser = RequestParser()
    heads = parser.feed(b"GET /x HTTP/1.1\r\nHost: a\r\n" + data)
    assert len(heads) <= MAX_WAITING
    assert parser.refusal is None or parser.stopped
    for _ in range(limits.MAX_HEAD_BYTES // 300 + 2):
        heads += parser.feed(data)
    parser.close()


@pytest.mark.parametrize("proof", ["x", f"{'0' * 12} 1 {'0' * 32} {'0' * 64} 1", f"{'0' * 12} 4294967296 {'0' * 32}"])
def test_a_header_that_is_no_proof_is_refused(proof: str) -> None:
    parser = RequestParser()
    assert parser.feed(f"GET / HTTP/1.0\r\nX-Otaseal-Proof: {proof}\r\n\r\n".encode()) == []
    assert "not a proof" in str(parser.refusal)
