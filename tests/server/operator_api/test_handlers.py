"""Operators over real TLS: who may do what, what is refused and why, and what a deployment changes."""

from __future__ import annotations

import json
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client.client import Client, Options
from otaseal.client.credentials import load_token
from otaseal.errors import ConfigError, InputError, OtasealError, SystemFaultError, VerificationError
from otaseal.image import signed_image
from otaseal.pki.profile import Role
from otaseal.release.records import Origin
from otaseal.release.rollout import includes
from otaseal.server.operator_api.auth import FAILURES, MAX_ADDRESSES, FailureCounter
from otaseal.server.operator_api.tokens import TokenFile, digest
from otaseal.store.files import Store
from support.command import process
from support.images import Signer, build_image
from support.servers import SECONDS, Reply, Running, StartServer, World, as_device, deploy, get, operator, publish, talk

NOW = datetime.now(timezone.utc)


def raw(server: Running, request: bytes) -> Reply:
    return talk(server.world.context(), server.operators, request)


def upload(server: Running, body: bytes, *lines: str, version: str = "9.9", token: str | None = None) -> Reply:
    credentials = f"Authorization: Bearer {server.token if token is None else token}"
    path = f"/v1/products/blink/releases/{version}?created=2030-01-01T00:00:00Z"
    head = get(path, credentials, *(lines or (f"Content-Length: {len(body)}",)), method="PUT")
    return raw(server, head + body)


def refusal(reply: Reply, status: int) -> str:
    answer = json.loads(reply.body)
    assert reply.status == status, answer
    assert set(answer) == {"error", "hint"}
    return str(answer["error"])


def test_publish_promote_roll_back(server: Running) -> None:
    one, two, three = (server.world.firmware(seed) for seed in (1, 2, 3))
    publish(server, "1.0", one.signed)
    publish(server, "2.0", two.signed, channel="beta")
    client = operator(server)

    def served(channel: str) -> bytes:
        return talk(server.world.context(), server.port, get(f"/blink/{channel}/firmware.bin.signed")).body

    assert (served("stable"), served("beta")) == (one.signed, two.signed)
    answer = client.post("/v1/products/blink/channels/stable/promote", {"from": "beta"})
    assert (answer["before"], answer["channel"]["version"], answer["channel"]["previous"]) == ("1.0", "2.0", "1.0")
    assert served("stable") == two.signed
    assert client.post("/v1/products/blink/channels/stable/rollback", {})["channel"]["version"] == "1.0"
    assert served("stable") == one.signed
    publish(server, "3.0", three.signed, percent=0)
    assert served("stable") == one.signed, "nobody is meant yet"
    assert client.post("/v1/products/blink/channels/stable/percent", {"percent": 100})["channel"]["percent"] == 100
    assert served("stable") == three.signed
    listed = client.get("/v1/products/blink/releases")
    assert [one["version"] for one in listed["releases"]].count("3.0") == 1
    assert len(listed["releases"]) == 3


def test_a_rollout_reaches_more_and_never_fewer(server: Running) -> None:
    old, new = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", old.signed)
    publish(server, "2.0", new.signed, percent=20)
    state = Store.open(server.store).current("blink", "stable")
    assert state is not None
    known = [f"5C:CF:7F:00:00:{n:02X}" for n in range(256)]
    first, later = ({mac for mac in known if includes(f"mac:{mac}", state.pointer.salt, n)} for n in (20, 60))
    macs = [*sorted(first)[:5], *sorted(later - first)[:5], *sorted(set(known) - later)[:5]]

    def meant() -> set[str]:
        context, path = server.world.context(), "/blink/firmware.bin.signed"
        head = {mac: as_device(path, old, mac).replace(b"GET ", b"HEAD ") for mac in macs}
        return {mac for mac in macs if talk(context, server.port, head[mac]).status == 200}

    assert meant() == set(macs[:5])
    operator(server).post("/v1/products/blink/channels/stable/percent", {"percent": 60})
    assert meant() == set(macs[:10])


def test_the_same_release_again_is_the_same(server: Running) -> None:
    signed = server.world.firmware(1).signed
    assert "1.0: 1 file published, read back" in publish(server, "1.0", signed).lines()[0]
    again = publish(server, "1.0", signed)
    assert again.lines()[:2] == [
        f"blink 1.0: 1 file published already, nothing changed, read back as {again.confirmed} do",
        "channel 'stable': 1.0, for every device",
    ]
    assert "channel 'stable': 1.0 -> 1.0, for 50 % of the devices" in publish(server, "1.0", signed, percent=50).lines()
    with pytest.raises(InputError, match="exists already"):
        publish(server, "1.0", server.world.firmware(2).signed)


