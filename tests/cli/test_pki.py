"""`otaseal pki`: what it issues, openssl and curl accept; what others have made, it judges; every refusal."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from otaseal.commands import runnable
from otaseal.pki.store import Store
from support import peers, web
from support.command import TOOLS, Command, otaseal, process
from support.pki_store import NOW, PASSPHRASE, made_once, store
from support.terminal import Terminal

__all__ = ["made_once", "otaseal", "store"]


def openssl(*arguments: str | Path, cwd: Path | None = None) -> str:
    command = [peers.tool("openssl", "openssl"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def verify(chain: str | Path, root: str | Path, purpose: str, *check: str) -> None:
    openssl("verify", "-x509_strict", "-purpose", purpose, *check, "-CAfile", root, chain)


@pytest.mark.parametrize(("key", "shown"), [("rsa", "(2048 bit"), ("p256", "prime256v1")])
def test_a_server_that_openssl_accepts_by_every_name(key: str, shown: str, store: Path, otaseal: Command) -> None:
    names = ("--name", "192.0.2.9", "--name", "fd00::9", "--name", "new.local")
    (made,) = otaseal("pki", "server", "second", *names, "--key", key, "--json").succeeded().json
    root = store / "server-ca" / "certificate.pem"
    for check in (("-verify_ip", "192.0.2.9"), ("-verify_ip", "fd00::9"), ("-verify_hostname", "new.local")):
        verify(made["chain"], root, "sslserver", *check)
    assert shown in openssl("pkey", "-in", made["key"], "-noout", "-text")
    assert (Path(made["key"]).stat().st_mode & 0o777) == 0o600
    otaseal("pki", "check", made["chain"]).succeeded()


def test_devices_and_operators_are_clients_of_their_own_authorities(store: Path, otaseal: Command) -> None:
    done = otaseal("pki", "device", "esp-1", "esp-2").succeeded()
    for name in ("esp-1", "esp-2"):
        chain = store / "issued" / "device" / name / "chain.pem"
        assert str(chain) in done.out
        verify(chain, store / "device-ca" / "certificate.pem", "sslclient")
        with pytest.raises(subprocess.CalledProcessError):
            verify(chain, store / "server-ca" / "certificate.pem", "sslclient")
    otaseal("pki", "operator", "bob@example.org").succeeded()
    verify(store / "issued/operator/bob@example.org/chain.pem", store / "operator-ca" / "certificate.pem", "sslclient")
    otaseal("pki", "device", "esp-1").failed(1, "exists already")


class Empty(web.Handler):
    """Answers with nothing."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()


@contextmanager
def serving(folder: Path, tls_1_3_only: bool = False) -> Iterator[int]:
    """An HTTPS server on loopback with the chain and key in `folder`."""
    context = web.tls_of(folder / "chain.pem")
    if tls_1_3_only:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    with web.serving(Empty, context) as port:
        yield port


def test_a_live_server_is_judged_as_curl_judges_it(store: Path, otaseal: Command, tmp_path: Path) -> None:
    otaseal("pki", "server", "here", "--name", "127.0.0.1", "--name", "localhost").succeeded()
    otaseal("pki", "export", "certs").succeeded()
    root = store / "server-ca" / "certificate.pem"
    curl = [peers.tool("curl", "curl"), "-sS", "--cacert", str(root), "--noproxy", "*"]
    with serving(store / "issued" / "server" / "here") as port:
        for host, name in (("127.0.0.1", ()), ("localhost", ()), ("127.0.0.1", ("--name", "other.local"))):
            good = not name
            url = f"https://{name[1] if name else host}:{port}/"
            done = subprocess.run([*curl, "--connect-to", f"::127.0.0.1:{port}", url], capture_output=True, check=False)
            assert (done.returncode == 0) == good, done.stderr
            result = otaseal("pki", "check", f"{host}:{port}", *name, "--json")
            assert result.code == (0 if good else 1), result.err
            (check,) = result.json["checks"]
            assert check["verdicts"] == dict.fromkeys(("bearssl", "mbedtls", "openssl", "curl"), good)
            assert check["trusting"] == "certs"
            assert (check["server"]["version"], check["server"]["fragment"]) == (0x0303, 512)
        otaseal("certs", "pack", "certs", "-o", "certs.ar").succeeded()
        for ca in (("--ca", "certs.ar"), ("--ca", root), ("--product", "blink"), ("--store", store)):
            otaseal("pki", "check", f"https://localhost:{port}/x", *ca).succeeded()
        otaseal("pki", "check", f"localhost:{port}", "--ca", store / "device-ca" / "certificate.pem").failed(
            1, "refused by BearSSL (ESP8266, Pico), mbedTLS (ESP32), OpenSSL strict (Python), curl"
        )
    with serving(store / "issued" / "server" / "here", tls_1_3_only=True) as port:
        otaseal("pki", "check", f"localhost:{port}").failed(1, "no TLS 1.2")
    otaseal("pki", "check", f"127.0.0.1:{port}").failed(3, "does not answer")


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """What the openssl lines of tutorials make: a CA, and a server certificate with a common name alone."""
    openssl("req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650",
            "-subj", "/CN=My very own little home CA", cwd=tmp_path)  # fmt: skip
    openssl("req", "-new", "-nodes", "-newkey", "rsa:2048", "-keyout", "server.key", "-out", "server.csr",
            "-subj", "/CN=192.168.1.70", cwd=tmp_path)  # fmt: skip
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "server.crt", "-days", "365", cwd=tmp_path)  # fmt: skip
    return tmp_path


