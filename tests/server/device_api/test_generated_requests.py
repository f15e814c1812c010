"""Requests that nobody thought of, by Hypothesis and schemathesis: no fault, no file, no byte but of a release."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from support import peers
from support.enrolled_chips import Chip
from support.raw_http import RawClient
from support.servers import SECONDS, Reply, Running, World, publish, start

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
BATCHES = 4500 if THOROUGH else 80
BATCH = 25  # requests on the average, some on a kept connection, some on one of their own
EXAMPLES = 700 if THOROUGH else 15  # of schemathesis, for each operation
GROWTH = 24 * 1024
"""KiB of memory, most of it for OpenSSL's 20,480 sessions of 1 KiB: beyond as many connections it grows no more."""

pytestmark = pytest.mark.proof

ANSWERS = {200, 206, 304, 400, 403, 404, 405, 413, 416}
FILE = "/firmware.bin.signed"


def escaped(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace"))


SEGMENTS = st.one_of(
    st.sampled_from(["blink", "lamp", "stable", "beta", "..", ".", "", "%2e%2e", "..%2f..", "%00", "%ff", "~", "*"]),
    st.sampled_from(["store.json", "tokens.json", "blobs", "sha256", "products", "firmware.bin.signed", "a" * 300]),
    st.text(max_size=12).map(escaped),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="?#"), max_size=12),
)
PATHS = st.one_of(
    st.sampled_from(
        [
            "/client.crt",
            "/blink/client.crt",
            FILE,
            "/blink" + FILE,
            "/blink/stable" + FILE,
            "/blink/beta" + FILE,
            "/lamp" + FILE,
        ]
    ),
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
    st.lists(SEGMENTS, max_size=2).map(lambda parts: "/" + "/".join([*parts, FILE[1:]])),
    st.sampled_from(
        ["*", "http://localhost" + FILE, "https://example.org" + FILE, FILE + "?x=" + "y" * 500, FILE + "#f"]
    ),
)
METHODS = st.sampled_from(["GET"] * 6 + ["HEAD"] * 2 + ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE"])
NAMES = (
    "version",
    "mode",
    "STA-MAC",
    "sketch-md5",
    "sketch-size",
    "free-space",
    "chip-size",
    "sdk-version",
    "sketch-sha256",
)
VALUES = st.one_of(
    st.sampled_from(
        ["sketch", "version", "spiffs", "1.0", "", "0", "4294967295", "4294967296", "-1", "5C:CF:7F:F0:04:CB"]
    ),
    st.sampled_from(
        ["d41d8cd98f00b204e9800998ecf8427e", "\t\x7f", "\xff" * 20, "x" * 129, "A" * 1000, "${jndi:x}", "%s%n"]
    ),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=20),
    st.integers().map(str),
)
FIELDS = st.one_of(
    st.tuples(st.sampled_from(["x-ESP8266-", "x-Pico-", "x-ESP32-", "x--"]), st.sampled_from(NAMES), VALUES).map(
        lambda parts: f"{parts[0]}{parts[1]}: {parts[2]}"
    ),
    st.tuples(st.integers(-9, 10**11), st.integers(-9, 10**11)).map(lambda pair: f"Range: bytes={pair[0]}-{pair[1]}"),
    st.sampled_from(
        ["Range: bytes=0-", "Range: bytes=-5", "Range: bytes=0-1,3-4", "If-Range: *", "Expect: 100-continue"]
    ),
    st.sampled_from(["Upgrade: websocket", "Upgrade: h2c", "Accept-Encoding: gzip", "Cookie: a=b", "TE: trailers"]),
    st.sampled_from(["x-ESP8266-version: 1.0", "x-ESP8266-mode: sketch", "x-ESP8266-STA-MAC: 5C:CF:7F:F0:04:CB"]),
    st.sampled_from(["If-None-Match: *", "User-Agent: ESP8266-http-Update", "Authorization: Basic x", "Accept: a/b"]),
    VALUES.map(lambda value: f"X-Other: {value}"),
    st.tuples(st.sampled_from(["X-Otaseal-Csr", "X-Otaseal-Claim"]), VALUES).map(": ".join),
)
WHOLE = st.tuples(METHODS, PATHS, st.lists(FIELDS, max_size=8)).map(
    lambda parts: ("\r\n".join([f"{parts[0]} {parts[1]} HTTP/1.1", "Host: localhost", *parts[2], "", ""]), parts[0])
)
BRANCHES = [
    ("\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]), method)
    for method, path, lines in (
        ("GET", FILE, ()),
        ("GET", FILE, ("Range: bytes=0-9",)),
        ("GET", FILE, ("x-ESP8266-version: 1.0", "x-ESP8266-mode: sketch")),
        ("GET", FILE, ("x-ESP8266-STA-MAC: none",)),
        ("GET", "/lamp" + FILE, ()),
        ("GET", "/blink/client.crt", Chip().lines("0000-0000-0000-0000")),
        ("POST", FILE, ()),
    )
]
"""One of each kind of answer; the strategies below may not meet all of them."""
BODIES = (
    "Content-Length: 0", "Content-Length: 5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: -1",
    "Content-Length: 99999999999999999999", "Content-Length: 0x5", "Content-Length: 5, 5", "Content-Length : 5",
    "Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked", "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "X: y\r\n Transfer-Encoding: chunked", "X: y\nA: b",
)  # fmt: skip
SMUGGLED = "0\r\n\r\nGET /smuggled/firmware.bin.signed HTTP/1.1\r\nHost: localhost\r\n\r\n"
SHAPED = st.tuples(
    METHODS,
    PATHS,
    st.sampled_from(["1.1", "1.0", "1.2", "2.0", "0.9", "11", ""]),
    st.lists(st.sampled_from(BODIES), max_size=2),
    st.sampled_from(["", "hello", SMUGGLED, "5\r\nhello\r\n" + SMUGGLED, "\r\n\r\n", "f" * 18 + "\r\n", "\x00" * 9]),
).map(
    lambda parts: "\r\n".join([f"{parts[0]} {parts[1]} HTTP/{parts[2]}", "Host: localhost", *parts[3], "", parts[4]])
)  # fmt: skip
MUTATIONS = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(["\r", "\n", "\x00", " ", ":", "\xff", "\t", ""])), max_size=4
)