def test_what_devices_would_refuse_is_refused_here_and_there(server: Running, other_rsa_key: rsa.RSAPrivateKey) -> None:
    good = server.world.firmware(2)
    publish(server, "2.0", good.signed)
    newer = build_image(seed=3, code_size=5000)
    cases = {
        "not signed": good.raw,
        "another key|does not fit|none of": signed_image.sign(newer, Signer(other_rsa_key)),
        "cut short|damaged|trailer": good.signed[:-100],
        "flash mode": signed_image.sign(build_image(seed=4, mode="qio"), Signer(server.world.key)),
        "flash size": signed_image.sign(build_image(seed=4, size="1M"), Signer(server.world.key)),
        "signed twice": good.signed + signed_image.parse(good.signed).signature + (256).to_bytes(4, "little"),
        "over the limit": bytes(4 * 1024 * 1024 + 1),
    }
    import re

    for message, body in cases.items():
        with pytest.raises(InputError, match=message):
            publish(server, "3.0", body)
        said = refusal(upload(server, body), 422)
        assert re.search(message, said), (message, said)
    older = server.world.firmware(5).signed
    with pytest.raises(InputError, match="older than the current"):
        publish(server, "1.0", older)
    publish(server, "1.0", older, allow_downgrade=True)
    server.logs("downgrade=True")


def test_uploads_out_of_bounds_are_refused_before_they_are_read(server: Running) -> None:
    big = 100 * 1024 * 1024
    assert "104857600 bytes" in refusal(upload(server, b"", f"Content-Length: {big}"), 413)
    assert "without Content-Length" in refusal(upload(server, b"", "Transfer-Encoding: chunked"), 411)
    lines = ("Content-Length: 10", "X-Otaseal-Parts: 5,6")
    assert "do not add up" in refusal(upload(server, b"0123456789", *lines), 400)
    for version in ("..", "a%2Fb", "%00", "a" * 65):
        assert upload(server, b"x", version=version).status in (400, 404, 422)


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
    device = world.pki.issue_device("a-device", now=NOW)
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
        with pytest.raises(ConfigError, match=r"is not a server|no port"):
            Client(url)
    assert server.token not in repr(operator(server))
    with pytest.raises(InputError, match="holds no token"):
        load_token(None, {"OTASEAL_TOKEN": "with a space"})


def test_the_commands(server: Running, tmp_path: Path) -> None:
    world = server.world
    (tmp_path / "firmware.bin.signed").write_bytes(world.firmware(1).signed)
    (tmp_path / "newer.signed").write_bytes(world.firmware(2).signed)
    made = process(
        *("token", "new", "ci", "--store", server.store, "--product", "blink", "--out", "token"), cwd=tmp_path
    ).succeeded()
    assert made.out == "", "a secret in a file is not printed, too"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    again = process("token", "new", "ci", "--store", server.store, "--out", "token", cwd=tmp_path)
    again.failed(1, "'token' exists already")
    assert len(TokenFile(server.store).list()) == 2, "none was made that nobody has"
    environment = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_SERVER_CA": str(world.ca)}
    environment["OTASEAL_TOKEN_FILE"] = str(tmp_path / "token")

    def run(*arguments: str) -> dict[str, object]:
        value = process(*arguments, "--json", cwd=tmp_path, **environment).succeeded().json
        assert isinstance(value, dict)
        return value

    done = process("deploy", "firmware.bin.signed", "--version", "1.0", cwd=tmp_path, **environment).succeeded()
    assert "channel 'stable': nothing -> 1.0, for every device" in done.out
    assert done.err == "", "no progress bar without a terminal"
    assert run("deploy", "newer.signed", "--version", "1.1")["before"] == "1.0"
    assert run("rollback")["channel"]["version"] == "1.0"  # type: ignore[index]
    assert run("promote", "--version", "1.1", "--percent", "10")["channel"]["percent"] == 10  # type: ignore[index]
    assert run("promote", "--percent", "50")["channel"]["percent"] == 50  # type: ignore[index]
    talk(world.context(), server.port, as_device("/firmware.bin.signed", world.firmware(1)))
    assert "runs 1.0" in process("devices", cwd=tmp_path, **environment).succeeded().out
    assert "release  1.1" in process("releases", cwd=tmp_path, **environment).succeeded().out
    (row,) = [one for one in json.loads(process("token", "list", "--store", server.store, "--json", cwd=tmp_path).out)
              if one["name"] == "ci"]  # fmt: skip
    assert "sha256" not in row
    process("token", "revoke", row["id"], "--store", server.store, cwd=tmp_path).succeeded()
    process("releases", cwd=tmp_path, **environment).failed(1, "the server refuses: no valid token")
    process("deploy", "newer.signed", cwd=tmp_path, **environment).failed(2, "the release has no version")
    environment.pop("OTASEAL_SERVER")
    process("releases", cwd=tmp_path, **environment).failed(2, "no update server is named")


