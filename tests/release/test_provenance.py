"""Provenance: what we sign, securesystemslib verifies, and the other way round; and what nobody takes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError as PeersVerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from otaseal.errors import InputError, OtasealError, VerificationError
from otaseal.keys.public import fingerprint
from otaseal.release.provenance import Build, Builders, admit, check, sign, statement, verify
from support.images import Signer

BUILDER = "https://github.com/me/blink/.github/workflows/release.yml@refs/tags/v1.2.0"
BUILD = Build(BUILDER, {"product": "blink", "version": "1.2.0"}, "1" * 40, "2026-11-28T10:00:00Z", "https://run/1")
FILES = {"firmware.bin.signed": b"raw", "firmware.bin.gz.signed": b"gzip"}
SCHEME = "rsa-pkcs1v15-sha256"


@pytest.fixture
def envelope(rsa_key: rsa.RSAPrivateKey) -> bytes:
    return sign(statement(FILES, BUILD, {"sbom.json": "2" * 64}), Signer(rsa_key))


def peers_key(key: rsa.RSAPrivateKey) -> SSlibKey:
    return SSlibKey.from_crypto(key.public_key(), keyid=fingerprint(key.public_key()), scheme=SCHEME)


def test_securesystemslib_verifies_it(
    envelope: bytes, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    read = Envelope.from_dict(json.loads(envelope))
    assert list(read.verify([peers_key(rsa_key)], 1)) == [fingerprint(rsa_key.public_key())]
    with pytest.raises(PeersVerificationError):
        read.verify([peers_key(other_rsa_key)], 1)
    said = json.loads(read.payload)
    assert said["subject"][0] == {
        "name": "firmware.bin.signed",
        "digest": {"sha256": hashlib.sha256(b"raw").hexdigest()},
    }
    assert said["predicate"]["buildDefinition"]["resolvedDependencies"] == [
        {"name": "source", "digest": {"gitCommit": "1" * 40}},
        {"name": "sbom.json", "digest": {"sha256": "2" * 64}},
    ]


def test_what_securesystemslib_signs_is_taken(rsa_key: rsa.RSAPrivateKey) -> None:
    payload = json.dumps(statement(FILES, BUILD)).encode()
    made = Envelope(payload, "application/vnd.in-toto+json", {})
    made.sign(CryptoSigner(rsa_key, peers_key(rsa_key)))
    found = verify(json.dumps(made.to_dict()).encode(), [rsa_key.public_key()])
    check(found, FILES.values(), [BUILDER])
    assert (found.builder, found.commit, found.finished) == (BUILDER, "1" * 40, "2026-11-28T10:00:00Z")


@pytest.mark.parametrize(
    ("builders", "refused"),
    [
        ([], False),
        ([BUILDER], False),
        (["https://github.com/me/*"], False),
        (["https://github.com/you/*", "https://github.com/me/blink/*"], False),
        (["https://github.com/me"], True),
        (["https://github.com/me/other/*"], True),
        ([BUILDER.upper()], True),
    ],
)
def test_who_may_build(envelope: bytes, rsa_key: rsa.RSAPrivateKey, builders: list[str], refused: bool) -> None:
    found = verify(envelope, [rsa_key.public_key()])
    if not refused:
        check(found, FILES.values(), builders)
        return
    with pytest.raises(VerificationError, match="names the builder 'https://github"):
        check(found, FILES.values(), builders)


def test_it_is_of_these_files_only(envelope: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(VerificationError, match="is not of the file with the SHA-256"):
        check(verify(envelope, [rsa_key.public_key()]), [*FILES.values(), b"another"])


def test_an_envelope_of_another_tool_is_taken(envelope: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    """DSSE has the key id as a hint that may be missing, and either alphabet of base64."""
    value = json.loads(envelope)
    (signature,) = value["signatures"]
    url_safe = signature["sig"].translate(str.maketrans("+/", "-_"))
    found = verify(change(envelope, signatures=[{"sig": url_safe}]), [rsa_key.public_key()])
    assert found == verify(envelope, [rsa_key.public_key()])


def test_other_keys_do_not_count(envelope: bytes, other_rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(VerificationError, match="the provenance is signed by none of these keys"):
        verify(envelope, [other_rsa_key.public_key()])
    with pytest.raises(VerificationError, match="none of these keys: none"):
        verify(envelope, [])


def test_a_server_takes_what_its_policy_says(envelope: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    files, key = list(FILES.values()), rsa_key.public_key()
    admit(None, files, [key], Builders())
    admit(envelope, files, [key], Builders(required=True))
    admit(envelope, files, [], Builders(required=True, names=(BUILDER,), keys=(key,)))
    with pytest.raises(VerificationError, match="comes without provenance"):
        admit(None, files, [key], Builders(required=True))
    with pytest.raises(VerificationError, match="is not of the file"):
        admit(envelope, [b"another"], [key], Builders())


def change(envelope: bytes, **values: Any) -> bytes:
    return json.dumps({**json.loads(envelope), **values}).encode()


def resigned(value: object, key: rsa.RSAPrivateKey) -> bytes:
    return sign(value, Signer(key))  # type: ignore[arg-type]  # what is no statement, too


REFUSED: list[tuple[str, str, Callable[[bytes, rsa.RSAPrivateKey], bytes]]] = [
    ("not JSON", "the provenance is not JSON", lambda data, key: data[:-3]),
    ("a list", "is not a JSON object", lambda data, key: b"[]"),
    ("type", "is of type 'text/plain'", lambda data, key: change(data, payloadType="text/plain")),
    ("no type", "is of type 'None'", lambda data, key: change(data, payloadType=None)),
    ("no signature", "has no signature", lambda data, key: change(data, signatures=[])),
    ("many signatures", "has no signature", lambda data, key: change(data, signatures=[{"sig": ""}] * 17)),
    ("not base64", "not base64", lambda data, key: change(data, payload="***")),
    ("no text", "not base64", lambda data, key: change(data, signatures=[{"sig": 7}])),
    ("empty signature", "none of these keys", lambda data, key: change(data, signatures=[{"sig": ""}])),
    (
        "another payload",
        "none of these keys",
        lambda data, key: change(data, payload=base64.b64encode(b'{"_type": ""}').decode()),
    ),
    (
        "another predicate",
        "'https://x'",
        lambda data, key: resigned({**statement(FILES, BUILD), "predicateType": "https://x"}, key),
    ),
    (
        "no subject",
        "statement is damaged",
        lambda data, key: resigned({**statement(FILES, BUILD), "subject": None}, key),
    ),
    (
        "no predicate",
        "statement is damaged",
        lambda data, key: resigned({**statement(FILES, BUILD), "predicate": {}}, key),
    ),
    ("no statement", "statement is damaged", lambda data, key: resigned([1], key)),
]


@pytest.mark.parametrize(("message", "make"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_no_provenance(
    envelope: bytes,
    rsa_key: rsa.RSAPrivateKey,
    message: str,
    make: Callable[[bytes, rsa.RSAPrivateKey], bytes],
) -> None:
    with pytest.raises((InputError, VerificationError), match=message) as refused:
        verify(make(envelope, rsa_key), [rsa_key.public_key()])
    assert isinstance(refused.value, OtasealError)
    assert refused.value.hint
