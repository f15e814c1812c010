"""The rules by which the stacks refuse a chain, as a table: id, fact, who refuses, what to do.

Each row was found in the stack's own source or by asking it (tests/pki asks all of them about every row of a matrix).
What is dangerous or costly without being refused is in `advice`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ..certs.x509_extensions import ANY_USE, SERVER_AUTH
from .certificate import PSS, Certificate
from .chain import Path, Stack, identifiers_match, looks_self_signed, names_match
from .matching import breaks_name_constraints, matches

_STRICT = (Stack.OPENSSL,)
_OPENSSL = (Stack.OPENSSL, Stack.CURL)
_NOT_BEARSSL = (Stack.MBEDTLS, *_OPENSSL)
_ALL = (Stack.BEARSSL, *_NOT_BEARSSL)

# Extensions that may be critical. BearSSL: src/x509/x509_minimal.t0; mbedTLS 2.28: x509_get_crt_ext; OpenSSL
# 3: X509_supported_extension. Object identifiers, because a stack compares those.
_BASIC = {"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.32"}  # key usage, SAN, basic constraints, policies
_BEARSSL_CRITICAL = _BASIC | {
    *("2.5.29.9", "2.5.29.14", "2.5.29.18", "2.5.29.31", "2.5.29.35", "2.5.29.46"),
    *("1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.11"),
}
_MBEDTLS_CRITICAL = _BASIC | {"2.5.29.37", "2.16.840.1.113730.1.1"}
_OPENSSL_CRITICAL = _BASIC | {
    *("2.5.29.28", "2.5.29.30", "2.5.29.31", "2.5.29.33", "2.5.29.36", "2.5.29.37", "2.5.29.54"),
    *("2.16.840.1.113730.1.1", "1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8", "1.3.6.1.5.5.7.1.14"),
}
_POLICIES, _ANY_POLICY, _CPS = "2.5.29.32", "2.5.29.32.0", "1.3.6.1.5.5.7.2.1"
_TITLES = {
    **{"2.5.29.14": "subjectKeyIdentifier", "2.5.29.15": "keyUsage", "2.5.29.17": "subjectAltName"},
    **{"2.5.29.19": "basicConstraints", "2.5.29.30": "nameConstraints", "2.5.29.31": "cRLDistributionPoints"},
    **{"2.5.29.32": "certificatePolicies", "2.5.29.35": "authorityKeyIdentifier", "2.5.29.36": "policyConstraints"},
    **{"2.5.29.37": "extendedKeyUsage", "2.5.29.54": "inhibitAnyPolicy", "1.3.6.1.5.5.7.1.1": "authorityInfoAccess"},
}
_MAY_BE_CRITICAL = {
    Stack.BEARSSL: _BEARSSL_CRITICAL,
    Stack.MBEDTLS: _MBEDTLS_CRITICAL,
    Stack.OPENSSL: _OPENSSL_CRITICAL,
    Stack.CURL: _OPENSSL_CRITICAL,
}


@dataclass(frozen=True)
class Case:
    """One stack's question: is this path good for `name` at `now`? `loaded`: all that the stack had to parse."""

    stack: Stack
    path: Path
    name: str
    now: datetime
    loaded: tuple[Certificate, ...]

    @property
    def inspected(self) -> tuple[Certificate, ...]:
        """The certificates whose contents are checked: to BearSSL an anchor is only a name and a key (F20)."""
        return self.path.sent if self.stack is Stack.BEARSSL else self.path.all

    @property
    def issuers(self) -> tuple[Certificate, ...]:
        """The inspected certificates that issue another one."""
        return self.inspected[1:]

    @property
    def verified(self) -> tuple[Certificate, ...]:
        """The certificates whose signatures are verified: none where the leaf itself is trusted."""
        return () if self.path.direct else self.path.sent


