"""The parts of a rehearsal by themselves: the map, the advice, the loopback, and images that are no candidates."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime, timezone
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.chips import esp8266
from otaseal.chips.boot_image import FlashMode
from otaseal.errors import InputError
from otaseal.image.firmware import Firmware, read
from otaseal.image.signing_header import embedded_key
from otaseal.rehearsal.candidate import Candidate, CandidateServer
from otaseal.rehearsal.flash_map import CELLS, bars, flash_maps, svg
from otaseal.rehearsal.loopback import HOST, Loopback, Request, TemporaryAuthority, response
from otaseal.release.records import Origin
from otaseal.simulator.flash import LAYOUTS, layout
from support.by_bytes import sign_firmware
from support.images import Signer, build_image

NOW = datetime(2030, 6, 1, tzinfo=timezone.utc)
ORIGIN = Origin("blink", "1.0", "2030-01-01T00:00:00Z")
SVG = "{http://www.w3.org/2000/svg}"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([name for name, one in LAYOUTS.items() if one.fs_size]), st.data())
def test_a_map_is_whole_whatever_the_sizes(name: str, data: st.DataObject) -> None:
    """The regions cover the flash without gap or overlap, the bar has all its cells, and every region is seen."""
    chosen = LAYOUTS[name]
    old, new, staged = (data.draw(st.integers(1, chosen.fs_start // 2 - 4096)) for _ in range(3))
    maps = flash_maps(chosen, old, staged, new)
    assert [one.title for one in maps] == ["before", "staged", "after"]
    for one in maps:
        assert one.regions[0].start == 0
        assert one.regions[-1].end == chosen.flash_size
        assert all(a.end == b.start for a, b in zip(one.regions, one.regions[1:], strict=False))
    lines = bars(maps)
    assert all(len(re.fullmatch(r"\w+ +\|(.*)\|", line)[1]) == CELLS for line in lines[:3])  # type: ignore[index]
    assert "+" in lines[1]
    assert "N" in lines[2]
    drawn = ElementTree.fromstring(svg(maps, "a <title> & more"))
    widths = [float(one.attrib["width"]) for one in drawn.findall(f"{SVG}rect")[1:]]
    assert min(widths) > 1


def test_colours_only_where_they_are_wanted() -> None:
    maps = flash_maps(layout("4m1m"), 300_000, 300_000, 310_000)
    assert "\033" not in "".join(bars(maps))
    assert "\033[0m" in "".join(bars(maps, colours=True))


def test_a_twin_differs_in_nothing_that_anybody_signs_or_runs(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(seed=1, code_size=5000, embedded=embedded_key(rsa_key.public_key()))
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=True)
    candidate = Candidate((Firmware(signed),), ORIGIN)
    other = candidate.twin
    assert len(other) == len(raw)
    assert sum(a != b for a, b in zip(raw, other, strict=True)) == 1
    before, after = esp8266.parse(raw), esp8266.parse(other)
    assert before.sketch_md5s() != after.sketch_md5s()
    assert (after.boot, after.app) == (before.boot, before.app)
    assert candidate.raw == raw == read(raw).sketch


def test_a_twin_is_offered_what_the_server_has_already(rsa_key: rsa.RSAPrivateKey) -> None:
    """It says the version that is published, as a device with the library does, and runs what came before."""
    raw = build_image(seed=1, code_size=5000)
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    candidate = Candidate((Firmware(signed),), ORIGIN, (rsa_key.public_key(),))
    published = (candidate.release,)

    def status(runs: bytes) -> bytes:
        md5 = esp8266.parse(runs).sketch_md5s()[FlashMode.DIO]
        claims = {"version": "1.0", "sketch-md5": md5, "mode": "sketch"}
        headers = tuple((f"x-ESP8266-{name}".encode(), value.encode()) for name, value in claims.items())
        answers = CandidateServer(candidate, runs, published)
        return answers(Request("GET", "/blink/firmware.bin.signed", headers)).split(b" ")[1]

    assert status(candidate.twin) == b"200"
    assert status(raw) == b"304"


def test_what_no_server_admits_says_why(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(seed=1, code_size=5000)
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    assert Candidate((Firmware(signed),), ORIGIN, (rsa_key.public_key(),)).refusal is None
    refused = Candidate((Firmware(signed),), ORIGIN, (other_rsa_key.public_key(),)).refusal
    assert refused is not None
    assert "none of the product's 1 public keys" in refused.message
    with pytest.raises(InputError):
        _ = read(b"no image").sketch


def test_the_loopback_answers_and_ends() -> None:
    def answer(request: Request) -> bytes:
        return response(200, (("Content-Length", "2"),), request.path[-2:].encode())

    authority = TemporaryAuthority.create(NOW)
    client = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(authority.root))
    client.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # it is valid in 2030
    with Loopback(answer, authority.context("localhost")) as server:
        port = server.port
        with (
            socket.create_connection((HOST, port), 5) as raw,
            client.wrap_socket(raw, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET /ab HTTP/1.0\r\nHost: x\r\n\r\n")
            assert connection.recv(1000).endswith(b"\r\n\r\nab")
        with socket.create_connection((HOST, port), 5) as raw:
            raw.sendall(b"\x16\x03\x01nonsense")
            assert raw.recv(100) in (b"", *[bytes([21, 3, n, 0, 2, 2, c]) for n in range(1, 4) for c in range(256)])
        assert [(one.method, one.path, one.headers) for one in server.asked] == [("GET", "/ab", ((b"Host", b"x"),))]
    with pytest.raises(OSError):
        socket.create_connection((HOST, port), 5).close()
