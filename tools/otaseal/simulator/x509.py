"""The verdict of BearSSL's `x509_minimal` on a server's chain, with its settings in the core.

Each certificate is read once from front to back, and the first error ends it. There is no path building: a chain is in
order or it is refused. Anchors are looked up by name, for the leaf itself first, then for each issuer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from .anchors import BASIC_CONSTRAINTS, DeviceCrash, Trust, each_extension, skip_head
from .der import BIT_STRING, BOOLEAN, END, INTEGER, DerError, Reader, check, fail
from .error_numbers import TlsError
from .names import alternative_matches, common_name_matches
from .public_key import PublicKey, RsaKey, read_key, signature_holds

KEY_EXCHANGE, SIGN = 0x10, 0x20
MIN_RSA_BYTES = 128
MAX_SIGNATURE = 512

KEY_USAGE, ALT_NAME, POLICIES = (bytes.fromhex(f"551d{last}") for last in ("0f", "11", "20"))
CPS_POINTER = bytes.fromhex("2b06010505070201")
IGNORED = {bytes.fromhex(f"551d{last}") for last in ("23", "0e", "12", "09", "1f", "2e")} | {
    bytes.fromhex("2b06010505070101"),
    bytes.fromhex("2b0601050507010b"),
}
"""Let pass though critical: key identifiers, issuerAltName, directory attributes, CRL and information pointers."""

SIGNATURES: dict[bytes, tuple[str, bool]] = {
    bytes.fromhex("2a864886f70d010105"): ("sha1", True),
    bytes.fromhex("2a864886f70d01010e"): ("sha224", True),
    bytes.fromhex("2a864886f70d01010b"): ("sha256", True),
    bytes.fromhex("2a864886f70d01010c"): ("sha384", True),
    bytes.fromhex("2a864886f70d01010d"): ("sha512", True),
    bytes.fromhex("2a8648ce3d0401"): ("sha1", False),
    bytes.fromhex("2a8648ce3d040301"): ("sha224", False),
    bytes.fromhex("2a8648ce3d040302"): ("sha256", False),
    bytes.fromhex("2a8648ce3d040303"): ("sha384", False),
    bytes.fromhex("2a8648ce3d040304"): ("sha512", False),
}
"""Signature algorithms that BearSSL knows: the hash, and whether by RSA or on a curve; no PSS, no Ed25519 (F19)."""

_WORDS: dict[TlsError, tuple[str, str]] = {
    TlsError.X509_EMPTY_CHAIN: ("the server sends no certificate", "F27b"),
    TlsError.X509_UNSUPPORTED: ("a key or signature of a kind that BearSSL does not know (Ed25519, PSS)", "F19"),
    TlsError.X509_LIMIT_EXCEEDED: ("a key or signature over 4096 bits", "F26"),
    TlsError.X509_WRONG_KEY_TYPE: ("it did not sign the one before it: another kind of key", "F27b"),
    TlsError.X509_BAD_SIGNATURE: ("it did not sign the one before it", "F27b"),
    TlsError.X509_DN_MISMATCH: ("it is not the issuer of the one before it: the chain is not in order", "F27b"),
    TlsError.X509_CRITICAL_EXTENSION: ("a critical extension that BearSSL does not know", "F23"),
    TlsError.X509_NOT_CA: ("it issues, and is not a CA or not one for a chain as long as this", "F18c"),
    TlsError.X509_FORBIDDEN_KEY_USAGE: ("its key usage does not let it issue", "F27b"),
    TlsError.X509_WEAK_PUBLIC_KEY: ("an RSA key below 1017 bits", "F26"),
    TlsError.X509_NOT_TRUSTED: ("no anchor of the device issued any certificate of the chain", "F17"),
}


@dataclass(frozen=True)
class Validation:
    """BearSSL's number, 0 for a good chain, or why the device goes down over it (`crash`).

    `key` is the leaf's and `usages` what it may do (KEY_EXCHANGE, SIGN), if the chain is good.
    """

    error: int
    reason: str = ""
    fact: str = ""
    crash: str = ""
    key: PublicKey | None = None
    usages: int = 0

    @property
    def ok(self) -> bool:
        """Whether the handshake goes on."""
        return not self.error and not self.crash


def validate(chain: Sequence[bytes], trust: Trust, name: str | None, now: datetime | None) -> Validation:
    """Return what the device says to `chain` (DER as sent, leaf first) for the server `name`, at `now`.

    `name` None: any, as when a sketch connects to an IPAddress (F23). `now` None: the clock was never set, and it is
    1970 (F25); otherwise it has a time zone.
    """
    engine = _Engine(trust, name, _moment(now))
    for index, der in enumerate(chain):
        try:
            if engine.take(der, index):
                return Validation(0, key=engine.leaf_key, usages=engine.usages)
        except DeviceCrash as crash:
            return Validation(0, crash.reason, crash.fact, crash=crash.reason)
        except DerError as error:
            return _refusal(error, index)
    code = TlsError.X509_NOT_TRUSTED if chain else TlsError.X509_EMPTY_CHAIN
    return Validation(code, *_WORDS[code])


@dataclass
class _Engine:
    trust: Trust
    name: str | None
    now: tuple[int, int, int, int]
    issuer: bytes = b""  # hash of the issuer's name in the certificate before
    signature: bytes = b""
    signed: bytes = b""
    algorithm: str = ""
    by_rsa: bool = False
    leaf_key: PublicKey | None = None
    usages: int = KEY_EXCHANGE | SIGN

    def take(self, der: bytes, index: int) -> bool:
        """Read one certificate, and tell whether the chain has come to an anchor.

        Raises DerError where it is refused, DeviceCrash where the device goes down.
        """
        if not der:
            fail(TlsError.X509_TRUNCATED)
        whole = Reader.whole(der)
        outer = whole.sequence()
        start = outer.at
        subject = self._signed_part(outer.sequence(), index)
        signed = der[start : outer.at]
        if index == 0 and self._is_pinned(subject):
            return True
        self._read_signature(outer, signed)
        outer.close()
        whole.close()
        return self._is_issued_by_anchor()

    def _signed_part(self, part: Reader, index: int) -> bytes:
        """Read all that is signed, and return the hash of the subject."""
        skip_head(part)
        issuer = _hash_of_name(part)
        self._dates(part.sequence())
        matches = False
        if index == 0:
            start = part.at
            matches = common_name_matches(part.sequence(), self.name)
            subject = _hash_since(part, start)
        else:
            subject = _hash_of_name(part)
            if subject != self.issuer:
                fail(TlsError.X509_DN_MISMATCH)
        self.issuer = issuer
        key = read_key(part.sequence())
        if isinstance(key, RsaKey) and key.size < MIN_RSA_BYTES:
            fail(TlsError.X509_WEAK_PUBLIC_KEY)
        if index == 0:
            self.leaf_key = key
        else:
            self._check_signature(key)
        seen, matches = self._extensions(part, index, matches)
        part.close()
        if index == 0 and not matches and self.name is not None:
            fail(TlsError.X509_BAD_SERVER_NAME, f"the certificate is not for '{self.name}'", "F22")
        if index and not seen:
            fail(TlsError.X509_NOT_CA)
        return subject

    def _dates(self, validity: Reader) -> None:
        begin = validity.date()
        if self.now < begin:
            unset = " (its clock was never set)" if self.now[:3] == _moment(None)[:3] else ""
            reason = f"not yet valid: the device has {_date(self.now)}{unset}, it begins on {_date(begin)}"
            fail(TlsError.X509_EXPIRED, reason, "F25")
        end = validity.date()
        if self.now > end:
            fail(TlsError.X509_EXPIRED, f"expired: it ends on {_date(end)}, the device has {_date(self.now)}", "F20")
        validity.close()

    def _extensions(self, part: Reader, index: int, matches: bool) -> tuple[bool, bool]:
        """Read the extensions; return whether basic constraints were there, and whether the name matches now."""
        seen = False
        for oid, critical, value in each_extension(part):
            if oid == KEY_USAGE:
                self._key_usage(value, index)
            elif oid == BASIC_CONSTRAINTS and index:
                _basic_constraints(value, index)
                seen = True
            elif oid == ALT_NAME and index == 0:
                matches = alternative_matches(value, self.name)
            elif oid == POLICIES and critical:
                _policies(value)
            elif critical and oid not in IGNORED | {BASIC_CONSTRAINTS, ALT_NAME, POLICIES}:
                fail(TlsError.X509_CRITICAL_EXTENSION)
        return seen, matches

    def _key_usage(self, value: Reader, index: int) -> None:
        bits = value.expect(BIT_STRING, constructed=False)
        ignored = bits.byte()
        if ignored > 7:
            fail(TlsError.X509_UNEXPECTED)
        if not bits.left:
            fail(TlsError.X509_FORBIDDEN_KEY_USAGE)
        only = bits.left == 1
        first = bits.byte()
        first = first >> ignored << ignored if only else first
        value.close()
        if index == 0:
            self.usages = (KEY_EXCHANGE if first & 0x38 else 0) | (SIGN if first & 0xC0 else 0)
        elif not first & 0x04:
            fail(TlsError.X509_FORBIDDEN_KEY_USAGE)

    def _read_signature(self, outer: Reader, signed: bytes) -> None:
        algorithm = outer.sequence().oid()
        if algorithm not in SIGNATURES:
            fail(TlsError.X509_UNSUPPORTED)
        self.algorithm, self.by_rsa = SIGNATURES[algorithm]
        self.signed, self.signature = signed, outer.bits().rest()
        if len(self.signature) > MAX_SIGNATURE:
            fail(TlsError.X509_LIMIT_EXCEEDED)

    def _check_signature(self, key: PublicKey) -> None:
        if isinstance(key, RsaKey) is not self.by_rsa:
            fail(TlsError.X509_WRONG_KEY_TYPE)
        if not signature_holds(self.signature, key, self.signed, self.algorithm):
            fail(TlsError.X509_BAD_SIGNATURE)

    def _is_pinned(self, subject: bytes) -> bool:
        """Look the leaf's own name up: with its key, and no CA, it is trusted directly (F18c)."""
        return any(not anchor.is_ca and anchor.key == self.leaf_key for anchor in self.trust.find(subject))

    def _is_issued_by_anchor(self) -> bool:
        """Look the issuer's name up, which has to be a CA's whose key made the signature."""
        return any(
            anchor.is_ca
            and isinstance(anchor.key, RsaKey) is self.by_rsa
            and signature_holds(self.signature, anchor.key, self.signed, self.algorithm)
            for anchor in self.trust.find(self.issuer)
        )


