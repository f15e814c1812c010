"""Who may do what at the operators' port: tokens, certificates, and what wrong ones are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from otaseal.client.client import Client
from otaseal.client.credentials import load_token
from otaseal.client.deployment import Options
from otaseal.errors import ConfigError, InputError, OtasealError, SystemFaultError, VerificationError
from otaseal.pki.profile import Role
from otaseal.release.records import Origin
from otaseal.server.failures import FAILURES, MAX_ADDRESSES, FailureCounter
from otaseal.store.documents import TOKENS
from otaseal.store.hashed_secrets import digest
from otaseal.store.tokens import TokenFile
from support.operator_requests import NOW, raw, refusal
from support.servers import Running, StartServer, World, deploy, get, operator, publish


def test_wrong_credentials_open_nothing(server: Running, tmp_path: Path) -> None:
    publish(server, "1.0", server.world.firmware(1).signed)
    tokens = TokenFile(server.store)
    _, expired = tokens.issue("old", "*", "*", 1, NOW - timedelta(days=3))
    listing = "/v1/products/blink/releases"
    wrong = ["", "Basic " + server.token, "Bearer", "Bearer ", "Bearer " + server.token[:-1], "Bearer " + expired]
    wrong += [f"Bearer {server.token}x", f"Bearer {digest(server.token)}", server.token]
    assert len(wrong) < FAILURES
    for credentials in wrong:
        reply = raw(server, get(listing, f"Authorization: {credentials}"))
        assert refusal(reply, 401) == "no valid token"
        assert reply.headers["www-authenticate"] == "Bearer"
    assert raw(server, get(listing, f"Authorization: Bearer {server.token}")).status == 200
    for _ in range(FAILURES - len(wrong)):
        raw(server, get(listing))
    assert "too many wrong credentials" in refusal(raw(server, get(listing)), 429)
    assert raw(server, get(listing, f"Authorization: Bearer {server.token}")).status == 200, "a neighbour guesses"
    assert server.stop() == 0
    for secret in (server.token, expired):
        assert secret not in server.log.read_text()
        assert secret not in (server.store / "tokens.json").read_text()
    assert (server.store / "tokens.json").stat().st_mode & 0o077 == 0


def test_tokens_keep_to_their_product_and_channel(server: Running) -> None:
    tokens = TokenFile(server.store)
    _, beta = tokens.issue("ci", "blink", "beta", 1, NOW)
    _, lamp = tokens.issue("other", "lamp", "*", 1, NOW)
    firmware, created = server.world.firmware(1), NOW.strftime("%Y-%m-%dT%H:%M:%SZ")

    def deploy_by(token: str, channel: str) -> None:
        deploy(operator(server, token), [firmware.signed], Origin("blink", "1.0", created), Options(channel))

    deploy_by(beta, "beta")
    with pytest.raises(InputError, match="token 'ci' is not for product 'blink', channel 'stable'"):
        deploy_by(beta, "stable")
    with pytest.raises(InputError, match="token 'other' is not for product 'blink'"):
        deploy_by(lamp, "beta")
    for path in ("promote", "rollback", "percent"):
        with pytest.raises(InputError, match="is not for"):
            operator(server, beta).post(f"/v1/products/blink/channels/stable/{path}", {"from": "beta", "percent": 1})
    (mine,) = [one for one in tokens.list() if one.name == "ci"]
    tokens.revoke(mine.id)
    with pytest.raises(InputError, match="no valid token"):
        deploy_by(beta, "beta")


def test_an_operators_certificate_is_enough_until_it_is_revoked(world: World, start_server: StartServer) -> None:
    folder = world.pki.issue_operator("workbench", now=NOW)
    server = start_server("--operator-ca", world.pki.directory / "operator-ca" / "certificate.pem")
    certificate = (folder / "chain.pem", folder / "key.pem")
    client = Client(server.url, None, world.ca, certificate)
    created = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    deploy(client, [world.firmware(1).signed], Origin("blink", "1.0", created), Options())
    server.logs("by=certificate:workbench")
    with pytest.raises(InputError, match="no valid token"):
        Client(server.url, None, world.ca).get("/v1/products")
    device = world.client(Role.DEVICE, "a-device")
    with pytest.raises(OtasealError):
        Client(server.url, None, world.ca, (device / "chain.pem", device / "key.pem")).get("/v1/products")
    # What was revoked is set aside, so the files are kept in memory for this last call.
    kept = [one.read_bytes() for one in certificate]
    world.pki.revoke(Role.OPERATOR, "workbench", now=NOW)
    copies = [server.store.with_name(name) for name in ("kept.pem", "kept.key")]
    for path, data in zip(copies, kept, strict=True):
        path.write_bytes(data)
    with pytest.raises(SystemFaultError):
        Client(server.url, None, world.ca, (copies[0], copies[1])).get("/v1/products")
    server.logs("revoked name=workbench")


def test_the_client_trusts_nobody_else(start_server: StartServer) -> None:
    server = start_server()
    elsewhere = start_server("--operator-listen", "127.0.0.2:0", store="elsewhere")  # an address not in its certificate
    with pytest.raises(VerificationError, match="does not hold"):
        Client(server.url, server.token).get("/v1/products")
    with pytest.raises(VerificationError, match="does not hold") as refused:
        Client(f"https://127.0.0.2:{elsewhere.operators}", server.token, server.world.ca).get("/v1/products")
    assert "use a name that it is for" in refused.value.hint
    with pytest.raises(SystemFaultError, match="cannot be reached"):
        Client("https://localhost:1", server.token, server.world.ca).get("/v1/products")
    with pytest.raises(SystemFaultError, match="not JSON"):
        Client(f"https://localhost:{server.port}", server.token, server.world.ca).get("/v1/products")
    for url in ("http://localhost", "localhost:8444", "https://localhost/path", "https://", "https://a:b"):
        with pytest.raises(ConfigError, match="is not a server"):
            Client(url)
    for host in ("[::1", "a..b", "a" * 300, "a b", ".", "a:99999"):
        with pytest.raises(ConfigError, match="is not a server"):
            Client(f"https://{host}")
    for url in ("https://[::1]:8444", "https://büro.local"):
        assert Client(url).host
    assert server.token not in repr(operator(server))
    with pytest.raises(InputError, match="holds no token"):
        load_token(None, {"OTASEAL_TOKEN": "with a space"})


def test_token_files(tmp_path: Path) -> None:
    tokens = TokenFile(tmp_path)
    token, secret = tokens.issue("ci", "blink", "*", 1, NOW)
    assert len(secret) == len("otaseal_") + 43, "256 bits"
    assert TokenFile(tmp_path).find(secret, NOW) == token
    assert TokenFile(tmp_path).find(secret, NOW + timedelta(days=1, seconds=1)) is None
    assert secret not in repr(tokens)
    for name, product, channel, days in (
        ("", "*", "*", 1),
        ("*", "*", "*", 1),
        ("a", "../x", "*", 1),
        ("a", "b", "c", 0),
    ):
        with pytest.raises(ConfigError):
            tokens.issue(name, product, channel, days, NOW)
    for damage in (b"", b"[]", b'{"format": 2, "tokens": []}', b'{"format": 1, "tokens": [{}]}', b"{" * 100_000):
        (tmp_path / TOKENS).write_bytes(damage)
        with pytest.raises(InputError):
            TokenFile(tmp_path).find(secret, NOW)


def test_the_failure_counter_forgets() -> None:
    moment = [0.0]
    counter = FailureCounter(clock=lambda: moment[0])
    for address in ("192.0.2.1", "2001:db8::1"):
        assert [counter.add(address) for _ in range(FAILURES)] == list(range(1, FAILURES + 1))
    assert counter.add("192.0.2.1") == FAILURES + 1
    assert counter.add("192.0.2.2") == 1
    assert counter.add("2001:db8::ffff:1") == FAILURES + 1, "one network, one client"
    assert counter.add("2001:db8:0:1::1") == 1
    moment[0] = 61
    assert counter.add("192.0.2.1") == 1
    for number in range(2 * MAX_ADDRESSES):
        counter.add(f"10.0.{number >> 8}.{number & 255}")
    assert len(counter._failures) == MAX_ADDRESSES