def test_devices_of_one_channel_or_of_all(server: Running, tmp_path: Path) -> None:
    world = server.world
    publish(server, "1.0", world.firmware(1).signed)
    publish(server, "1.1", world.firmware(2).signed, channel="beta")
    for channel, mac in (("stable", "5C:CF:7F:00:00:01"), ("beta", "5C:CF:7F:00:00:02")):
        talk(world.context(), server.port, as_device(f"/blink/{channel}/firmware.bin.signed", world.firmware(1), mac))
    said = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_SERVER_CA": str(world.ca)}
    said["OTASEAL_TOKEN"] = server.token

    def devices(*options: str, **environment: str) -> str:
        return process("devices", *options, cwd=tmp_path, **said, **environment).succeeded().out

    of_all, of_beta = devices(), devices("--channel", "beta")
    assert [line.partition("  in ")[2].split(" ")[0] for line in of_all.splitlines()[:2]] == ["stable", "beta"]
    assert ("00:00:02" in of_beta, "00:00:01" in of_beta, "  in " in of_beta) == (True, False, False)
    assert "00:00:01" not in devices(OTASEAL_CHANNEL="beta")
    assert "00:00:02" not in devices("--channel", "stable", OTASEAL_CHANNEL="beta")
    process("devices", "--channel", "bata", cwd=tmp_path, **said).failed(1, "'blink' has no channel 'bata'")


def test_an_option_without_a_meaning_is_refused(tmp_path: Path) -> None:
    said = {"OTASEAL_SERVER": "https://localhost:1", "OTASEAL_PRODUCT": "blink"}
    cases = {
        ("releases", "--channel", "beta"): "unrecognized arguments: --channel",
        ("promote", "beta", "--to", "stable", "--channel", "dev"): "--to 'stable' and --channel 'dev' differ",
        ("promote", "--percent", "50", "--strand-devices"): "--strand-devices is for another release",
        ("deploy", "f", "--version", "1", "--no-rehearse", "--layout", "4m2m"): "are for the rehearsal",
        ("serve", "--store", "s", "--cert", "c", "--key", "k", "--revoked", "r"): "--revoked 'r' is given, and no auth",
    }
    for command, message in cases.items():
        process(*command, cwd=tmp_path, **said).failed(2, message)
    assert not list(tmp_path.iterdir())


def test_a_server_that_cannot_start_leaves_no_store(world: World, tmp_path: Path) -> None:
    chain, key = world.chain, world.chain.with_name("key.pem")
    (tmp_path / "mine.key").write_text("-----BEGIN PRIVATE KEY-----\n")
    tls = ("--cert", str(chain), "--key", str(key))
    cases = {
        ("--cert", "nope", "--key", str(key)): "'nope' or",
        ("--cert", str(chain), "--key", str(world.folder / "signing.pub")): "are no certificate and its key",
        (*tls, "--product", "blink=mine.key"): "public key 'mine.key' is a private key",
        (*tls, "--trusted", "nope"): "authority 'nope' is not a file",
        (*tls, "--listen", "here"): "'here' is not an address",
    }
    for options, message in cases.items():
        done = process("serve", "--store", "made", *options, cwd=tmp_path)
        done.failed(done.code or -1, message)
        assert not (tmp_path / "made").exists(), options