def _hash_since(part: Reader, start: int) -> bytes:
    return hashlib.sha256(part.data[start : part.at]).digest()


def _hash_of_name(part: Reader) -> bytes:
    start = part.at
    part.sequence()
    return _hash_since(part, start)


def _basic_constraints(value: Reader, index: int) -> None:
    constraints = value.sequence()
    tag = constraints.tag_or_end()
    if tag[0] != BOOLEAN or not constraints.boolean(tag):
        fail(TlsError.X509_NOT_CA)
    tag = constraints.tag_or_end()
    if tag[0] == INTEGER:
        check(tag, INTEGER, constructed=False)
        if constraints.small_integer() < index - 1:
            fail(TlsError.X509_NOT_CA)
        tag = constraints.tag_or_end()
    if tag[0] != END:
        fail(TlsError.X509_UNEXPECTED)
    value.close()


def _policies(value: Reader) -> None:
    """Let critical policies pass unless one has a qualifier other than the pointer to a statement."""
    policies = value.sequence()
    while policies.left:
        policy = policies.sequence()
        policy.oid()
        if policy.left:
            qualifiers = policy.sequence()
            while qualifiers.left:
                if qualifiers.sequence().oid() != CPS_POINTER:
                    fail(TlsError.X509_CRITICAL_EXTENSION)
        policy.close()
    value.close()


def _refusal(error: DerError, index: int) -> Validation:
    unparsed = ("it does not parse: " + error.error.name.lower(), "F16")
    reason, fact = (error.reason, error.fact) if error.reason else _WORDS.get(error.error, unparsed)
    which = "the server's certificate" if index == 0 else f"certificate {index + 1} of the chain"
    return Validation(error.error, f"{which}: {reason}", fact)


def _moment(now: datetime | None) -> tuple[int, int, int, int]:
    """Return year, month, day and second of the day, as certificates have it."""
    utc = datetime(1970, 1, 1, tzinfo=timezone.utc) if now is None else now.astimezone(timezone.utc)
    return utc.year, utc.month, utc.day, utc.hour * 3600 + utc.minute * 60 + utc.second


def _date(moment: tuple[int, int, int, int]) -> str:
    year, month, day, second = moment
    return f"{year:04d}-{month:02d}-{day:02d} {second // 3600:02d}:{second // 60 % 60:02d} UTC"
