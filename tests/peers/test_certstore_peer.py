"""Our verdict on an archive against that of the device's own X.509 code, in `certstore.c`."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otaseal.certs import ar, certstore
from otaseal.certs.pem import Source
from support import cas
from support.cas import NOW
from support.certstore_cases import CASES, DAY, NAME, OTHER, P256, P384, P521, RSA, device, ours, raw


@pytest.mark.parametrize("case", CASES)
def test_our_verdict_is_the_devices(case: str, tmp_path: Path) -> None:
    make, codes, verdicts, chain = CASES[case]
    data = make()
    report = certstore.check(data, NOW)
    judged = device(tmp_path, data, (cas.leaf(),))
    assert {finding.code for finding in report.findings} == codes
    assert judged.verdicts == verdicts
    assert len(ar.device_view(data).indexed) == len(verdicts)
    if chain is not None:
        assert judged.chain == chain
    if not report.errors:
        assert set(judged.verdicts) == {"anchor"}
        assert len(report.anchors) == len(set(judged.first))


def test_the_table_is_large_enough_to_mean_something() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("kind", [RSA, P256, P384, P521])
def test_a_packed_ca_of_each_kind_validates_its_server(kind: str, tmp_path: Path) -> None:
    data = ours(cas.root(OTHER), cas.root(kind=kind))
    assert device(tmp_path, data, (cas.leaf(kind=kind),)).chain == "ok"
    impostor = cas.leaf(kind=kind, index=1)
    assert device(tmp_path, data, (impostor,)).chain == "error 62"
    assert device(tmp_path, ours(cas.root(OTHER)), (cas.leaf(kind=kind),)).chain == "error 62"


def test_a_chain_with_an_intermediate_ends_at_the_packed_root(tmp_path: Path) -> None:
    middle, key = "Intermediate of Blinking Things CA", cas.key(P256, 5)
    intermediate = cas.issue(middle, key.public_key(), (NAME, cas.key(P256)))
    server = cas.leaf(middle, index=5)
    assert device(tmp_path, ours(cas.root()), (server, intermediate)).chain == "ok"
    assert device(tmp_path, ours(cas.root(index=1)), (server, intermediate)).chain == "error 62"
    assert device(tmp_path, raw(cas.root() + b"\n"), (server, intermediate)).chain == "crash 0"


def test_the_shorter_of_a_renewed_pair_is_not_missed(tmp_path: Path) -> None:
    renewed = cas.root(valid=(NOW - DAY, NOW + 9000 * DAY))
    data = ours(cas.root(), renewed)
    assert ar.device_view(data).indexed[0].data == renewed
    assert device(tmp_path, data, (cas.leaf(),)).chain == "ok"


@pytest.mark.parametrize("bad", ["ed25519", "secp256k1", "short dn"])
def test_any_server_that_names_a_bad_anchor_takes_the_device_down(bad: str, tmp_path: Path) -> None:
    """It needs no key of that CA: the lookup comes before the signature."""
    subject = "ca" if bad == "short dn" else NAME
    assert device(tmp_path, CASES[bad][0](), (cas.leaf(subject),)).chain == "crash 0"


def test_a_certificate_that_is_no_ca_is_good_for_itself_only(tmp_path: Path) -> None:
    own = cas.root(extensions=())
    assert device(tmp_path, raw(own), (own,)).chain == "ok"
    assert device(tmp_path, raw(own), (cas.leaf(),)).chain == "error 62"
    assert {finding.code for finding in certstore.check(raw(own), NOW).errors} == {"not-ca"}


def key_hash(der: bytes) -> str:
    """Return what `certstore.c` prints for a key: SHA-256 over the modulus, or over the point."""
    key: Any = x509.load_der_x509_certificate(der).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        form = serialization.PublicFormat.UncompressedPoint
        return hashlib.sha256(key.public_bytes(serialization.Encoding.X962, form)).hexdigest()
    modulus = key.public_numbers().n
    return hashlib.sha256(modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")).hexdigest()


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_mozillas_bundle_each_subject_leads_to_its_own_key(tmp_path: Path) -> None:
    bundle = Source("cacert.pem", Path(certifi.where()).read_bytes())
    packed = certstore.pack([bundle], datetime(2026, 1, 1, tzinfo=timezone.utc))
    judged = device(tmp_path, packed.archive)
    assert set(judged.verdicts) == {"anchor"}
    assert judged.first == list(range(len(packed.anchors)))
    assert judged.keys == [key_hash(anchor.der) for anchor in packed.anchors]
    assert len(packed.anchors) > 100


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_passes_our_check_never_fails_on_the_device(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(cas.root() if data.draw(st.booleans()) else cas.root(kind=RSA))
    for _ in range(data.draw(st.integers(1, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    mutated = raw(bytes(whole))
    judged = device(tmp_path, mutated)
    if not certstore.check(mutated, NOW).errors:
        assert judged.verdicts == ["anchor"]