def test_files_that_are_no_certificates_are_named(server: Running, tmp_path: Path) -> None:
    world = server.world
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    said = ("releases", "--server", server.url, "--product", "blink")
    process(*said, "--ca", "nope", cwd=tmp_path).failed(1, "'nope' is not an authority's certificate: No such file")
    process(*said, "--ca", "text", cwd=tmp_path).failed(1, "'text' is not an authority's certificate: NO_CERTIFICATE")
    pair = ("--cert", "nope", "--cert-key", "text")
    process(*said, "--ca", world.ca, *pair, cwd=tmp_path).failed(1, "'nope' and 'text' are no certificate and its key")


def test_the_version_comes_from_git(server: Running, tmp_path: Path) -> None:
    import subprocess

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=tests", "-c", "user.email=tests@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "firmware.bin.signed").write_bytes(server.world.firmware(1).signed)
    git("init", "-q")
    git("add", "firmware.bin.signed")
    git("commit", "-qm", "first")
    git("tag", "v3.1.4")
    environment = {"OTASEAL_SERVER": server.url, "OTASEAL_PRODUCT": "blink", "OTASEAL_SERVER_CA": str(server.world.ca)}
    done = process("deploy", "firmware.bin.signed", "--json", cwd=tmp_path, OTASEAL_TOKEN=server.token, **environment)
    assert done.succeeded().json["version"] == "v3.1.4"
    (tmp_path / "firmware.bin.signed").write_bytes(server.world.firmware(2).signed)
    done = process("deploy", "firmware.bin.signed", "--json", cwd=tmp_path, OTASEAL_TOKEN=server.token, **environment)
    assert done.succeeded().json["version"] == "v3.1.4-dirty"
    assert operator(server).get("/v1/products/blink/releases")["releases"][0]["dirty"] is True


def test_an_unknown_product_is_named(server: Running) -> None:
    with pytest.raises(InputError, match="no product 'lamp'"):
        deploy(operator(server), [b"x"], Origin("lamp", "1.0", NOW.strftime("%Y-%m-%dT%H:%M:%SZ")), Options())


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
        tokens.path.write_bytes(damage)
        with pytest.raises(InputError):
            TokenFile(tmp_path).find(secret, NOW)


def test_the_failure_counter_forgets() -> None:
    moment = [0.0]
    counter = FailureCounter(clock=lambda: moment[0])
    for address in ("192.0.2.1", "2001:db8::1"):
        assert not any(counter.add(address) for _ in range(FAILURES))
    assert counter.add("192.0.2.1")
    assert not counter.add("192.0.2.2")
    assert counter.add("2001:db8::ffff:1"), "one network, one client"
    assert not counter.add("2001:db8:0:1::1")
    moment[0] = 61
    assert not counter.add("192.0.2.1")
    for number in range(2 * MAX_ADDRESSES):
        counter.add(f"10.0.{number >> 8}.{number & 255}")
    assert len(counter._failures) == MAX_ADDRESSES


def test_an_upload_that_stops_takes_nothing_away(server: Running) -> None:
    head = get(
        "/v1/products/blink/releases/1.0?created=2030-01-01T00:00:00Z",
        f"Authorization: Bearer {server.token}",
        "Content-Length: 50000",
        method="PUT",
    )
    with (
        socket.create_connection(("127.0.0.1", server.operators), SECONDS) as raw_socket,
        server.world.context().wrap_socket(raw_socket, server_hostname="localhost") as connection,
    ):
        connection.sendall(head + b"x" * 1000)
    publish(server, "1.0", server.world.firmware(1).signed)


def test_the_audit_log_keeps_whether_a_release_was_rehearsed(server: Running) -> None:
    one, two = server.world.firmware(1), server.world.firmware(2)
    publish(server, "1.0", one.signed, rehearsal="skipped")
    publish(server, "2.0", two.signed)
    log = [json.loads(line) for line in (server.store / "audit.log").read_text().splitlines()]
    assert [line.get("rehearsal") for line in log if line["event"] == "publish"] == ["skipped", None]
    with pytest.raises(InputError, match="rehearsal 'lovely' is unknown"):
        publish(server, "3.0", server.world.firmware(3).signed, rehearsal="lovely")
    state = operator(server).get("/v1/products/blink")
    assert (state["device_port"], state["device_certificates"]) == (server.port, False)
    assert operator(server).firmware("blink", "1.0") == one.signed
    with pytest.raises(SystemFaultError, match="answers 404"):
        operator(server).firmware("blink", "9.9")
