"""Whom OpenSSL takes for the issuer of a certificate, before any signature is looked at.

Pure, and by its rules: ossl_x509_likely_issued, X509_check_akid and ossl_x509v3_cache_extensions in
crypto/x509/v3_purp.c, get0_best_issuer_sk in crypto/x509/x509_vfy.c (3.0 to 3.5 agree). Names are compared as folded
text, the authority key identifier with what the candidate has, and the kind of the candidate's key with the signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..certs.x509_names import folded
from .certificate import ECDSA, ED25519, PSS, RSA, Certificate

__all__ = ["best_issuer", "identifiers_match", "looks_self_signed", "names_match"]


def best_issuer(child: Certificate, candidates: Sequence[Certificate], now: datetime) -> Certificate | None:
    """Return the first of `candidates` that may have issued `child` and is valid, else the one that ended last."""
    found = [cert for cert in candidates if _likely(child, cert)]
    valid = next((cert for cert in found if cert.valid_at(now)), None)
    return valid or max(found, key=lambda cert: cert.fields.not_after, default=None)


def looks_self_signed(certificate: Certificate) -> bool:
    """Whether it could be its own issuer: such a one is trusted itself, or not at all."""
    return _likely(certificate, certificate)


def names_match(child: Certificate, issuer: Certificate) -> bool:
    """Whether the issuer that `child` names has the subject of `issuer`."""
    return folded(child.issuer) == folded(issuer.subject)


def identifiers_match(child: Certificate, issuer: Certificate) -> bool:
    """Whether nothing in the authority key identifier of `child` speaks against `issuer`."""
    wanted = child.authority_key
    if wanted is None:
        return True
    if wanted.key is not None and issuer.subject_key is not None and wanted.key != issuer.subject_key:
        return False
    if wanted.serial is not None and wanted.serial != issuer.fields.serial:
        return False
    return wanted.issuer is None or folded(wanted.issuer) == folded(issuer.issuer)


def _likely(child: Certificate, issuer: Certificate) -> bool:
    return names_match(child, issuer) and identifiers_match(child, issuer) and _key_fits(child, issuer)


def _key_fits(child: Certificate, issuer: Certificate) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    kinds = {RSA: rsa.RSAPublicKey, PSS: rsa.RSAPublicKey, ECDSA: ec.EllipticCurvePublicKey}
    kind = {**kinds, ED25519: ed25519.Ed25519PublicKey}.get(child.signature_kind)
    return kind is not None and isinstance(issuer.key, kind)
