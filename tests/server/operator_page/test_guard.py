"""Forms that are not ours change nothing, and every answer has its headers."""

from __future__ import annotations

import re

import pytest

from otaseal.server.operator_page.app import FILES, SCREENS
from otaseal.server.operator_page.page import HEADERS
from support.page_client import CHANNEL, HOME, PageClient, audit, visit
from support.servers import Running

VALUES = {"product": "blink", "channel": "stable", "version": "1.0"}
WITH_FILES = [f"/page{path.format_map(VALUES)}" for path in FILES]
"""Which take another kind of form."""
POSTS = [
    f"/page{path.format_map({**VALUES, 'change': 'halt' if '/rollout/' in path else 'forget'})}"
    for path, _, change in SCREENS
    if change is not None and path not in FILES
]
FIELDS = {"version": "1.0", "percent": "7", "name": "mac:5C:CF:7F:F0:04:CB"}
FOREIGN = {
    "another site": {"Origin": "https://evil.example"},
    "a page that hides where it is": {"Origin": "null"},
    "the devices' port": {"Origin": "https://localhost:8443", "Sec-Fetch-Site": "same-site"},
    "a site that the browser names": {"Sec-Fetch-Site": "cross-site", "Origin": ""},
    "a browser that says nothing": {"Sec-Fetch-Site": "", "Origin": ""},
    "plain HTTP": {"Origin": "http://localhost"},
}


def fields_of(client: PageClient) -> dict[str, str]:
    return {**FIELDS, "proof": client.see(f"{CHANNEL}/percent").fields["proof"]}


def test_every_change_is_among_these() -> None:
    assert len(POSTS) >= 4


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_form_from_elsewhere_changes_nothing(released: Running, headers: dict[str, str]) -> None:
    client = visit(released)
    fields, before = fields_of(client), audit(released)
    for path in (*POSTS, *WITH_FILES):
        assert client.ask("POST", path, fields, headers).status == 403, path
    assert client.ask("POST", "/page/sign-in", {"token": released.token}, headers).status == 403
    assert audit(released) == before


def test_a_form_without_its_proof_changes_nothing(released: Running) -> None:
    client, other, before = visit(released), visit(released), audit(released)
    for proof in ("", "0" * 64, "ü", fields_of(other)["proof"]):
        for path in POSTS:
            reply = client.ask("POST", path, {**FIELDS, "proof": proof})
            assert (reply.status, b"out of date" in reply.body) == (403, True), path
        for path in WITH_FILES:
            assert client.upload(path, {"file": b"x"}, proof=proof).status == 403, path
    assert audit(released) == before


def test_nobody_who_is_not_signed_in_changes_anything(released: Running) -> None:
    stranger, before = PageClient(released, released.world.context()), audit(released)
    for path in (*POSTS, *WITH_FILES):
        assert stranger.ask("POST", path, FIELDS).headers["location"] == "/page/sign-in"
    assert audit(released) == before


def test_looking_changes_nothing(released: Running) -> None:
    client, before = visit(released), audit(released)
    for path in (*POSTS, *WITH_FILES):
        query = "&".join(f"{name}={value}" for name, value in FIELDS.items())
        assert client.ask("GET", f"{path}?{query}").status == 200, path
    assert audit(released) == before


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json", 415), ("text/plain", 415), ("multipart/form-data; boundary=x", 415), ("", 415)],
)
def test_no_other_body_is_taken(released: Running, kind: str, status: int) -> None:
    client = visit(released)
    assert client.ask("POST", f"{CHANNEL}/percent", fields_of(client), {"Content-Type": kind}).status == status


def test_what_is_no_form_is_refused(released: Running) -> None:
    client = visit(released)
    many = {**fields_of(client), **{f"x{number}": "1" for number in range(100)}}
    assert client.ask("POST", f"{CHANNEL}/percent", many).status == 400
    assert client.ask("POST", f"{CHANNEL}/percent", {"proof": "0" * 100_000}).status == 413


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ("", "Overview"),
        ("/channels/stable", "Overview"),
        ("/tags", "Devices"),
        ("/upload", "Releases"),
        ("/report", "Releases"),
    ],
)
def test_the_navigation_marks_where_a_screen_belongs(released: Running, path: str, section: str) -> None:
    shown = visit(released).ask("GET", HOME + path).body.decode()
    marked = re.search(r'aria-current="(?:page|true)">(?:<svg.*?</svg>)?\s*(\w+)', shown, re.DOTALL)
    assert marked is not None
    assert marked[1] == section


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/page/sign-in", 303),
        ("/page/static/page.css", 200),
        ("/page/static/../app.py", 404),
        ("/page/static/nothing", 404),
        (HOME, 200),
        (f"{HOME}/devices", 200),
        (f"{HOME}/releases/1.0", 200),
        (f"{HOME}/certificates", 200),
        (f"{HOME}/access", 200),
        (f"{HOME}/releases/9.9", 404),
        (f"{HOME}/channels/none", 404),
        ("/page/products/other", 404),
        ("/page/products/..", 422),
        ("/page/nowhere", 404),
        (f"{HOME}/devices?state=%00", 400),
    ],
)
def test_every_answer_has_its_headers(released: Running, path: str, status: int) -> None:
    reply = visit(released).ask("GET", path)
    assert reply.status == status
    for name, value in HEADERS.items():
        if "/static/page" not in path or name != "cache-control":
            assert reply.headers[name] == value
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_no_screen_brings_script_or_style_of_its_own(released: Running) -> None:
    client = visit(released)
    for path in (HOME, CHANNEL, f"{HOME}/devices", f"{HOME}/releases", f"{HOME}/releases/1.0", f"{CHANNEL}/rollback"):
        text = client.ask("GET", path).body.decode()
        assert text.count("<script") == text.count('<script src="/page/static/page.js?') == 1
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick" not in text
        assert "//" not in text.replace("<!doctype html>", "").replace(released.url, ""), "no other host"


def test_methods_that_are_not_there(released: Running) -> None:
    client = visit(released)
    for method, path in (("PUT", HOME), ("POST", HOME), ("DELETE", f"{HOME}/devices")):
        assert client.ask(method, path).status == 405
