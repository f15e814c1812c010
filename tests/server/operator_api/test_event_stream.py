"""Streams of hints end with the credentials that opened them, whatever these were, and nobody holds all of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.pki.store import Role
from otaseal.server.changes import SHARES
from otaseal.server.limits import OTHER_FILES
from otaseal.server.process.service import SPARE
from otaseal.store.backend import open_backend
from otaseal.store.tokens import TokenFile
from otaseal.store.trusts import Trust, TrustFile
from support.issuer import JOB, issuing
from support.operator_requests import NOW, raw, refusal
from support.page_client import HOME, visit
from support.servers import SECONDS, Running, StartServer, World, get, metrics, operator, publish, until

AUDIENCE = "https://update.local:8444"
EVENTS = "/v1/events?product=blink"


class Stream:
    """A stream that has begun, and what is read from it."""

    def __init__(self, server: Running, header: str, path: str = EVENTS, client: Path | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", server.operators), SECONDS)
        self.connection: ssl.SSLSocket = server.world.context(client).wrap_socket(plain, server_hostname="localhost")
        self.connection.sendall(get(path, *([header] if header else ())))
        self.data = b""
        self.read_to(b"\r\n\r\n:\n\n")
        assert self.data.startswith(b"HTTP/1.1 200"), self.data

    def read_to(self, wanted: bytes) -> None:
        """Wait until it says something."""
        while wanted not in self.data:
            piece = self.connection.recv(4096)
            assert piece, (wanted, self.data)
            self.data += piece

    def read_to_end(self) -> None:
        """Wait until the server ends it."""
        while self.connection.recv(4096):
            pass


@pytest.fixture
def opened(server: Running) -> Iterator[Callable[..., Stream]]:
    with contextlib.ExitStack() as stack:

        def begin(*args: object, at: Running = server, **others: object) -> Stream:
            stream = Stream(at, *args, **others)  # type: ignore[arg-type]
            stack.callback(stream.connection.close)
            return stream

        yield begin


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def rewrite_tokens(server: Running, **changed: dict[str, str]) -> None:
    """Change fields of tokens by their names, as who edits the file of the store."""
    path = server.store / "tokens.json"
    document = json.loads(path.read_text())
    document["tokens"] = [{**token, **changed.get(token["name"], {})} for token in document["tokens"]]
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


def test_a_stream_ends_with_its_token_or_session(server: Running, opened: Callable[..., Stream]) -> None:
    with open_backend(str(server.store)) as backend:
        tokens = TokenFile(backend.store.documents)
        made = {
            name: tokens.issue(name, "blink", "*", 1, NOW)
            for name in ("kept", "revoked", "expired", "narrowed", "session", "left")
        }
    streams = {name: opened(bearer(secret)) for name, (_, secret) in made.items() if name not in ("session", "left")}
    visitors = {name: visit(server, made[name][1]) for name in ("session", "left")}
    for name, visitor in visitors.items():
        cookies = "; ".join(f"{key}={value}" for key, value in visitor.cookies.items())
        streams[name] = opened(f"Cookie: {cookies}", HOME + "/events")
    everything = opened(bearer(server.token), "/v1/events")
    rewrite_tokens(
        server,
        expired={"expires": "2020-01-01T00:00:00+00:00"},
        narrowed={"product": "lamp"},
        tests={"product": "blink"},  # which listens to every product
    )
    with open_backend(str(server.store)) as backend:
        for name in ("revoked", "session"):
            TokenFile(backend.store.documents).revoke(made[name][0].id)
    page = visitors["left"].ask("GET", HOME).body.decode()
    proof = page.partition('name="proof" value="')[2].partition('"')[0]
    assert visitors["left"].ask("POST", "/page/sign-out", {"proof": proof}).status == 303
    for name in ("revoked", "expired", "narrowed", "session", "left"):
        streams[name].read_to_end()
    everything.read_to_end()
    publish(server, "1.0", server.world.firmware(1).signed)
    streams["kept"].read_to(b"event: releases")


def test_a_stream_ends_with_its_trust_and_its_certificate(
    world: World, start_server: StartServer, opened: Callable[..., Stream], rsa_key: rsa.RSAPrivateKey
) -> None:
    server = start_server("--operator-ca", world.pki.directory / "operator-ca" / "certificate.pem", store="guarded")
    folder, other = (world.pki.issue_operator(name, now=NOW) for name in ("stream-alice", "stream-bob"))
    with issuing(world.chain, one=rsa_key) as issuer, open_backend(str(server.store)) as backend:
        trusts, authority = TrustFile(backend.store.documents), world.ca.read_text()
        claims = {"repository": str(JOB["repository"])}
        trust = trusts.add(Trust("", "ci", issuer.url, AUDIENCE, claims, {}, ("blink",), authority), "local:tests")
        job = opened(bearer(issuer.token("one", aud=AUDIENCE)), at=server)
        by_certificate, kept = opened("", at=server, client=folder), opened("", at=server, client=other)
        asked = http.client.HTTPSConnection(
            "localhost", server.operators, context=world.context(folder), timeout=SECONDS
        )
        with contextlib.closing(asked):
            asked.request("GET", "/v1/products")
            answer = asked.getresponse()
            answer.read()
            assert answer.status == 200
            world.pki.revoke(Role.OPERATOR, "stream-alice", now=NOW)
            asked.request("GET", "/v1/products")
            refused = asked.getresponse()
            assert refused.status == 401, "a connection that is kept open is no way around it"
            assert json.loads(refused.read())["error"] == "the certificate of 'stream-alice' is revoked"
        trusts.remove(trust.id, "local:tests")
        for stream in (job, by_certificate):
            stream.read_to_end()
        publish(server, "1.0", server.world.firmware(1).signed)
        kept.read_to(b"event: releases")


def test_one_caller_has_a_share_of_all_places(start_server: StartServer, opened: Callable[..., Stream]) -> None:
    server = start_server(prefix=("sh", "-c", 'ulimit -n 780; exec "$@"', "sh"), store="small")
    places = (780 - OTHER_FILES) // 2 - SPARE
    share = places // SHARES
    with open_backend(str(server.store)) as backend:
        tokens = TokenFile(backend.store.documents)
        made = [tokens.issue("dashboard", "blink", "*", 1, NOW) for _ in range(SHARES + 1)]
    for token, secret in made[:-1]:
        for _ in range(share):
            last = opened(bearer(secret), at=server)
        message = f"'token:{token.id}' listens {share} times already"
        assert refusal(raw(server, get(EVENTS, bearer(secret))), 429) == message
    assert refusal(raw(server, get(EVENTS, bearer(made[-1][1]))), 503) == f"{places} listen already"
    assert operator(server).get("/v1/alarms")["alarms"] == [], "that is no fault"
    last.connection.close()
    until(lambda: f"otaseal_listeners {places - 1}" in metrics(server), "it listens still")
    opened(bearer(made[-1][1]), at=server)