@dataclass(frozen=True)
class Rule:
    """A reason to refuse: `find` yields what is wrong, of which the first is reported; `stacks` are those that care."""

    id: str
    fact: str
    stacks: tuple[Stack, ...]
    find: Callable[[Case], Iterator[str]]
    hint: str


def key_name(certificate: Certificate) -> tuple[str, int]:
    """Return the kind of key and its size in bits: ("RSA", 2048), ("P", 256), ("Ed25519", 256), ("unknown", 0)."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key = certificate.key
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = {"secp256r1", "secp384r1", "secp521r1"}
        return ("P" if key.curve.name in known else key.curve.name), key.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519", 256
    return "unknown", 0


def _untrusted(case: Case) -> Iterator[str]:
    if case.path.anchor is None and not any((*_looks_self_signed(case), *_identified_otherwise(case))):
        yield case.path.gap


def _looks_self_signed(case: Case) -> Iterator[str]:
    """OpenSSL: it has its issuer's name, and no identifier says that its issuer's key is not its own."""
    last = case.path.sent[-1]
    if case.stack not in _OPENSSL or case.path.anchor is not None or not looks_self_signed(last):
        return
    if not last.signed_by(last):
        reason = "nothing tells them apart: OpenSSL takes it for self-signed"
        yield f"'{last.title}' has the name of its issuer, and {reason}"


def _identified_otherwise(case: Case) -> Iterator[str]:
    """OpenSSL: the issuer is there, and the authority key identifier speaks against it."""
    last = case.path.sent[-1]
    if case.stack not in _OPENSSL or case.path.anchor is not None:
        return
    for cert in case.loaded:
        if cert != last and names_match(last, cert) and not identifiers_match(last, cert) and last.signed_by(cert):
            yield f"the authority key identifier of '{last.title}' is not that of '{cert.title}', which signed it"


def _not_signed(case: Case) -> Iterator[str]:
    """OpenSSL chooses an issuer by name and identifiers, mbedTLS by name, and neither tries another one afterwards."""
    for child, issuer in pairwise(case.path.all):
        if not child.signed_by(issuer):
            yield f"'{issuer.title}' has the name of the issuer of '{child.title}', and did not sign it"


def _wrong_name(case: Case) -> Iterator[str]:
    if not matches(case.stack, case.path.leaf, case.name):
        yield f"'{case.path.leaf.title}' is not for '{case.name}'"


def _expired(case: Case) -> Iterator[str]:
    for cert in case.inspected:
        if case.now > cert.fields.not_after:
            yield f"'{cert.title}' expired on {cert.fields.not_after:%Y-%m-%d}"


def _not_yet_valid(case: Case) -> Iterator[str]:
    for cert in case.inspected:
        if case.now < cert.fields.not_before:
            yield f"'{cert.title}' is valid only from {cert.fields.not_before:%Y-%m-%d %H:%M} UTC"


def _not_a_ca(case: Case) -> Iterator[str]:
    for cert in case.path.all[1:]:
        if not _may_issue(case, cert):
            yield f"'{cert.title}' issues, and is not a CA"


def _may_issue(case: Case, issuer: Certificate) -> bool:
    trusted = issuer is case.path.anchor
    if case.stack is Stack.MBEDTLS and trusted and not issuer.is_version_3:
        return True
    if case.stack is Stack.CURL and trusted and issuer.constraints is None:
        if issuer.usage is not None:
            return "keyCertSign" in issuer.usage
        return not issuer.is_version_3 and issuer.self_issued
    return issuer.is_ca


def _may_not_sign(case: Case) -> Iterator[str]:
    for cert in case.issuers:
        if cert.usage is not None and "keyCertSign" not in cert.usage:
            yield f"'{cert.title}' issues, and its key usage lacks keyCertSign"


def _too_long(case: Case) -> Iterator[str]:
    for index, cert in enumerate(case.issuers, 1):
        below = sum(not lower.self_issued for lower in case.path.sent[1:index])
        if case.stack is Stack.BEARSSL:
            below = index - 1
        most = None if cert.constraints is None else cert.constraints.path_length
        if most is not None and most < below:
            yield f"'{cert.title}' allows {most} intermediates below it, and there are {below}"


def _critical(case: Case) -> Iterator[str]:
    for cert in case.loaded if case.stack is Stack.MBEDTLS else case.inspected:
        for extension in cert.extensions:
            known = extension.oid in _MAY_BE_CRITICAL[case.stack]
            if extension.critical and not (known and _understood(case.stack, cert, extension.oid)):
                title = _TITLES.get(extension.oid, extension.oid)
                yield f"'{cert.title}' has a critical extension that is not understood, {title}"


def _understood(stack: Stack, cert: Certificate, oid: str) -> bool:
    """Policies depend on what they say: mbedTLS knows anyPolicy alone, BearSSL no qualifier but a pointer to a CPS."""
    if oid != _POLICIES or cert.policies is None:
        return True
    if stack is Stack.MBEDTLS:
        return all(policy == _ANY_POLICY for policy, _ in cert.policies)
    return stack is not Stack.BEARSSL or all(kind == _CPS for _, kinds in cert.policies for kind in kinds)


def _constrained(case: Case) -> Iterator[str]:
    for cert in case.issuers:
        constraints = cert.name_constraints
        wrong = breaks_name_constraints(case.path.leaf, constraints) if constraints else None
        if wrong is not None:
            yield f"'{cert.title}' may not issue for '{wrong}', by its name constraints"


def _no_key_identifiers(case: Case) -> Iterator[str]:
    last = case.inspected[-1]
    for cert in case.inspected:
        if not cert.is_version_3:
            continue  # it cannot have any, and is let through
        if cert is not last and (cert.authority_key is None or cert.authority_key.key is None):
            yield f"'{cert.title}' has no authority key identifier"  # issuer and serial number do not do
        if cert.is_ca and cert.subject_key is None:
            yield f"'{cert.title}' has no subject key identifier"


def _against_profile(case: Case) -> Iterator[str]:
    for cert in case.inspected:
        critical = {extension.oid for extension in cert.extensions if extension.critical}
        if cert.is_ca and "2.5.29.19" not in critical:
            yield f"'{cert.title}' is a CA, and its basic constraints are not critical"
        if cert.is_ca and cert.usage is None:
            yield f"'{cert.title}' is a CA without a key usage"
        if not cert.is_ca and cert.usage is not None and "keyCertSign" in cert.usage:
            yield f"'{cert.title}' is not a CA, and its key usage has keyCertSign"
        if critical & {"2.5.29.14", "2.5.29.35"}:
            yield f"'{cert.title}' has a key identifier that is critical"


def _leaf_cannot_sign(case: Case) -> Iterator[str]:
    usage = case.path.leaf.usage
    if usage is None or "digitalSignature" in usage:
        return
    # By TLS 1.3 OpenSSL takes these; in TLS 1.2 the server itself offers no such certificate.
    if case.stack not in _OPENSSL or not usage & {"keyEncipherment", "keyAgreement"}:
        yield f"the key usage of '{case.path.leaf.title}' lacks digitalSignature"


def _not_for_servers(case: Case) -> Iterator[str]:
    wanted = {SERVER_AUTH, ANY_USE} if case.stack is Stack.MBEDTLS else {SERVER_AUTH}
    for cert in case.inspected[:1] if case.stack is Stack.MBEDTLS else case.inspected:
        if cert.uses is not None and not wanted & cert.uses:
            yield f"the extended key usage of '{cert.title}' has no serverAuth"


def _unusable_key(case: Case) -> Iterator[str]:
    for cert in case.path.all:
        kind, bits = key_name(cert)
        if not _key_usable(case.stack, kind, bits, anchor=cert is case.path.anchor and not case.path.direct):
            yield f"'{cert.title}' has a key of a kind or size that is refused: {kind} {bits}"


def _key_usable(stack: Stack, kind: str, bits: int, *, anchor: bool) -> bool:
    if stack is Stack.BEARSSL:
        return kind == "P" or (kind == "RSA" and bits <= 4096 and (bits >= 1017 or anchor))
    if kind == "RSA":
        return 2048 <= bits <= (8192 if stack is Stack.MBEDTLS else 16384)
    return kind == "P" or (kind == "Ed25519" and stack is not Stack.MBEDTLS)


def _weak_signature(case: Case) -> Iterator[str]:
    weak = {"md5"} if case.stack is Stack.BEARSSL else {"md5", "sha1"}
    for cert in case.verified:
        if cert.hash_name in weak:
            yield f"'{cert.title}' is signed over {cert.hash_name.upper()}"


def _unknown_padding(case: Case) -> Iterator[str]:
    for cert in case.verified:
        if cert.signature_kind == PSS:
            yield f"'{cert.title}' is signed with RSA-PSS"


RULES = (
    Rule("untrusted", "F16, F27b", _ALL, _untrusted, "send each issuer in order behind the leaf, trust the root above"),
    Rule(
        "looks-self-signed",
        "RFC 5280 4.2.1.1",
        _OPENSSL,
        _looks_self_signed,
        "issue it under a name other than its CA's, or with the CA's key identifier in it (AKI)",
    ),
    Rule(
        "issuer-identifier",
        "RFC 5280 4.2.1.1",
        _OPENSSL,
        _identified_otherwise,
        "issue it again with the identifiers of the CA certificate that is trusted, or trust the one that it names",
    ),
    Rule(
        "not-signed",
        "RFC 5280 6.1.3",
        _NOT_BEARSSL,
        _not_signed,
        "leave out what did not sign, or issue both with key identifiers (SKI, AKI), which tell them apart",
    ),
    Rule(
        "name",
        "F22",
        _ALL,
        _wrong_name,
        "name it in the SAN (otaseal pki server NAME --name HOST): an address twice, as iPAddress and as dNSName text",
    ),
    Rule("expired", "F20, F25", _ALL, _expired, "renew it; to the device an expired root is still good"),
    Rule("not-yet-valid", "F25", _ALL, _not_yet_valid, "set the clock, or back-date the certificate a little"),
    Rule("not-a-ca", "F18c", _ALL, _not_a_ca, "issue it with critical basicConstraints CA:TRUE"),
    Rule("no-key-cert-sign", "RFC 5280 4.2.1.3", _ALL, _may_not_sign, "a CA's key usage needs keyCertSign"),
    Rule("path-length", "RFC 5280 4.2.1.9", _ALL, _too_long, "issue from the root itself, or raise its path length"),
    Rule("critical-extension", "F23", _ALL, _critical, "make it not critical: an extended key usage never needs to be"),
    Rule("name-constraints", "F19", _OPENSSL, _constrained, "use a CA without name constraints"),
    Rule("key-identifiers", "F24", _STRICT, _no_key_identifiers, "issue it with SKI and AKI"),
    Rule("strict-profile", "F24", _STRICT, _against_profile, "issue it with the extensions RFC 5280 asks for"),
    Rule("no-digital-signature", "F27b", _ALL, _leaf_cannot_sign, "add digitalSignature"),
    Rule("not-for-servers", "F23", _NOT_BEARSSL, _not_for_servers, "issue it for serverAuth"),
    Rule("key", "F19, F26", _ALL, _unusable_key, "RSA-2048 or P-256 work everywhere"),
    Rule("weak-signature", "F26", _ALL, _weak_signature, "sign with SHA-256"),
    Rule("signature-padding", "F26", (Stack.BEARSSL,), _unknown_padding, "sign with PKCS#1 v1.5, or ECDSA"),
)
