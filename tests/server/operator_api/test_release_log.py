"""The log of a product's releases at a real server: what `deploy` enters, and what an auditor finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.keys import signers
from otaseal.release import release_log
from otaseal.release.channels import Channel, Pointer
from otaseal.store.check import check
from otaseal.store.documents import channel_name
from otaseal.store.store import Store, remove_release
from support.command import Result, process
from support.images import Signer
from support.servers import Running


class Publisher:
    """A folder with the product's keys and images, and the commands that are run in it."""

    def __init__(self, server: Running, folder: Path, key: rsa.RSAPrivateKey) -> None:
        self.server, self.folder = server, folder
        signers.write_key_pair(folder / "signing.key", key, None)
        self.environment = {"OTASEAL_SERVER": server.url, "OTASEAL_SERVER_CA": str(server.world.ca)}
        self.environment |= {"OTASEAL_TOKEN": server.token, "OTASEAL_PRODUCT": "blink"}

    def run(self, *arguments: str) -> Result:
        return process(*arguments, cwd=self.folder, **self.environment)

    def deploy(self, number: int, *arguments: str) -> Result:
        (self.folder / f"{number}.signed").write_bytes(self.server.world.firmware(number).signed)
        return self.run("deploy", f"{number}.signed", "--version", f"{number}.0", "--no-rehearse", *arguments)

    def verify(self, *arguments: str) -> Result:
        return self.run("log", "verify", "--key", "signing.pub", *arguments)


@pytest.fixture
def publisher(server: Running, tmp_path: Path) -> Publisher:
    (folder := tmp_path / "project").mkdir()
    return Publisher(server, folder, server.world.key)


def test_what_is_published_is_in_the_log(publisher: Publisher) -> None:
    logged = ("--log-key", "signing.key")
    publisher.deploy(1).succeeded()
    assert "the log is whole: 0 releases" in publisher.verify().succeeded().out
    publisher.deploy(2, *logged).succeeded()
    publisher.deploy(2, *logged).succeeded()  # as a repeated CI run does
    publisher.deploy(3).failed(1, "the log of 'blink' has 1 releases, and this one comes without an entry")
    publisher.deploy(3, *logged).succeeded()
    listed = publisher.run("log", "list").succeeded().out.splitlines()
    assert [line.split("  ")[:2] for line in listed] == [["1", "2.0"], ["2", "3.0"]]
    found = publisher.verify("--seen", "head", "--image", "2.signed").succeeded().out
    assert "the log is whole: 2 releases" in found
    assert "'2.signed' is of blink 2.0, entry 1" in found
    assert "from before the log: 1.0" in found
    publisher.verify("--image", "1.signed").failed(1, "'1.signed' is no file of a release in the log")
    publisher.verify("--seen", "head").succeeded()
    assert check(Store.open(publisher.server.store)).whole


def test_an_auditor_without_the_server(publisher: Publisher, other_rsa_key: rsa.RSAPrivateKey) -> None:
    publisher.deploy(1, "--log-key", "signing.key").succeeded()
    (publisher.folder / "log.json").write_text(publisher.run("log", "list", "--json").succeeded().out)
    publisher.environment = {}
    assert "is of blink 1.0, entry 1" in publisher.verify("log.json", "--image", "1.signed").succeeded().out
    signers.write_key_pair(publisher.folder / "other.key", other_rsa_key, None)
    publisher.run("log", "verify", "log.json", "--key", "other.pub").failed(
        1, "entry 1 of the log is signed by none of these keys"
    )
    publisher.verify("signing.pub").failed(1, "'signing.pub' is no log")
    head = publisher.folder / "head"
    publisher.verify("log.json", "--seen", "head").succeeded()
    seen = json.loads(head.read_text())
    for damaged in ("[" * 100_000, json.dumps(seen | {"number": True}), json.dumps(seen | {"number": "1"})):
        head.write_text(damaged)
        publisher.verify("log.json", "--seen", "head").failed(1, "'head' does not say where a log ended")
    head.write_text(json.dumps(seen | {"format": 2}))
    publisher.verify("log.json", "--seen", "head").failed(1, "'head' was made by a newer otaseal")


def test_what_is_taken_out_is_seen(publisher: Publisher) -> None:
    for number in (1, 2):
        publisher.deploy(number, "--log-key", "signing.key").succeeded()
    publisher.verify("--seen", "head").succeeded()
    publisher.server.stop()
    store = Store.open(publisher.server.store)
    log = publisher.server.store / "products/blink/log"
    last = (log / "00000002.json").read_bytes()
    (log / "00000002.json").unlink()
    (publisher.folder / "cut.json").write_text(json.dumps({"entries": [store.log_entry("blink", 1).decode()]}))
    publisher.verify("cut.json").succeeded()
    refused = publisher.verify("cut.json", "--seen", "head").failed(1, "the log had an entry 2")
    assert "taken out" in refused.err
    (log / "00000001.json").write_bytes(last)
    assert "entry 1 of the log of 'blink' does not follow the one before" in check(store).problems


def test_a_removed_release_stays_in_the_log(publisher: Publisher) -> None:
    for number in (1, 2):
        publisher.deploy(number, "--log-key", "signing.key").succeeded()
    with Store.open(publisher.server.store).documents.change() as change:
        change.append({"event": "prune", "product": "blink", "version": "1.0", "by": ""})
        remove_release(change, "blink", "1.0")
    assert "no longer on the server: 1.0" in publisher.verify().succeeded().out


def test_a_deleted_version_is_not_used_again_for_other_files(publisher: Publisher) -> None:
    logged = ("--log-key", "signing.key")
    for number in (1, 2):
        publisher.deploy(number, *logged).succeeded()
    store = Store.open(publisher.server.store)
    with store.documents.change() as change:
        change.append({"event": "prune", "product": "blink", "version": "1.0", "by": ""})
        change.replace(channel_name("blink", "stable"), Channel(Pointer("2.0"), generation=3).to_json())
        remove_release(change, "blink", "1.0")
    (publisher.folder / "3.signed").write_bytes(publisher.server.world.firmware(3).signed)
    again = ("deploy", "3.signed", "--version", "1.0", "--allow-downgrade", "--no-rehearse", *logged)
    publisher.run(*again).failed(1, "entry 1 of the log of 'blink' has other files for '1.0'")
    assert store.log("blink") == 2
    publisher.verify().succeeded()


def test_the_log_of_another_product_is_none_of_this_one(publisher: Publisher) -> None:
    publisher.deploy(1, "--log-key", "signing.key").succeeded()
    other = replace(release_log.parse(Store.open(publisher.server.store).log_entry("blink", 1)), product="blonk")
    entry = publisher.server.store / "products/blink/log/00000001.json"
    entry.write_bytes(release_log.sign(other, Signer(publisher.server.world.key)))
    publisher.verify().failed(1, "entry 1 of the log of 'blink' is of 'blonk'")
