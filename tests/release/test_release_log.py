"""The log of releases: a chain that holds, and every way in which one does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from otaseal.errors import ConflictError, InputError, LaterFormatError, VerificationError
from otaseal.keys.public import fingerprint
from otaseal.release import dsse
from otaseal.release.release_log import FORMAT, PAYLOAD_TYPE, Entry, Head, admit, head_of, parse, sign, verify
from support.images import Signer
from support.releases import make_release

RELEASES = [make_release(f"1.{number}.0", b"image %d" % number) for number in range(3)]
SBOM = {"sbom": b"{}"}


@pytest.fixture
def chain(rsa_key: rsa.RSAPrivateKey) -> list[bytes]:
    head, entries = Head(), list[bytes]()
    for release in RELEASES:
        entries.append(sign(Entry.of(release, SBOM, head), Signer(rsa_key)))
        head = head_of(len(entries), entries[-1])
    return entries


def test_a_whole_chain(chain: list[bytes], rsa_key: rsa.RSAPrivateKey) -> None:
    found = list(verify(chain, [rsa_key.public_key()]))
    assert [entry.version for entry, _ in found] == ["1.0.0", "1.1.0", "1.2.0"]
    assert all(entry.is_of(release, SBOM) for (entry, _), release in zip(found, RELEASES, strict=True))
    assert not found[0][0].is_of(RELEASES[0], {"sbom": b"{ }"})
    assert found[-1][1] == head_of(3, chain[-1])
    assert list(verify([], [])) == []


def test_securesystemslib_verifies_entries(chain: list[bytes], rsa_key: rsa.RSAPrivateKey) -> None:
    name = fingerprint(rsa_key.public_key())
    key = SSlibKey.from_crypto(rsa_key.public_key(), keyid=name, scheme="rsa-pkcs1v15-sha256")
    assert list(Envelope.from_dict(json.loads(chain[0])).verify([key], 1)) == [name]


@pytest.mark.parametrize("order", [[1, 2], [0, 2], [0, 1, 1], [1, 0, 2], [0, 0, 1, 2]])
def test_no_entry_is_left_out_or_moved(chain: list[bytes], rsa_key: rsa.RSAPrivateKey, order: list[int]) -> None:
    with pytest.raises(VerificationError, match="does not follow the one before"):
        list(verify([chain[index] for index in order], [rsa_key.public_key()]))


def test_the_end_alone_can_be_cut_off(chain: list[bytes], rsa_key: rsa.RSAPrivateKey) -> None:
    """Which is what `--seen` is for: a shorter log is whole, and does not lead to the head that was seen."""
    heads = [head for _, head in verify(chain[:2], [rsa_key.public_key()])]
    assert head_of(3, chain[2]) not in heads


def test_each_is_signed_by_a_known_key(
    chain: list[bytes], rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    stranger = sign(replace(parse(chain[2]), created="2020-01-01T00:00:00Z"), Signer(other_rsa_key))
    with pytest.raises(VerificationError, match=r"entry 3 of the log is signed by none of these keys"):
        list(verify([*chain[:2], stranger], [rsa_key.public_key()]))
    assert len(list(verify([*chain[:2], stranger], [rsa_key.public_key(), other_rsa_key.public_key()]))) == 3


def test_a_version_has_the_same_files_for_ever(chain: list[bytes], rsa_key: rsa.RSAPrivateKey) -> None:
    head = head_of(3, chain[2])
    again = sign(Entry.of(RELEASES[0], {}, head), Signer(rsa_key))
    assert len(list(verify([*chain, again], [rsa_key.public_key()]))) == 4, "published once more"
    changed = sign(Entry.of(make_release("1.0.0", b"another"), {}, head), Signer(rsa_key))
    with pytest.raises(VerificationError, match=r"entry 4 of the log has other files for '1\.0\.0'"):
        list(verify([*chain, changed], [rsa_key.public_key()]))


def test_what_a_server_takes(chain: list[bytes], rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    release, keys = RELEASES[1], [rsa_key.public_key()]
    first = head_of(1, chain[0])
    admit(release, {**SBOM, "log": chain[1]}, first, keys)
    admit(release, {}, Head(), keys)
    with pytest.raises(VerificationError, match="the log of 'blink' has 1 releases, and this one comes without"):
        admit(release, {}, first, keys)
    with pytest.raises(ConflictError, match="has the number 2, and the log of 'blink' ends with 2"):
        admit(release, {**SBOM, "log": chain[1]}, head_of(2, chain[1]), keys)
    with pytest.raises(VerificationError, match="not of this release with its attachments"):
        admit(release, {"log": chain[1]}, first, keys)
    with pytest.raises(VerificationError, match="not of this release with its attachments"):
        admit(RELEASES[2], {**SBOM, "log": chain[1]}, first, keys)
    with pytest.raises(VerificationError, match="is signed by none of these keys"):
        admit(release, {**SBOM, "log": chain[1]}, first, [other_rsa_key.public_key()])


@pytest.mark.parametrize(
    "change",
    [
        {"number": "1"},
        {"number": True},
        {"files": "abc"},
        {"files": [1]},
        {"attached": []},
        {"version": 1},
        {"format": "x"},
    ],
)
def test_damage(chain: list[bytes], rsa_key: rsa.RSAPrivateKey, change: dict[str, Any]) -> None:
    said = json.loads(dsse.payload_of(chain[0], PAYLOAD_TYPE, "it"))
    if change == {"format": "x"}:
        del said["files"]
    else:
        said |= change
    with pytest.raises(InputError, match="is damaged"):
        parse(dsse.seal(said, PAYLOAD_TYPE, Signer(rsa_key)))


def test_a_later_format(chain: list[bytes], rsa_key: rsa.RSAPrivateKey) -> None:
    said = json.loads(dsse.payload_of(chain[0], PAYLOAD_TYPE, "it"))
    with pytest.raises(LaterFormatError):
        parse(dsse.seal({**said, "format": FORMAT + 1}, PAYLOAD_TYPE, Signer(rsa_key)))