def test_a_tutorials_certificate_is_judged_with_the_fix(tutorial: Path, otaseal: Command) -> None:
    result = otaseal("pki", "check", "server.crt", "--ca", "ca.crt", "--json")
    (check,) = result.json["checks"]
    assert check["name"] == "192.168.1.70"
    assert check["verdicts"]["bearssl"], "BearSSL takes the common name"
    assert not check["verdicts"]["openssl"]
    with pytest.raises(subprocess.CalledProcessError):
        verify("server.crt", "ca.crt", "sslserver", "-verify_ip", "192.168.1.70")
    text = otaseal("pki", "check", "server.crt", "--ca", "ca.crt").failed(1, "OpenSSL strict (Python)").out
    assert "  BearSSL (ESP8266, Pico)  accepts\n" in text
    assert "  OpenSSL strict (Python)  refuses: " in text
    refusing = [one for one in check["findings"] if one["refused_by"]]
    assert all(runnable(one["hint"]) in text and one["rule"] in text for one in refusing)


def test_what_people_bring_along(tutorial: Path, otaseal: Command) -> None:
    """A self-signed server, a company's chain with an intermediate in one file, and one without its root."""
    openssl("req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", "own.key", "-out", "own.crt", "-days", "730",
            "-subj", "/CN=192.168.1.70", cwd=tutorial)  # fmt: skip
    done = otaseal("pki", "check", "own.crt")
    assert "the root in the chain itself" in done.out
    assert "anchor-is-server" in done.out
    done.failed(1, "refused by")
    (tutorial / "both.pem").write_bytes((tutorial / "server.crt").read_bytes() + (tutorial / "ca.crt").read_bytes())
    done = otaseal("pki", "check", "both.pem")
    assert "advice   root-sent: " in done.out
    assert "  BearSSL (ESP8266, Pico)  accepts\n" in done.out
    done = otaseal("pki", "check", "server.crt").failed(1, "nothing sent or trusted issues")
    assert "nothing: name the root with --ca" in done.out


def test_a_good_chain_of_a_company(tmp_path: Path, otaseal: Command) -> None:
    (tmp_path / "leaf.ext").write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
        "subjectAltName=DNS:*.company.example\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    (tmp_path / "middle.ext").write_text(
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    openssl("req", "-x509", "-nodes", "-newkey", "rsa:2048", "-keyout", "root.key", "-out", "root.pem", "-days", "900",
            "-subj", "/O=Company/CN=Company root authority", "-addext", "keyUsage=critical,keyCertSign",
            cwd=tmp_path)  # fmt: skip
    for name, issuer, days in (("middle", "root", "800"), ("leaf", "middle", "60")):
        openssl("req", "-new", "-nodes", "-newkey", "rsa:2048", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", f"/O=Company/CN=Company {name}", cwd=tmp_path)  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", days, "-extfile", f"{name}.ext",
                cwd=tmp_path)  # fmt: skip
    (tmp_path / "chain.pem").write_bytes((tmp_path / "leaf.pem").read_bytes() + (tmp_path / "middle.pem").read_bytes())
    openssl("verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "any.company.example", "-CAfile",
            "root.pem", "-untrusted", "chain.pem", "leaf.pem", cwd=tmp_path)  # fmt: skip
    done = otaseal("pki", "check", "chain.pem", "--ca", "root.pem").succeeded()
    assert "for 'any.company.example'" in done.out
    assert done.out.count("accepts") == 4
    assert "  expires  " in done.out, "60 days are left"
    backwards = (tmp_path / "middle.pem").read_bytes() + (tmp_path / "leaf.pem").read_bytes()
    (tmp_path / "backwards.pem").write_bytes(backwards)
    otaseal("pki", "check", "backwards.pem", "--ca", "root.pem", "--name", "a.company.example").failed(1, "refused by")


