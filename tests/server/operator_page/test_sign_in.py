"""Signing in: a token for a cookie that reaches nothing else, and ends with the token."""

from __future__ import annotations

from datetime import datetime, timezone
from http.cookies import SimpleCookie

import pytest

from otaseal.pki.profile import Role
from otaseal.server.failures import FAILURES
from otaseal.server.operator_page.visitors import COOKIE
from otaseal.store.backend import open_backend
from otaseal.store.tokens import TokenFile
from support.page_client import HOME, PageClient, visit
from support.servers import Running, StartServer, World, as_device, get, talk

NOW = datetime.now(timezone.utc)


@pytest.fixture
def stranger(bare: Running) -> PageClient:
    return PageClient(bare, bare.world.context())


def test_a_token_is_exchanged_for_a_cookie(bare: Running, stranger: PageClient) -> None:
    asked = stranger.ask("GET", f"{HOME}/devices?state=stuck")
    assert (asked.status, asked.headers["location"]) == (
        303,
        f"/page/sign-in?next={HOME.replace('/', '%2F')}%2Fdevices%3Fstate%3Dstuck",
    )
    form = stranger.see(asked.headers["location"])
    reply = stranger.ask("POST", "/page/sign-in", {**form.fields, "token": bare.token})
    assert (reply.status, reply.headers["location"]) == (303, f"{HOME}/devices?state=stuck")
    cookie = SimpleCookie(reply.headers["set-cookie"])[COOKIE]
    assert COOKIE.startswith("__Secure-")
    assert (cookie["path"], cookie["secure"], cookie["httponly"]) == ("/page", True, True)
    assert (cookie["samesite"].lower(), cookie["domain"], cookie["expires"], cookie["max-age"]) == (
        "strict",
        "",
        "",
        "",
    )
    assert len(cookie.value) >= 43
    page = stranger.ask("GET", reply.headers["location"])
    assert page.status == 200
    for shown in (str(reply.headers), page.body.decode(), bare.log.read_text()):
        assert bare.token not in shown
        assert cookie.value not in shown or shown == str(reply.headers)


def test_where_the_server_leads(stranger: PageClient) -> None:
    for path in ("/", "/page"):
        assert stranger.ask("GET", path).headers["location"] == "/page/"
    assert stranger.ask("GET", "/page/").headers["location"] == "/page/sign-in"


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/page/../..//evil", "\\\\evil", "/page/\\evil", "/page/\r\nx: y", "/"],
)
def test_it_leads_nowhere_else(bare: Running, stranger: PageClient, target: str) -> None:
    reply = stranger.ask("POST", "/page/sign-in", {"token": bare.token, "next": target})
    assert reply.status == 303
    assert reply.headers["location"].startswith("/page/")
    assert "\\" not in reply.headers["location"]


def test_the_cookie_is_for_the_page_alone(bare: Running) -> None:
    client = visit(bare)
    assert client.ask("GET", "/v1/products").status == 401
    line = f"Cookie: {COOKIE}={client.cookies[COOKIE]}"
    devices = bare.world.context()
    plain = talk(devices, bare.port, as_device("/blink/firmware.bin", bare.world.firmware(1)))
    with_it = talk(devices, bare.port, get("/blink/firmware.bin", line))
    assert talk(devices, bare.port, get("/page/", line)).status == talk(devices, bare.port, get("/page/")).status != 200
    assert plain.status == with_it.status == 404
    assert client.cookies[COOKIE] not in bare.log.read_text()


def test_signing_out_ends_the_session(bare: Running) -> None:
    client = visit(bare)
    kept = dict(client.cookies)
    proof = client.ask("GET", HOME).body.decode().partition('name="proof" value="')[2][:64]
    assert client.ask("POST", "/page/sign-out", {"proof": "0" * 64}).status == 403
    assert client.ask("GET", HOME).status == 200
    assert client.ask("POST", "/page/sign-out", {"proof": proof}).status == 303
    assert not client.cookies
    client.cookies = kept
    assert client.ask("GET", HOME).status == 303


def test_a_session_ends_with_its_token(server: Running) -> None:
    tokens = TokenFile(server.store)
    token, secret = tokens.issue("alice", "blink", "*", 1, NOW)
    client = visit(server, secret)
    assert client.ask("GET", HOME).status == 200
    tokens.revoke(token.id)
    assert client.ask("GET", HOME).headers["location"].startswith("/page/sign-in")


def test_a_wrong_token_is_told_and_counted(server: Running) -> None:
    client = PageClient(server, server.world.context())
    for _ in range(FAILURES):
        reply = client.sign_in("otaseal_wrong")
        assert reply.status == 401
        assert b"no valid token" in reply.body
        assert "set-cookie" not in reply.headers
        assert b"otaseal_wrong" not in reply.body
    reply = client.sign_in("otaseal_wrong")
    assert (reply.status, reply.headers["retry-after"]) == (429, "60")
    assert client.sign_in(server.token).status == 303, "nobody is shut out"
    assert "otaseal_wrong" not in server.log.read_text()


@pytest.fixture(scope="module")
def guarded(world: World, shared_server: StartServer) -> Running:
    return shared_server("--operator-ca", world.pki.directory / "operator-ca" / "certificate.pem")


def test_a_certificate_needs_no_sign_in(guarded: Running) -> None:
    folder = guarded.world.client(Role.OPERATOR, "page-alice")
    client = PageClient(guarded, guarded.world.context(folder))
    assert client.ask("GET", "/page/sign-in").headers["location"] == "/page/"
    shown = client.see(HOME)
    assert "Certificate page-alice" in shown.text
    assert "Sign out" not in shown.text
    assert not client.cookies


def test_tokens_are_listed_for_who_may_change_all_that_they_are_for(start_server: StartServer) -> None:
    server = start_server()
    with open_backend(str(server.store)) as backend:
        tokens = TokenFile(backend.store.documents)
        made = {
            name: tokens.issue(name, product, channel, 1, NOW)
            for name, product, channel in (
                ("looks", "blink", "-"),
                ("other", "blink", "-"),
                ("beta", "blink", "beta"),
                ("owns", "blink", "*"),
                ("everywhere", "*", "stable"),
                ("lamp", "lamp", "*"),
            )
        }
        _, twin = tokens.issue("looks", "blink", "-", 1, NOW)

    def seen(secret: str) -> set[str]:
        rows = visit(server, secret).see(f"{HOME}/access").text.partition("is listed here.")[2]
        return {name for name in [*made, "tests"] if f"Token {name} " in rows}

    assert seen(made["looks"][1]) == {"looks"}
    assert seen(made["beta"][1]) == {"beta"}
    assert seen(made["owns"][1]) == {"looks", "other", "beta", "owns"}
    assert seen(made["everywhere"][1]) == {"everywhere"}
    assert seen(server.token) == {"looks", "other", "beta", "owns", "everywhere", "tests"}
    mine = visit(server, twin).see(f"{HOME}/access").text
    assert mine.count("Token looks") == 2, "who is signed in, and one row of two tokens with this name"
    assert mine.count("You ") == 1


def test_signing_in_anew_ends_the_session_before(bare: Running) -> None:
    client = visit(bare)
    before = dict(client.cookies)
    assert client.sign_in(bare.token).status == 303
    assert client.cookies != before
    client.see(HOME)
    client.cookies = before
    assert client.ask("GET", HOME).status == 303, "who has the old cookie is asked to sign in"
