"""The commands of an operator, as people run them against a server."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from otaseal.keys.public import public_pem
from otaseal.store.store import Store
from otaseal.store.tokens import TokenFile
from support.command import Command, otaseal, process
from support.servers import Running, World, as_device, operator, publish, talk

__all__ = ["otaseal"]


def test_a_product_that_the_store_does_not_know_is_noted(
    tmp_path: Path, rsa_key: RSAPrivateKey, otaseal: Command
) -> None:
    def make(*scopes: str) -> str:
        new, trust = (("token", "new"), ("trust", "add"))
        given = ("ci", "--store", tmp_path / "store")
        asked = ("--issuer", "https://ci.local", "--audience", "a", "--claim", "sub=x")
        added = otaseal(*trust, *given, *asked, *(f"--scope={scope}" for scope in scopes)).succeeded().err
        said = otaseal(*new, *given, *(["--product", scopes[0]] if scopes[0] != "*" else [])).succeeded().err
        assert [line for line in said.splitlines() if ": note: " in line] == added.splitlines()
        return added

    store = Store.create(tmp_path / "store")
    assert make("blink") == "", "its first product is yet to come"
    store.add_key("blink", "signing", public_pem(rsa_key.public_key()))
    assert make("blinc") == "otaseal: note: the store has no product 'blinc' yet, but blink\n"
    assert make("blink", "*/beta") == make("*") == ""


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
    below = process("token", "new", "ci", "--store", server.store, "--out", "newer.signed/token", cwd=tmp_path)
    below.failed(3, "'newer.signed/token' cannot be written")
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
        ("--cert", "nope", "--key", str(key)): "'nope' cannot be read",
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
