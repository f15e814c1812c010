"""Credentials that are not quite right, and a neighbour who guesses: none of them gets in, and nobody is shut out."""

from __future__ import annotations

import base64
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from otaseal.server.failures import FAILURES
from otaseal.server.operator_api.auth import HOLD_SECONDS
from otaseal.store.hashed_secrets import digest
from otaseal.store.tokens import TokenFile
from support.raw_http import RawClient
from support.servers import Reply, Running, StartServer, get, publish

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
COUNT = 10_000 if THOROUGH else 400
NOW = datetime.now(timezone.utc)
GROWTH = 16 * 1024  # KiB, for the TLS sessions of ten thousand connections, which can be resumed

pytestmark = pytest.mark.proof


def secrets_of(server: Running, elsewhere: Running) -> dict[str, str]:
    """Return tokens that were good, are good elsewhere, or are good for something else."""
    tokens = TokenFile(server.store)
    _, expired = tokens.issue("expired", "*", "*", 1, NOW - timedelta(days=2))
    gone, revoked = tokens.issue("revoked", "*", "*", 1, NOW)
    tokens.revoke(gone.id)
    _, lamp = tokens.issue("lamp", "lamp", "*", 1, NOW)
    _, beta = tokens.issue("beta", "blink", "beta", 1, NOW)
    return {"expired": expired, "revoked": revoked, "elsewhere": elsewhere.token, "lamp": lamp, "beta": beta}


def spoil(number: int, chance: random.Random, good: str, others: dict[str, str]) -> list[bytes]:
    """Return the header lines of a request whose credentials are not valid for publishing in blink's stable channel.

    The `number` says of which kind they are, so that each has its turn.
    """
    at = chance.randrange(8, len(good))
    other = chance.choice([one for one in "abcXYZ019-_" if one != good[at]])
    basic = base64.b64encode(f"operator:{good}".encode()).decode()
    values: list[Callable[[], str]] = [
        lambda: "",
        lambda: "Bearer",
        lambda: "Bearer " + " " * chance.randrange(9),
        lambda: f"Bearer {good[: chance.randrange(1, len(good))]}",
        lambda: f"Bearer {good[chance.randrange(1, len(good)) :]}",
        lambda: f"Bearer {good[:at]}{other}{good[at + 1 :]}",
        lambda: f"Bearer {good[:at]}{good[at:].swapcase()}" if good[at:].swapcase() != good[at:] else "Bearer x",
        lambda: f"Bearer {good}{chance.choice('=.,;x0 y')}z",
        lambda: f"Bearer {good} {good}",
        lambda: f"Bearer: {good}",
        lambda: f"{chance.choice(['Basic', 'Digest', 'Token', 'Negotiate', 'Bearer,', 'Bear', 'BearerX'])} {good}",
        lambda: f"Basic {basic}",
        lambda: good,
        lambda: f"Bearer {digest(good)}",
        lambda: f"Bearer {others[sorted(others)[number // 20 % len(others)]]}",
        lambda: "Bearer otaseal_" + "".join(chance.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789-_", k=43)),
        lambda: "Bearer " + "".join(chr(chance.randrange(0xA0, 0x100)) for _ in range(chance.randrange(1, 80))),
        lambda: "Bearer " + "A" * chance.randrange(1, 12_000),
        lambda: f'Bearer "{good}"',
        lambda: "Bearer *",
    ]
    assert len(values) == 20
    line = f"Authorization: {values[number % 20]()}".encode("latin-1")
    if number % 21 == 0:
        return [f"Cookie: Authorization=Bearer {good}".encode(), f"X-Authorization: Bearer {good}".encode()]
    if number % 19 == 0:
        return [line, f"Proxy-Authorization: Bearer {good}".encode()]
    return [line]


def request(lines: list[bytes], method: str, path: str) -> bytes:
    body = b"{}" if method == "POST" else b""
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Content-Type: application/json"]
    return b"\r\n".join([*head, f"Content-Length: {len(body)}".encode(), *lines, b"", body])


def test_none_of_them_gets_in(start_server: StartServer) -> None:
    server, elsewhere = start_server("--log-json"), start_server(store="elsewhere")
    publish(server, "1.0", server.world.firmware(1).signed)
    publish(server, "1.1", server.world.firmware(2).signed, channel="stable")
    others, chance, counts = secrets_of(server, elsewhere), random.Random(4), Counter[int]()
    client, sizes = RawClient(server.world.context(), server.operators), []
    path = "/v1/products/blink/channels/stable/rollback"
    for number in range(COUNT):
        # As from thousands of addresses: one alone is answered ever later.
        client.source = f"127.{1 + number % 200}.{number // FAILURES % 250}.{1 + number // (250 * FAILURES)}"
        reply = client.ask(request(spoil(number, chance, server.token, others), "POST", path))
        assert reply is not None
        assert reply.status in (400, 401, 403, 429), reply
        counts[reply.status] += 1
        if number % 100 == 0:
            sizes.append(server.memory())
    client.close()
    print(f"{dict(counts)}; KiB {sizes[1]} to {sizes[-1]}")
    assert counts[401] > COUNT * 0.7
    assert counts[403] > 0, "wrong scopes were among them"
    assert server.memory() - sizes[1] < GROWTH
    client.source = "127.0.0.1"
    listed = client.ask(request([f"Authorization: Bearer {server.token}".encode()], "GET", "/v1/products/blink"))
    client.close()
    assert listed is not None
    assert b'"version": "1.1"' in listed.body, "nothing was rolled back"
    assert server.stop() == 0
    log = server.log.read_text()
    for secret in (server.token, *others.values()):
        assert secret not in log
        assert secret[:32] not in log


def test_guessing_is_slow_and_its_neighbour_is_not(server: Running) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    client = RawClient(server.world.context(), server.operators)

    def ask(secret: str) -> tuple[Reply, float]:
        client.close()
        begun = time.monotonic()
        reply = client.ask(get("/v1/products/blink", f"Authorization: Bearer {secret}", version="1.1"))
        assert reply is not None
        return reply, time.monotonic() - begun

    for _ in range(FAILURES):
        assert ask("wrong")[0].status == 401
    for _ in range(3):
        reply, took = ask("wrong")
        assert (reply.status, reply.headers["retry-after"]) == (429, "60")
        assert took > 0.9 * HOLD_SECONDS, "clocks are not that exact"
        assert ask(server.token)[0].status == 200
    client.close()
    assert server.stop() == 0
    logged = [line for line in server.lines() if line.startswith("refused ")]
    assert len(logged) == FAILURES, "whoever guesses does not write the log"
