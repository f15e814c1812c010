"""Whatever a server sends and whatever lies in flash, the virtual device comes to a verdict, never to a traceback."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import ConfigError
from otaseal.simulator import eboot, firmware, tls_messages
from otaseal.simulator.core import CORES
from otaseal.simulator.flash import LAYOUTS, sketch_md5, sketch_size
from otaseal.simulator.http_client import Body, Response, parse_url, read_response
from otaseal.simulator.http_update import judge_answer, judge_first_bytes
from otaseal.simulator.probe import probe_hello
from otaseal.simulator.public_key import load_public_key
from otaseal.simulator.tls_suites import TlsClosed
from otaseal.simulator.updater import Setup
from otaseal.simulator.verdict import judge
from support.images import build_image

PLACE = LAYOUTS["512k64"]


@dataclass
class Pieces:
    """What a connection would hand over, cut anywhere."""

    left: list[bytes] = field(default_factory=list)

    def read(self) -> bytes:
        if not self.left:
            raise TlsClosed(0, "the connection ends")
        return self.left.pop(0)


def respond(data: bytes, cut: int) -> tuple[Response, bytes]:
    body = Body(Pieces([data[:cut], data[cut:]]))  # type: ignore[arg-type]
    response = read_response(body)
    return response, body.take(len(data))


HEADS = st.sampled_from(
    [
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 304",
        b"HTTP/1.",
        b"Content-Length: 12",
        b"content-length:-1",
        b"x-MD5: ab",
        b":",
        b"",
    ]
)


@given(st.lists(st.one_of(HEADS, st.binary(max_size=12)), max_size=8), st.binary(max_size=30), st.integers(0, 90))
def test_an_answer_means_the_same_however_it_is_cut(lines: list[bytes], rest: bytes, cut: int) -> None:
    data = b"\r\n".join(lines) + b"\r\n\r\n" + rest
    whole = respond(data, len(data))
    assert respond(data, cut) == whole
    for core in CORES.values():
        refused = judge_answer(whole[0], core, 1000)
        assert refused is None or refused[1].error < 0
        fault = judge_first_bytes(rest[:4], core, PLACE.flash_size)
        assert fault is None or fault.error < 0


@given(st.binary(max_size=120), st.sampled_from([512, 16384]))
def test_messages_are_read_or_stop_the_handshake(data: bytes, fragment: int) -> None:
    readers = (
        lambda: tls_messages.ServerHello.parse(data, 0x0303, "localhost", fragment),
        lambda: tls_messages.read_certificates(data),
        lambda: tls_messages.ServerKeyExchange.parse(data, "ECDSA"),
        lambda: tls_messages.read_certificate_request(data),
    )
    for reader in readers:
        with suppress(TlsClosed):
            reader()


@given(st.text(max_size=40))
def test_a_url_is_one_or_is_refused(text: str) -> None:
    for url in (text, "https://" + text, "https://host" + text):
        try:
            parsed = parse_url(url)
        except ConfigError:
            continue
        assert parsed.host
        assert 0 < parsed.port < 65536


@cache
def good() -> bytes:
    return build_image(size="512K", code_size=400)


@given(st.lists(st.tuples(st.integers(0, 0x1400), st.integers(0, 255)), max_size=6), st.sampled_from(sorted(CORES)))
def test_a_damaged_image_comes_to_a_verdict(changes: list[tuple[int, int]], core: str) -> None:
    image = bytearray(good())
    for at, value in changes:
        image[at % len(image)] = value
    flash = good().ljust(PLACE.flash_size, b"\xff")
    verdict = judge(flash, bytes(image), Setup(core, PLACE))
    assert verdict.accepted is (verdict.error == 0)
    assert not (verdict.boots and verdict.bricks)
    running = bytes(image).ljust(PLACE.flash_size, b"\xff")
    assert sketch_size(running) >= 0
    assert len(sketch_md5(running)) == 32
    assert eboot.restart(running, None, core).flash == running
    assert firmware.read(bytes(image)).flash_mode in (0, 1, 2, 3, 255)


@given(st.binary(max_size=300))
def test_a_key_is_one_or_none(data: bytes) -> None:
    for text in (data, b"-----BEGIN PUBLIC KEY-----\n" + data + b"\n-----END PUBLIC KEY-----\n"):
        key = load_public_key(text)
        assert key is None or key.size > 0


def test_the_probe_asks_for_one_length_only() -> None:
    hellos = {size: probe_hello(size) for size in tls_messages.FRAGMENT_LENGTHS}
    assert len({hello[:-1] for hello in hellos.values()}) == 1
    assert [hello[-1] for hello in hellos.values()] == [1, 2, 3, 4]
