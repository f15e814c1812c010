"""Tokens of issuers that the store trusts: verified with keys fetched from a real one over HTTPS, and refused."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from otaseal.errors import SystemFaultError
from otaseal.keys.public import public_pem
from otaseal.server.operator_api.auth import of_bearer
from otaseal.server.operator_api.issuer_keys import (
    FRESH_SECONDS,
    KEPT_SECONDS,
    PAUSE_SECONDS,
    IssuerKeys,
    fetch_keys,
)
from otaseal.server.operator_api.issuer_requests import MAX_ANSWER
from otaseal.server.operator_api.oidc import LEEWAY_SECONDS, Bearer, InvalidTokenError, Oidc, is_token
from otaseal.server.operator_api.uploads import Refused
from otaseal.store.trusts import KNOWN, Trust, TrustFile
from support.clock import Clock
from support.command import Command, otaseal  # noqa: F401
from support.issuer import JOB, Issuer, by_hand, issuing
from support.operator_requests import raw, refusal
from support.servers import StartServer, World, get, operator

AUDIENCE = "https://update.local:8444"
BY = "local:tests"


@pytest.fixture(scope="module")
def elliptic() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def issuer(world: World, rsa_key: rsa.RSAPrivateKey, elliptic: ec.EllipticCurvePrivateKey) -> Iterator[Issuer]:
    with issuing(world.chain, one=rsa_key, two=elliptic) as running:
        yield running


def trust_in(issuer: Issuer, world: World, **others: object) -> Trust:
    given = {"claims": {"repository": "me/blink"}, "patterns": {}, "scopes": ("blink/stable",), **others}
    return Trust("", "release", issuer.url, AUDIENCE, **given, authority=world.ca.read_text())  # type: ignore[arg-type]


class Verifier:
    """An Oidc with a store of its own, on one event loop."""

    def __init__(self, folder: Path, *trusts: Trust) -> None:
        self.trusts, self.clock, self.reports = TrustFile(folder), Clock(), list[str]()
        for trust in trusts:
            self.trusts.add(trust, BY)
        self.runner = asyncio.new_event_loop()
        self.oidc = Oidc(self.trusts, IssuerKeys(self.reports.append, clock=self.clock))

    def verify(self, token: str) -> tuple[str, str]:
        bearer = self.runner.run_until_complete(self.oidc.verify(token))
        return bearer.subject, " ".join(map(str, bearer.allowed))


@pytest.fixture
def verifier(issuer: Issuer, world: World, tmp_path: Path) -> Iterator[Verifier]:
    made = Verifier(tmp_path, trust_in(issuer, world))
    yield made
    made.runner.close()


def test_genuine_tokens_say_who_and_for_what(verifier: Verifier, issuer: Issuer) -> None:
    for key_id in ("one", "two"):
        assert verifier.verify(issuer.token(key_id, aud=AUDIENCE)) == (JOB["sub"], "blink/stable")
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"], "once for both"
    verifier.trusts.add(
        Trust(**{**vars(verifier.trusts.list()[0]), "claims": {"environment": "release"}, "scopes": ("lamp",)}), BY
    )
    assert verifier.verify(issuer.token("one", aud=AUDIENCE))[1] == "blink/stable lamp/*", "what any trust allows"
    early, late = (int(time.time()) + sign * (LEEWAY_SECONDS - 10) for sign in (1, -1))
    verifier.verify(issuer.token("one", aud=AUDIENCE, nbf=early, iat=early, exp=early + 300))
    verifier.verify(issuer.token("one", aud=AUDIENCE, exp=late))


def test_subjects_of_two_issuers_that_are_alike_are_two_callers() -> None:
    callers = {
        of_bearer(
            Bearer("alice", (Trust(name, name, issuer, AUDIENCE, {"sub": "alice"}, {}, ("blink",)),), {})
        ).require("blink", None)
        for name, issuer in {**KNOWN, "own": "https://ci.local/github"}.items()
    }
    assert callers == {"oidc:github#alice", "oidc:gitlab#alice", "oidc:https://ci.local/github#alice"}


def test_a_token_that_was_verified_holds_until_its_end_or_that_of_its_trust(verifier: Verifier, issuer: Issuer) -> None:
    bearer = verifier.runner.run_until_complete(verifier.oidc.verify(issuer.token("one", aud=AUDIENCE)))
    assert verifier.oidc.again(bearer) == bearer
    assert not bearer.has_ended
    assert replace(bearer, claims={**bearer.claims, "exp": int(time.time()) - LEEWAY_SECONDS}).has_ended
    (trust,) = verifier.trusts.list()
    verifier.trusts.add(replace(trust, scopes=("lamp",)), BY)
    verifier.trusts.remove(trust.id, BY)
    assert [str(scope) for scope in verifier.oidc.again(bearer).allowed] == ["lamp/*"]
    verifier.trusts.remove(verifier.trusts.list()[0].id, BY)
    with pytest.raises(InvalidTokenError):
        verifier.oidc.again(bearer)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "another audience": ({"aud": "https://other.local:8444"}, "not for this server"),
    "several audiences": ({"aud": [AUDIENCE, "https://other.local"]}, "not for this server"),
    "no audience": ({"aud": None}, 'missing the "aud" claim'),
    "a foreign repository": ({"repository": "you/blink"}, "not of whom it trusts"),
    "a longer name": ({"repository": "me/blink2"}, "not of whom it trusts"),
    "other letters": ({"repository": "ME/blink"}, "not of whom it trusts"),
    "a list": ({"repository": ["me/blink"]}, "not of whom it trusts"),
    "no repository": ({"repository": None}, "not of whom it trusts"),
    "expired": ({"exp": 1_700_000_000}, "expired"),
    "without an end": ({"exp": None}, 'missing the "exp" claim'),
    "an end that is none": ({"exp": "never"}, "must be an integer"),
    "not yet valid": ({"nbf": 4_000_000_000}, "not yet valid"),
    "of the future": ({"iat": 4_000_000_000}, "not yet valid"),
    "without a time": ({"iat": None}, 'missing the "iat" claim'),
    "without a subject": ({"sub": None}, 'missing the "sub" claim'),
    "an empty subject": ({"sub": ""}, "the token's subject is empty"),
    "a subject of two lines": ({"sub": "me\nblink"}, "cannot be printed"),
    "a subject that has to be cut": ({"sub": "me" * 257}, "longer than 512 characters"),
    "a subject that is no text": ({"sub": 7}, "does not hold"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_claims_that_are_not_as_they_must_be(verifier: Verifier, issuer: Issuer, wrong: str) -> None:
    claims, message = WRONG[wrong]
    with pytest.raises(InvalidTokenError, match=message) as caught:
        verifier.verify(issuer.token("one", **{"aud": AUDIENCE, **claims}))
    for value in ("me/blink", AUDIENCE):
        assert value not in caught.value.message, "what is asked for is not told to who does not know it"


def test_signatures_that_are_not_the_issuers(
    verifier: Verifier, issuer: Issuer, world: World, other_rsa_key: rsa.RSAPrivateKey, rsa_key: rsa.RSAPrivateKey
) -> None:
    good = issuer.token("one", aud=AUDIENCE)
    head, claims, signature = good.split(".")
    said = {"iss": issuer.url, "aud": AUDIENCE, "exp": 4e9, "iat": 1, **JOB}
    public = public_pem(rsa_key.public_key())
    forged = {
        "another key": issuer.token("one", key=other_rsa_key, aud=AUDIENCE),
        "the other key's id": issuer.token("two", key=rsa_key, aud=AUDIENCE),
        "changed": f"{head}.{claims}.{signature[:-4]}AAAA",
        "cut": f"{head}.{claims}.",
        "none": by_hand({"alg": "none", "kid": "one"}, said),
        "HMAC with the public key": by_hand({"alg": "HS256", "kid": "one"}, said, public),
        "HMAC, of the elliptic one's id": by_hand({"alg": "HS256", "kid": "two"}, said, public),
        "its own key": by_hand({"alg": "HS256", "kid": "one", "jwk": {"kty": "oct", "k": "AAAA"}}, said, b"\0\0\0"),
        "an unknown id": issuer.token("three", key=rsa_key, aud=AUDIENCE),
        "no id": by_hand({"alg": "RS256"}, said, b"x"),
        "an id that is none": by_hand({"alg": "RS256", "kid": ["one"]}, said, b"x"),
        "nobody's": by_hand({"alg": "RS256", "kid": "one"}, {**said, "iss": "https://evil.example"}, b"x"),
        "no issuer": by_hand({"alg": "RS256", "kid": "one"}, {**said, "iss": None}, b"x"),
        "no object": by_hand({"alg": "RS256", "kid": "one"}, [], b"x"),  # type: ignore[arg-type]
        "no JSON": "AAAA.BBBB.CCCC",
    }
    for what, token in forged.items():
        assert is_token(token), what
        with pytest.raises(InvalidTokenError):
            verifier.verify(token)
    verifier.verify(good)
    with issuing(world.chain, one=other_rsa_key) as other:
        verifier.trusts.add(trust_in(other, world, scopes=("lamp",)), BY)
        own = other.token("one", aud=AUDIENCE)
        assert verifier.verify(own)[1] == "lamp/*", "its own keys are asked, though the id is the same"
        with pytest.raises(InvalidTokenError, match="does not hold"):
            verifier.verify(other.token("one", aud=AUDIENCE, iss=issuer.url))
        with pytest.raises(InvalidTokenError, match="does not hold"):
            verifier.verify(issuer.token("one", aud=AUDIENCE, iss=other.url))


def test_a_key_that_is_new_is_fetched_and_one_that_is_gone_ends(
    verifier: Verifier, issuer: Issuer, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    before = issuer.token("one", aud=AUDIENCE)
    verifier.verify(before)
    issuer.keys = {"new": other_rsa_key}
    after = issuer.token("new", aud=AUDIENCE)
    for _ in range(3):
        with pytest.raises(InvalidTokenError, match="has no key 'new'"):
            verifier.verify(after)  # asked a moment ago
    assert len(issuer.asked) == 2
    verifier.clock.now += PAUSE_SECONDS
    verifier.verify(after)
    with pytest.raises(InvalidTokenError, match="has no key 'one'"):
        verifier.verify(before)
    issuer.keys = {"newer": other_rsa_key}
    verifier.clock.now += FRESH_SECONDS - 1
    verifier.verify(after)
    verifier.clock.now += 1
    with pytest.raises(InvalidTokenError, match="has no key 'new'"):
        verifier.verify(after)


def test_known_keys_go_on_for_a_day_while_the_issuer_is_away(verifier: Verifier, issuer: Issuer) -> None:
    token = issuer.token("one", aud=AUDIENCE)
    verifier.verify(token)
    issuer.instead = {"/.well-known/openid-configuration": lambda: (500, b"")}
    verifier.clock.now += KEPT_SECONDS - 1
    verifier.verify(token)
    assert len(verifier.reports) == 1
    assert "answers 500" in verifier.reports[0]
    with pytest.raises(Refused, match="cannot be read") as unknown:
        verifier.verify(issuer.token("unknown", key=issuer.keys["one"], aud=AUDIENCE))
    assert unknown.value.status == 503, "it may be a new one"
    verifier.clock.now += 1
    with pytest.raises(Refused, match="cannot be read"):
        verifier.verify(token)
    issuer.instead = {}
    verifier.clock.now += PAUSE_SECONDS
    verifier.verify(token)


def test_an_issuer_is_asked_once_however_many_come(verifier: Verifier, issuer: Issuer) -> None:
    """And the event loop goes on meanwhile."""
    let_go = threading.Event()

    def slow() -> tuple[int, bytes]:
        assert let_go.wait(30)
        issuer.instead = {}
        return issuer.answer("/keys", "")

    issuer.instead = {"/keys": slow}
    token = issuer.token("one", aud=AUDIENCE)

    async def many() -> None:
        asking = [asyncio.create_task(verifier.oidc.verify(token)) for _ in range(20)]
        while not any(path == "/keys" for path in issuer.asked):
            await asyncio.sleep(0)
        assert not any(task.done() for task in asking)
        let_go.set()
        assert {bearer.subject for bearer in await asyncio.gather(*asking)} == {JOB["sub"]}

    verifier.runner.run_until_complete(many())
    assert issuer.asked.count("/.well-known/openid-configuration") == 1


def _configuration(**values: object) -> Callable[[], tuple[int, bytes]]:
    return lambda: (200, json.dumps(values).encode())


CONFIGURATION = "/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        (CONFIGURATION, lambda: (404, b""), "answers 404"),
        (CONFIGURATION, lambda: (302, b""), "answers 302"),
        (CONFIGURATION, lambda: (200, b"[]"), "no JSON object"),
        (CONFIGURATION, lambda: (200, b"{"), "Expecting property name"),
        (CONFIGURATION, _configuration(issuer="https://other.example"), "that of 'https://other.example'"),
        ("/keys", lambda: (200, b" " * (MAX_ANSWER + 1)), "more than 262144 bytes"),
        ("/keys", _configuration(keys=[]), "no key for signatures"),
        ("/keys", _configuration(keys=[{"kty": "oct", "k": "AAAA", "kid": "one", "alg": "HS256"}]), "no key"),
        ("/keys", _configuration(keys="one"), "no key"),
        (
            "/keys",
            _configuration(keys=[1, {"kid": "one"}, {"kid": "one", "kty": "RSA", "n": "AQ", "e": "AQ"}]),
            "no key",
        ),
    ],
)
def test_what_is_not_a_set_of_keys(
    issuer: Issuer, world: World, path: str, answer: Callable[[], tuple[int, bytes]], reason: str
) -> None:
    issuer.instead = {path: answer}
    with pytest.raises(SystemFaultError, match=reason):
        fetch_keys(issuer.url, world.ca.read_text())


def test_keys_come_over_https_alone_and_from_who_has_the_right_certificate(
    issuer: Issuer, world: World, other_rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    assert set(fetch_keys(issuer.url, world.ca.read_text())) == {"one", "two"}
    with pytest.raises(SystemFaultError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_keys(issuer.url, "")
    plain = issuer.url.replace("https", "http")
    issuer.instead = {CONFIGURATION: _configuration(issuer=issuer.url, jwks_uri=f"{plain}/keys")}
    with pytest.raises(SystemFaultError, match="no address with https"):
        fetch_keys(issuer.url, world.ca.read_text())
    issuer.instead, issuer.keys = {}, {"short": rsa_keys(1024), "good": other_rsa_key}
    assert set(fetch_keys(issuer.url, world.ca.read_text())) == {"good"}


def test_a_job_asks_its_server_and_nobody_elses(
    world: World, issuer: Issuer, start_server: StartServer, otaseal: Command, tmp_path: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    server = start_server()
    (tmp_path / "firmware.bin.signed").write_bytes(world.firmware(1).signed)
    (tmp_path / "ca.pem").write_text(world.ca.read_text())
    for name, value in {**issuer.job(), "SSL_CERT_FILE": str(world.ca)}.items():
        monkeypatch.setenv(name, value)
    add = ("trust", "add", "release", "--store", server.store, "--issuer", issuer.url, "--issuer-ca", world.ca)
    add += ("--claim", "repository=me/blink", "--claim-like", "environment=rel*")
    deploy = ("deploy", "firmware.bin.signed", "--server", server.url, "--ca", "ca.pem", "--product", "blink", "--oidc")
    deploy += ("--version", "1.0", "--no-rehearse", "--channel")

    otaseal(*deploy, "stable").failed(1, f"tokens of '{issuer.url}' are not taken here")
    other = otaseal(*add, "--audience", "https://other.local/", "--scope", "blink").succeeded()
    assert "the audience ends with '/'" in other.err
    otaseal(*deploy, "stable").failed(1, "not for this server")
    otaseal("trust", "remove", other.out.split()[0], "--store", server.store).succeeded()
    added = otaseal(*add, "--audience", server.url, "--scope", "blink/stable", "--json").succeeded().json
    otaseal(*deploy, "beta").failed(1, "is not for product 'blink', channel 'beta'")
    assert "read back" in otaseal(*deploy, "stable").succeeded().out
    listed = otaseal("trust", "list", "--store", server.store).succeeded().out
    assert f"{added['id']}  release  for blink/stable" in listed
    assert "environment like rel*" in listed

    audit = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    assert [(line["event"], line["by"]) for line in audit if line.get("by", "").startswith("oidc:")] == [
        ("publish", f"oidc:{issuer.url}#{JOB['sub']}"),
        ("point", f"oidc:{issuer.url}#{JOB['sub']}"),
    ]
    who = ("--by", f"oidc:{issuer.url}#{JOB['sub']}", "--server", server.url, "--ca", "ca.pem", "--product", "blink")
    assert len(otaseal("audit", *who, "--oidc", "--json").succeeded().json) == 2
    assert [line["event"] for line in audit if "trust" in line["event"]] == ["trust", "distrust", "trust"]
    token = issuer.token("one", aud=server.url)
    listing = "/v1/products/blink/releases"
    assert raw(server, get(listing, f"Authorization: Bearer {token}")).status == 200
    assert "not of whom" in refusal(
        raw(
            server, get(listing, f"Authorization: Bearer {issuer.token('one', aud=server.url, repository='you/blink')}")
        ),
        401,
    )
    server.logs("refused", "repository is 'you/blink', not 'me/blink'")
    otaseal("trust", "remove", added["id"], "--store", server.store).succeeded()
    assert raw(server, get(listing, f"Authorization: Bearer {token}")).status == 401, "at once"
    assert "otaseal_authentication_failures_total 4" in _metrics(server)
    assert server.stop() == 0
    assert token not in server.log.read_text() + (server.store / "audit.log").read_text()


def _metrics(server: object) -> str:
    found = operator(server).fetch("/metrics")  # type: ignore[arg-type]
    assert found is not None
    return found.decode()


def test_an_issuer_that_is_away_is_no_failure_of_who_asks(world: World, start_server: StartServer) -> None:
    server = start_server()
    with issuing(world.chain, one=world.key) as issuer:
        token = issuer.token("one", aud=AUDIENCE)
        TrustFile(server.store).add(trust_in(issuer, world, scopes=("*",)), BY)
    reply = raw(server, get("/v1/products", f"Authorization: Bearer {token}"))
    assert "cannot be read" in refusal(reply, 503)
    assert operator(server).get("/v1/products") == {"products": ["blink"]}
    server.logs("issuer", "cannot be read")
    assert "otaseal_authentication_failures_total 0" not in _metrics(server)
    assert "alarm=True" not in server.log.read_text()
