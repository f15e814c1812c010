"""The path that each stack builds from the certificates that it is sent to one that it trusts.

Pure. A path is built from what each stack takes for an issuer and nothing else, so that every other fault on it can be
named by a rule. The stacks differ: BearSSL takes the certificates strictly in the order sent, mbedTLS looks only
further down the list, and both go by name and signature. OpenSSL (Python, curl) looks anywhere, for names that are the
same as folded text, identifiers that do not contradict and a key of the signature's kind: ossl_x509_likely_issued and
X509_check_akid in crypto/x509/v3_purp.c, get0_best_issuer_sk in crypto/x509/x509_vfy.c (3.0 to 3.5 agree). The root
never has to be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from ..certs.x509_names import folded, mbedtls_form
from ..errors import InputError
from .certificate import ECDSA, ED25519, PSS, RSA, Certificate


class Stack(Enum):
    """Who verifies: the device, or what people have beside it."""

    BEARSSL = "bearssl"  # the ESP8266, by BearSSL's minimal engine
    MBEDTLS = "mbedtls"  # the ESP32, by mbedTLS 2.28 and its defaults
    OPENSSL = "openssl"  # Python 3.13's default context: strict, partial chains, security level 2
    CURL = "curl"  # curl on OpenSSL: not strict, security level 2


@dataclass(frozen=True)
class Path:
    """What a stack verifies: the certificates sent, leaf first, and the anchor above the last (None: no trust).

    `direct`: the leaf itself is the anchor. `gap` says where the search ended when there is no anchor.
    """

    sent: tuple[Certificate, ...]
    anchor: Certificate | None
    direct: bool = False
    gap: str = ""

    @property
    def leaf(self) -> Certificate:
        """The server's own certificate."""
        return self.sent[0]

    @property
    def all(self) -> tuple[Certificate, ...]:
        """Leaf, intermediates and anchor."""
        return self.sent if self.anchor is None or self.direct else (*self.sent, self.anchor)


def build_path(stack: Stack, chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """Return the path of `stack` from `chain` (as sent, leaf first) to an anchor; raises InputError if it is empty."""
    if not chain:
        raise InputError("a chain without a certificate", "the server's own certificate comes first")
    return _BUILDERS[stack](chain, anchors, now)


def _build_in_order(chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """BearSSL: each certificate has to issue the one before it, until an anchor issues the last."""
    leaf = chain[0]
    for anchor in anchors:
        if not anchor.is_ca and anchor.subject == leaf.subject and anchor.key == leaf.key:
            return Path((leaf,), anchor, direct=True)
    for index, cert in enumerate(chain):
        if index and not _issued(chain[index - 1], cert):
            gap = f"number {index + 1} of the chain, '{cert.title}', does not issue the one before it"
            return Path(tuple(chain[:index]), None, gap=gap)
        for anchor in anchors:
            if _issued(cert, anchor):
                return Path(tuple(chain[: index + 1]), anchor)
    return Path(tuple(chain), None, gap=_no_issuer(chain[-1]))


def _issued(child: Certificate, issuer: Certificate) -> bool:
    return child.issuer == issuer.subject and child.signed_by(issuer)


def _build_downwards(chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """mbedTLS: the issuer is an anchor, or stands somewhere behind its child (x509_crt_find_parent_in)."""
    leaf = chain[0]
    if leaf.self_issued and leaf in anchors:
        return Path((leaf,), leaf, direct=True)
    path = [leaf]
    while True:
        child = path[-1]
        anchor = _first_valid([cert for cert in _named(child, anchors) if child.signed_by(cert)], now)
        if anchor is not None:
            return Path(tuple(path), anchor)
        behind = [] if child.self_issued else _named(child, chain[chain.index(child) + 1 :])
        # Of what was sent it takes one that may issue, whether it signed or not; without one, a rule says why.
        issuer = _first_valid([cert for cert in behind if cert.may_issue] or behind, now)
        if issuer is None:
            return Path(tuple(path), None, gap=_no_issuer(child))
        path.append(issuer)


def _named(child: Certificate, candidates: Sequence[Certificate]) -> list[Certificate]:
    wanted = mbedtls_form(child.issuer)
    return [cert for cert in candidates if mbedtls_form(cert.subject) == wanted]


def _first_valid(candidates: Sequence[Certificate], now: datetime) -> Certificate | None:
    return next((cert for cert in candidates if cert.valid_at(now)), candidates[0] if candidates else None)


def _build_by_rules(chain: Sequence[Certificate], anchors: Sequence[Certificate], now: datetime) -> Path:
    """OpenSSL, trusted first and with partial chains: an anchor as soon as there is one, else whatever was sent.

    What looks self-signed has no issuer but itself. There is no way back from a candidate that turns out not to have
    signed (build_chain in crypto/x509/x509_vfy.c).
    """
    path, left = [chain[0]], list(chain[1:])
    while True:
        child, alone = path[-1], looks_self_signed(path[-1])
        anchor = _best_issuer(child, anchors, now)
        if anchor is not None and not alone:
            return Path(tuple(path), anchor)
        if anchor == child:
            return Path(tuple(path[:-1]) or (child,), anchor, direct=len(path) == 1)
        issuer = None if alone else _best_issuer(child, [cert for cert in left if cert not in path], now)
        if issuer is None:
            break
        left.remove(issuer)
        path.append(issuer)
    if chain[0] in anchors:
        return Path(tuple(path), chain[0], direct=True)
    return Path(tuple(path), None, gap=_no_issuer(path[-1]))


def _best_issuer(child: Certificate, candidates: Sequence[Certificate], now: datetime) -> Certificate | None:
    """Return the first of `candidates` that may have issued `child` and is valid, else the one that ended last."""
    likely = [cert for cert in candidates if _likely(child, cert)]
    valid = next((cert for cert in likely if cert.valid_at(now)), None)
    return valid or max(likely, key=lambda cert: cert.fields.not_after, default=None)


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
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    kinds = {RSA: rsa.RSAPublicKey, PSS: rsa.RSAPublicKey, ECDSA: ec.EllipticCurvePublicKey}
    kind = {**kinds, ED25519: ed25519.Ed25519PublicKey}.get(child.signature_kind)
    fits = kind is not None and isinstance(issuer.key, kind)
    return fits and names_match(child, issuer) and identifiers_match(child, issuer)


def _no_issuer(certificate: Certificate) -> str:
    return f"nothing sent or trusted issues '{certificate.title}', which '{certificate.issuer_title}' signed"


_BUILDERS: dict[Stack, Callable[[Sequence[Certificate], Sequence[Certificate], datetime], Path]] = {
    Stack.BEARSSL: _build_in_order,
    Stack.MBEDTLS: _build_downwards,
    Stack.OPENSSL: _build_by_rules,
    Stack.CURL: _build_by_rules,
}