def test_the_store_is_checked_as_a_whole(store: Path, otaseal: Command) -> None:
    done = otaseal("pki", "check").succeeded()
    assert done.out.count("accepts") == 8
    assert "O=blink update servers" not in done.err
    Store(store, "blink", PASSPHRASE).issue_operator("old", now=NOW - timedelta(days=350))
    Store(store, "blink", PASSPHRASE).issue_server("old", ["old.local"], now=NOW - timedelta(days=350))
    rows = otaseal("pki", "check", "--json").succeeded().json
    assert [one["subject"] for one in rows["expiring"]] == ["CN=old,O=blink operators"]
    assert [len(one["expiring"]) for one in rows["checks"]] == [0, 0, 1]
    Store(store, "blink", PASSPHRASE).issue_server("gone", ["gone.local"], now=NOW - timedelta(days=399))
    otaseal("pki", "check").failed(1, "'gone.local' is refused by")


def test_list_and_renewal_of_what_is_due(store: Path, otaseal: Command) -> None:
    states = {one["name"]: one["state"] for one in otaseal("pki", "list", "--json").succeeded().json["issued"]}
    assert states == {"main": "renewal due", "alice": "renewal due"}
    chain = store / "issued" / "server" / "main" / "chain.pem"
    before, key = x509.load_pem_x509_certificate(chain.read_bytes()), (chain.parent / "key.pem").read_bytes()
    assert "reloaded" in otaseal("pki", "renew").succeeded().out
    after = x509.load_pem_x509_certificate(chain.read_bytes())
    assert after.not_valid_after_utc > before.not_valid_after_utc
    assert (after.public_key(), (chain.parent / "key.pem").read_bytes()) == (before.public_key(), key)
    verify(chain, store / "server-ca" / "certificate.pem", "sslserver", "-verify_ip", "192.0.2.7")
    assert otaseal("pki", "renew").succeeded().out == "nothing is due\n"
    assert otaseal("pki", "renew", "main", "--json").succeeded().json == [{"name": "main", "chain": str(chain)}]
    rows = otaseal("pki", "list").succeeded().out.splitlines()
    assert [row.split()[1] for row in rows[5:]] == ["replaced", "replaced", "replaced", "valid", "valid"]


def test_one_passphrase_is_asked_for_once(store: Path) -> None:
    command = [sys.executable, "-m", "otaseal", "pki", "renew", "--store", str(store)]
    with Terminal(command, {"PYTHONPATH": str(TOOLS), "OTASEAL_PASSPHRASE": ""}) as terminal:
        terminal.expect(": ")
        terminal.type(PASSPHRASE.decode())
        shown = terminal.rest()
        assert terminal.returncode == 0, shown
    assert shown.count("Passphrase for") == 1
    assert shown.count("renewed") == 2


def test_a_revoked_device_is_refused_by_openssl(store: Path, otaseal: Command) -> None:
    otaseal("pki", "device", "esp-1", "esp-2").succeeded()
    folder = store / "issued" / "device"
    good, bad = (folder / name / "chain.pem" for name in ("esp-2", "esp-1"))
    copy = store / "esp-1.pem"
    shutil.copy(bad, copy)
    lists = otaseal("pki", "revoke", "esp-1", "--json").succeeded().json
    check = ("verify", "-crl_check", "-CRLfile", lists["crl"], "-CAfile", store / "device-ca" / "certificate.pem")
    openssl(*check, good)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        openssl(*check, copy)
    assert "revoked" in refused.value.stderr
    assert json.loads(Path(lists["revoked"]).read_text())["revoked"]["device"] == lists["serials"]
    otaseal("pki", "revoke", "esp-1").failed(1, "nothing is issued to 'esp-1'")
    assert "rotate the authority" in otaseal("pki", "revoke", "main").succeeded().err
    otaseal("pki", "device", "esp-1").succeeded()