def mutate(text: str, changes: list[tuple[int, str]]) -> str:
    for at, what in changes:
        text = text[:at] + what + text[at + (what == "") :]
    return text


ODD = st.one_of(
    SHAPED,
    st.tuples(st.one_of(WHOLE.map(lambda one: one[0]), SHAPED), MUTATIONS).map(lambda pair: mutate(*pair)),
    st.binary(max_size=200).map(lambda data: data.decode("latin-1")),
)


@pytest.fixture(scope="module")
def target(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("generated")
    server = start(world, folder / "store")
    (folder / "secret").write_text(SECRET)
    for version, seed, channel in (("1.0", 1, "stable"), ("2.0", 2, "beta")):  # neither of which halts by itself
        publish(server, version, world.firmware(seed).signed, channel=channel, max_failed=100)
    yield server
    server.end()


SECRET = uuid.uuid4().hex


def files_of(server: Running) -> dict[str, str]:
    """Return what lies in and beside the store, but for the log and the database of devices seen."""
    found = {}
    for path in sorted(server.store.parent.rglob("*")):
        if path.is_file() and path != server.log and not path.name.startswith("devices."):
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check(signed: list[bytes], method: str, reply: Reply | None) -> None:
    """Whatever was asked: an answer from the table, and of firmware only what was published."""
    if reply is None:
        return
    assert reply.status in ANSWERS, reply
    if reply.status == 200 and method != "HEAD":
        assert reply.body in (*signed, b"1.0\n", b"2.0\n")
    elif reply.status == 206 and method != "HEAD":
        assert any(reply.body in one for one in signed)
    else:
        assert len(reply.body) < 1024
    assert SECRET.encode() not in reply.body


def test_devices_side(target: Running) -> None:
    client = RawClient(target.world.context(), target.port)
    before, counts = files_of(target), Counter[str]()
    signed = [target.world.firmware(seed).signed for seed in (1, 2)]
    sizes: list[int] = []

    @settings(
        max_examples=BATCHES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
    )  # fmt: skip
    @given(st.lists(WHOLE, min_size=10, max_size=30), st.lists(ODD, min_size=2, max_size=8))
    @example(BRANCHES, [])
    def ask(whole: list[tuple[str, str]], odd: list[str]) -> None:
        for text, method in whole:
            reply = client.ask(text.encode("latin-1", "replace"), method)
            check(signed, method, reply)
            counts[str(reply and reply.status)] += 1
        for text in odd:
            data = text.encode("latin-1", "replace")
            replies = client.tell(data)
            assert b"/smuggled" not in b"".join(one.body for one in replies)
            for one in replies:
                check(signed, "HEAD" if data.lstrip().startswith(b"HEAD") else "GET", one)
            counts["odd"] += 1
        sizes.append(target.memory())

    try:
        ask()
    finally:
        client.close()
    total = sum(counts.values())
    made = f"{total} requests, {client.opened} connections, {client.waited} answers waited for in vain"
    print(f"{made}: {dict(counts)}; KiB {sizes[len(sizes) // 5]}, {sizes[-1]}")
    assert total > BATCHES * BATCH * 0.5
    assert {"200", "206", "304", "400", "403", "404", "405"} <= set(counts), "every branch was met"
    assert files_of(target) == before
    assert sizes[-1] - sizes[len(sizes) // 5] < GROWTH


def write_focus(folder: Path) -> Path:
    """Return a configuration that lets schemathesis ask for what is there."""
    path = folder / "schemathesis.toml"
    values = {"product": ["blink"], "channel": ["stable", "beta"], "version": ["1.0", "2.0", "3.0"]}
    lines = [f"'path.{name}' = {listed}" for name, listed in values.items()]
    path.write_text("\n".join(["[parameters]", *lines, ""]))
    return path


@pytest.mark.parametrize("focused", [False, True])
def test_operators_side(target: Running, tmp_path: Path, focused: bool) -> None:
    """What the server says of itself is true: statuses, types and schemas of all its answers are those described."""
    program = peers.tool("schemathesis", "schemathesis from PyPI")
    before, size = files_of(target), target.memory()
    command = [program, *(["--config-file", str(write_focus(tmp_path))] if focused else []), "run", "--no-color"]
    command += ["--tls-verify", str(target.world.ca), "--header", f"Authorization: Bearer {target.token}"]
    # A wrong credential of many is 429 and not 401, and arbitrary bytes are no firmware: both have tests of their own.
    command += ["--exclude-checks", "ignored_auth,positive_data_acceptance", "--continue-on-failure"]
    # Each boundary of a parameter is tried where there is something; elsewhere nearly all of it is one answer, 404.
    phases = "examples,coverage,fuzzing" if focused or THOROUGH else "examples,fuzzing"
    command += ["--phases", phases, "--max-examples", str(EXAMPLES), "--warnings", "off"]
    command += ["--exclude-operation-id", "events"]  # its answer does not end
    command += ["--request-timeout", str(SECONDS), *([] if THOROUGH else ["--generation-deterministic"])]
    done = subprocess.run(
        [*command, f"{target.url}/openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = re.search(r"(\d+) generated, \1 passed", done.stdout) or re.search(r"(\d+) generated", done.stdout)
    assert made
    print(f"{made[1]} requests; KiB {size}, {target.memory()}")
    assert int(made[1]) > 3 * EXAMPLES
    assert target.memory() - size < GROWTH
    after = files_of(target)
    assert {path for path in before.items() ^ after.items() if "/blobs/" in path[0]} == set(), "nothing was published"
    assert {Path(path).parent for path in after} - {Path(path).parent for path in before} == set()
