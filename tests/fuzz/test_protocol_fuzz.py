"""Any request parses or raises our error, and whatever parses is answered with something that a device understands."""

from __future__ import annotations

from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from otaseal.chips.boot_image import FlashMode
from otaseal.errors import InputError
from otaseal.image import gzip_payload, signed_image
from otaseal.protocol.decisions import LOOP_LIMIT, State, decide
from otaseal.protocol.request import device_id, parse_request, route
from otaseal.protocol.running import known_images
from otaseal.release.records import Origin, Release
from support.by_bytes import describe
from support.images import Signer, build_image
from support.rsa_keys import make_rsa


@cache
def published(version: str, kinds: tuple[str, ...]) -> Release:
    key, raw = make_rsa(2048), build_image(seed=len(version))
    payloads = {"raw": raw, "gzip": gzip_payload.compress(raw)}
    files = [signed_image.sign(payloads[kind], Signer(key)) for kind in kinds]
    return describe(files, Origin("blink", version, "2026-01-31T12:00:00Z"), [key.public_key()])


def releases() -> tuple[Release, ...]:
    return published("1.0", ("raw",)), published("1.10", ("raw", "gzip")), published("1.100", ("gzip",))


names = st.builds(
    lambda prefix, name, raised: (prefix + name).upper().encode() if raised else (prefix + name).encode(),
    st.sampled_from(["x-esp8266-", "x-pico-", "x-esp32-", "x--", "x-", ""]),
    st.sampled_from(
        [
            "mode",
            "version",
            "sta-mac",
            "ap-mac",
            "chip-id",
            "free-space",
            "sketch-size",
            "sketch-md5",
            "sketch-sha256",
            "chip-size",
            "sdk-version",
            "user-agent",
            "host",
            "authorization",
            "range",
        ]
    ),
    st.booleans(),
)
digests = st.deferred(lambda: st.sampled_from([md5 for item in releases() for md5 in item.sketch_md5]))
values = st.one_of(
    st.binary(max_size=140),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers(-1, 2**33).map(lambda number: str(number).encode()),
    st.sampled_from([b"sketch", b"spiffs", b"version", b"1.10", b"5C:CF:7F:F0:04:CB", b"ESP8266-http-Update", b""]),
    digests.map(str.encode),
)
fitting = st.fixed_dictionaries(
    {},
    optional={
        b"x-esp8266-mode": st.sampled_from([b"sketch", b"version", b"spiffs"]),
        b"x-esp8266-version": st.sampled_from([b"1.0", b"1.10", b"\xff\xfe", "1.0\u202e".encode()]),
        b"x-esp8266-sketch-md5": digests.map(str.encode),
        b"x-esp8266-sketch-size": st.integers(0, 2**32 - 1).map(lambda number: str(number).encode()),
        b"x-esp8266-free-space": st.integers(0, 2**32 - 1).map(lambda number: str(number).encode()),
        b"x-esp8266-chip-size": st.sampled_from([b"0", b"1048576", b"4194304"]),
    },
).map(lambda claims: list(claims.items()))
headers = st.one_of(st.lists(st.tuples(names, values), max_size=8), fitting, st.lists(st.tuples(names, values)))
states = st.builds(
    lambda known, deliveries, held: State(known_images(releases()) if known else {}, deliveries, held),
    st.booleans(),
    st.integers(0, 5),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["GET", "HEAD", "POST", "\u0130", ""]), headers, st.integers(-1, 2), states)
def test_any_request_is_refused_or_answered(
    method: str, sent: list[tuple[bytes, bytes]], wanted: int, state: State
) -> None:
    try:
        request = parse_request(method, sent)
    except InputError:
        return
    device_id(request, None)
    found = decide(request, releases()[wanted] if wanted >= 0 else None, state)
    assert found.status in (200, 304, 403, 404, 405)
    assert all(f"{name}{value}".isascii() and f"{name}{value}".isprintable() for name, value in found.headers)
    assert found.reason.isprintable()
    if found.form is None:
        return
    assert found.status == 200
    assert state.deliveries < LOOP_LIMIT
    assert not state.held
    assert request.method in ("GET", "HEAD")
    assert request.mode == "sketch"
    assert request.family in ("esp8266", "plain")
    assert request.sketch_md5 not in releases()[wanted].sketch_md5
    if request.family == "esp8266" and request.free_space is not None:
        assert found.form.size <= request.free_space
    running = state.known.get(request.sketch_md5 or "")
    if request.family == "esp8266" and found.form.kind == "raw" and running:
        assert running.flash_mode == FlashMode.DIO


@settings(max_examples=300)
@example("/blink/stable/firmware.bin.signed")
@given(st.one_of(st.text(max_size=60), st.text("abz019._-/\\%\0\n\u0661", max_size=40).map(lambda t: f"/{t}")))
def test_any_path_is_refused_or_names_what_it_says(path: str) -> None:
    for candidate in (path, f"{path}/firmware.bin.signed"):
        try:
            found = route(candidate)
        except InputError:
            continue
        parts = [part for part in (found.product, found.channel) if part is not None]
        assert "/".join(["", *parts, found.file]) == candidate
        assert not any(part.startswith(".") for part in parts)