def test_a_name_of_two_roles_has_to_be_told_apart(store: Path, otaseal: Command) -> None:
    otaseal("pki", "device", "alice").succeeded()
    otaseal("pki", "revoke", "alice").failed(2, "'alice' has 2 roles: operator, device")
    otaseal("pki", "renew", "alice", "--role", "device").succeeded()
    otaseal("pki", "revoke", "alice", "--role", "device").succeeded()
    otaseal("pki", "revoke", "alice", "--role", "device").failed(1, "nothing is issued to the device 'alice'")
    otaseal("pki", "revoke", "alice").succeeded()


@pytest.mark.parametrize(
    "command", [("device", "x"), ("server", "x.local"), ("renew",), ("revoke", "main"), ("rotate",)]
)
def test_a_wrong_passphrase_changes_nothing(
    command: tuple[str, ...], store: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    monkeypatch.setenv("OTASEAL_PASSPHRASE", "wrong")
    otaseal("pki", *command).failed(1, "cannot be unlocked")
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    (tmp_path / "secret").write_bytes(PASSPHRASE + b"\n")
    otaseal("pki", *command, "--passphrase-file", "secret").succeeded()


def test_without_a_passphrase_what_needs_no_key_works(store: Path, tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    for command in (("list",), ("check",), ("export", "certs")):
        process("pki", *command, cwd=tmp_path, **environment).succeeded()
    process("pki", "device", "x", cwd=tmp_path, **environment).failed(2, "no terminal to ask for its passphrase")


def test_which_store_is_meant(store: Path, otaseal: Command, tmp_path: Path) -> None:
    otaseal("pki", "list", "--product", "lamp").failed(1, "no store of the product 'lamp'")
    otaseal("pki", "list", "--store", tmp_path).failed(1, "is not a complete store")
    Store.create(store.parent / "lamp", "lamp", NOW)
    failed = otaseal("pki", "list").failed(2, "there are 2 stores: blink, lamp")
    assert "--product blink" in failed.err
    (tmp_path / "platformio.ini").write_text(
        "custom_otaseal_signing_key = file:~/.config/otaseal/keys/lamp/signing.key\n"
    )
    assert otaseal("pki", "list", "--json").succeeded().json["product"] == "lamp"
    assert otaseal("pki", "list", "--product", "blink", "--json").succeeded().json["store"] == str(store)
    shutil.rmtree(store.parent)
    assert "otaseal init" in otaseal("pki", "list").failed(1, "there is no store in").err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("server", "a", "b", "--name", "c"), 2, "for 2 certificates"),
        (("server", "fd00::1"), 2, "fd00::1"),
        (("server", "x", "--name", "https://x"), 2, "neither an address nor a host name"),
        (("server", "main"), 1, "exists already"),
        (("server", "x", "--key", "ed25519"), 2, "ed25519"),
        (("device", "../x"), 2, "cannot be a holder's name"),
        (("renew", "nobody"), 1, "nothing is issued to 'nobody'"),
        (("check", "missing.pem"), 1, "is not a file"),
        (("check", "some/where"), 1, "is not a file"),
        (("check", "ftp://x"), 2, "names no server"),
        (("check", "--ca", "x"), 2, "nothing to check"),
        (("check", "garbage"), 1, "certificate"),
        (("check", "key.pem"), 1, "no certificate can be read"),
        (("list", "--store", "a", "--product", "b"), 2, "not allowed with"),
    ],
)
def test_refusals(
    arguments: tuple[str, ...], code: int, message: str, store: Path, otaseal: Command, tmp_path: Path
) -> None:
    (tmp_path / "garbage").write_bytes(b"\x30\x82garbage")
    shutil.copy(store / "issued/server/main/key.pem", tmp_path / "key.pem")
    before = {path for path in store.rglob("*") if path.name != ".lock"}
    otaseal("pki", *arguments).failed(code, message)
    assert {path for path in store.rglob("*") if path.name != ".lock"} == before
