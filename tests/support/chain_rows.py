"""Chains of all kinds with the anchors that a device has: what each TLS stack is asked about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from support.chain_maker import (
    CLIENT_AUTH,
    NOW,
    SERVER_AUTH,
    Made,
    make,
    make_ec,
    make_ed,
    make_rsa,
    named,
    raw_extension,
    rebuilt,
    respelled,
    san,
    usage,
    with_sha1,
    without_version,
)

ADDRESS, HOST = "192.0.2.7", "update.example.com"
BOTH = san(f"dns:{ADDRESS}", f"ip:{ADDRESS}", f"dns:{HOST}")
DAY = timedelta(days=1)
EVERY = tuple(
    getattr(x509, kind) for kind in ("BasicConstraints", "KeyUsage", "SubjectKeyIdentifier", "AuthorityKeyIdentifier")
)


@dataclass(frozen=True)
class Row:
    chain: tuple[Made, ...]
    anchors: tuple[Made, ...]


def root(name: str = "a root with a name long enough", **options: Any) -> Made:
    return make(name, ca=True, **options)


def leaf(issuer: Made | None, **options: Any) -> Made:
    return make("an update server", issuer, **({"names": BOTH, "uses": (SERVER_AUTH,)} | options))


def plain(**options: Any) -> Row:
    top = root()
    return Row((leaf(top, **options),), (top,))


def below(**options: Any) -> Row:
    """A leaf under an intermediate of that kind."""
    top = root()
    middle = make("an intermediate authority", top, **({"ca": True} | options))
    return Row((leaf(middle), middle), (top,))


def under(**options: Any) -> Row:
    """A leaf under a root of that kind."""
    top = root(**options)
    return Row((leaf(top),), (top,))


def three(*order: int, top: dict[str, Any] | None = None, first: dict[str, Any] | None = None) -> Row:
    """A leaf (0) under two intermediates (1, 2) under a root (3), sent in that order."""
    anchor = root(**(top or {}))
    upper = make("the upper intermediate", anchor, **({"ca": True} | (first or {})))
    lower = make("the lower intermediate", upper, ca=True)
    every = (leaf(lower), lower, upper, anchor)
    return Row(tuple(every[index] for index in order), (anchor,))


def self_signed(**options: Any) -> Row:
    alone = leaf(None, **options)
    return Row((alone,), (alone,))


def version_1_root() -> Row:
    top = make("an old root of the first version", without=EVERY)
    old = without_version(top, top)
    return Row((leaf(old),), (old,))


def version_1_intermediate() -> Row:
    top = root()
    middle = without_version(make("an old intermediate authority", top, without=EVERY), top)
    return Row((leaf(middle), middle), (top,))


def version_1_leaf() -> Row:
    top = root()
    return Row((without_version(make(HOST, top, without=EVERY), top),), (top,))


def sha1_leaf() -> Row:
    top = root(key=make_rsa(2048))
    return Row((with_sha1(leaf(top), top),), (top,))


def sha1_root() -> Row:
    top = root(key=make_rsa(2048))
    old = with_sha1(top, top)
    return Row((leaf(old),), (old,))


def pss_leaf() -> Row:
    top = root(key=make_rsa(2048))
    pad = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return Row((leaf(top, rsa_padding=pad),), (top,))


def renamed(subject: bytes, issuer: bytes | None = None) -> Row:
    """A root whose subject is the name `subject`, as encoded, and a leaf that calls it `issuer`, or just that."""
    top = root()
    old = rebuilt(top, top, lambda fields: [*fields[:3], subject, fields[4], subject, *fields[6:]])
    below = rebuilt(leaf(top), top, lambda fields: [*fields[:3], issuer or subject, *fields[4:]])
    return Row((below,), (old,))


def leaf_named(tag: int, text: bytes, **options: Any) -> Row:
    top = root()
    one = rebuilt(leaf(top, **options), top, lambda fields: [*fields[:5], named(tag, text), *fields[6:]])
    return Row((one,), (top,))


def serial(value: str) -> Row:
    top = root()
    number = bytes.fromhex(value)
    changed = rebuilt(leaf(top), top, lambda fields: [fields[0], bytes([2, len(number)]) + number, *fields[2:]])
    return Row((changed,), (top,))


def boolean_one() -> Row:
    """BOOLEANs that are true and not FF, as the flag of what is critical, and in the constraints of the CA."""
    top = root()
    critical, true = bytes.fromhex("0101ff0405"), bytes.fromhex("0101010405")
    old = respelled(respelled(top, top, critical, true), top, bytes.fromhex("30030101ff"), bytes.fromhex("3003010101"))
    return Row((leaf(top),), (old,))


def general_times() -> Row:
    """Dates with four digits of the year before 2050, which RFC 5280 wants with two."""
    top = root()
    dates = [f"{NOW + DAY * days:%Y%m%d%H%M%S}Z".encode() for days in (-3, 30)]
    validity = bytes([0x30, 34]) + b"".join(bytes([0x18, 15]) + one for one in dates)
    return Row((rebuilt(leaf(top), top, lambda fields: [*fields[:4], validity, *fields[5:]]),), (top,))


def wrong_root() -> Row:
    return Row((leaf(root()),), (root("another root altogether", key=make_ec(index=77)),))


def impostor_root() -> Row:
    """The right name, and another key."""
    return Row((leaf(root()),), (root(key=make_ec(index=78)),))


def two_roots() -> Row:
    top = root()
    return Row((leaf(top),), (root("another root altogether"), top))


def twins() -> Row:
    """Two roots of one name, the right one second: BearSSL's own list tries both, the device's archive does not."""
    top = root()
    return Row((leaf(top),), (root(key=make_ec(index=79)), top))


def intermediate_trusted() -> Row:
    top = root()
    middle = make("an intermediate authority", top, ca=True)
    return Row((leaf(middle),), (middle,))


def cross_signed() -> Row:
    """The new root, signed by the old one too, sent to those who know only the old."""
    old, key = root("the old root of this fleet"), make_ec(index=80)
    new = make("the new root of this fleet", old, ca=True, key=key)
    return Row((leaf(new), new), (old,))


def stranger_in_between() -> Row:
    top = root()
    middle = make("an intermediate authority", top, ca=True)
    return Row((leaf(middle), root("a stranger in the chain"), middle), (top,))


def stranger_ed25519_behind() -> Row:
    top = root()
    return Row((leaf(top), make("a stranger behind it all", ca=True, key=make_ed())), (top,))


def constraints(kind: str, value: str) -> x509.NameConstraints:
    names: list[x509.GeneralName] = [x509.DNSName(value)] if kind == "dns" else [x509.IPAddress(ip_network(value))]
    return x509.NameConstraints(names, None)


ALLOWS = x509.NameConstraints(
    [x509.DNSName("example.com"), x509.DNSName(ADDRESS), x509.IPAddress(ip_network("192.0.2.0/24"))], None
)
ELSEWHERE = constraints("dns", "example.org")
POLICY = x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), None)])
ANY_POLICY, NOTICE = (
    x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.5.29.32.0"), qualifiers)])
    for qualifiers in (None, [x509.UserNotice(None, "read this")])
)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
NC, EKU, SKI, AKI = x509.NameConstraints, x509.ExtendedKeyUsage, x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier
BC, KU = x509.BasicConstraints, x509.KeyUsage
T61, UTF8, PRINTABLE, BMP = 0x14, 0x0C, 0x13, 0x1E
LATIN = "Werkstatt f\u00fcr blinkende Dinge CA".encode("latin-1")
P384, P521 = make_ec("secp384r1"), make_ec("secp521r1")

ROWS: dict[str, Callable[[], Row]] = {
    "good, P-256": plain,
    "good, RSA-2048": lambda: Row((leaf(t := root(key=make_rsa(2048)), key=make_rsa(2048, 1)),), (t,)),
    "names: common name only": lambda: Row((make(HOST, t := root(), uses=(SERVER_AUTH,)),), (t,)),
    "names: common name is the address": lambda: Row((make(ADDRESS, t := root(), uses=(SERVER_AUTH,)),), (t,)),
    "names: iPAddress only": lambda: plain(names=san(f"ip:{ADDRESS}")),
    "names: dNSName text only": lambda: plain(names=san(f"dns:{ADDRESS}", f"dns:{HOST}")),
    "names: others": lambda: plain(names=san("dns:other.example.com", "ip:192.0.2.8", "dns:192.0.2.8")),
    "names: wrong SAN, right common name": lambda: Row(
        (make(HOST, t := root(), names=san("dns:b.example.com")),), (t,)
    ),
    "names: address SAN, right common name": lambda: Row((make(HOST, t := root(), names=san("ip:192.0.2.8")),), (t,)),
    "names: wildcard": lambda: plain(names=san("dns:*.example.com")),
    "names: wildcard too wide": lambda: plain(names=san("dns:*.com")),
    "names: wildcard in the address": lambda: plain(names=san("dns:*.0.2.7")),
    "names: capitals": lambda: plain(names=san("dns:UPDATE.Example.COM", f"ip:{ADDRESS}")),
    "time: leaf expired": lambda: plain(start=-20 * DAY, end=-DAY),
    "time: leaf not yet valid": lambda: plain(start=DAY),
    "time: intermediate expired": lambda: below(start=-20 * DAY, end=-DAY),
    "time: root expired": lambda: under(start=-20 * DAY, end=-DAY),
    "time: root not yet valid": lambda: under(start=DAY),
    "time: after 2050": lambda: under(end=40 * 365 * DAY),
    "subject: root's is short": lambda: under(name="short"),
    "version: root of version 1": version_1_root,
    "version: intermediate of version 1": version_1_intermediate,
    "version: leaf of version 1": version_1_leaf,
    "extension: critical EKU on the leaf": lambda: plain(critical=(BC, KU, EKU)),
    "extension: critical EKU on the intermediate": lambda: below(uses=(SERVER_AUTH,), critical=(BC, KU, EKU)),
    "extension: EKU on the intermediate": lambda: below(uses=(SERVER_AUTH,)),
    "extension: EKU clientAuth on the intermediate": lambda: below(uses=(CLIENT_AUTH,)),
    "extension: EKU clientAuth on the root": lambda: under(uses=(CLIENT_AUTH,)),
    "extension: EKU clientAuth on the leaf": lambda: plain(uses=(CLIENT_AUTH,)),
    "extension: EKU anything on the leaf": lambda: plain(uses=(x509.ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)),
    "extension: no EKU": lambda: plain(uses=()),
    "extension: critical SAN": lambda: plain(critical=(BC, KU, x509.SubjectAlternativeName)),
    "extension: critical policies": lambda: plain(others=(POLICY,), critical=(BC, KU, x509.CertificatePolicies)),
    "extension: critical, any policy": lambda: plain(others=(ANY_POLICY,), critical=(BC, KU, x509.CertificatePolicies)),
    "extension: critical policy with a notice": lambda: plain(
        others=(NOTICE,), critical=(BC, KU, x509.CertificatePolicies)
    ),
    "extension: policy with a notice": lambda: plain(others=(NOTICE,)),
    "extension: critical and unknown": lambda: plain(others=(UNKNOWN,), critical=(BC, KU, x509.UnrecognizedExtension)),
    "extension: unknown": lambda: plain(others=(UNKNOWN,)),
    "extension: critical SKI": lambda: plain(critical=(BC, KU, SKI)),
    "constraints: critical, kept": lambda: below(constraints=ALLOWS, critical=(BC, KU, NC)),
    "constraints: kept": lambda: below(constraints=ALLOWS),
    "constraints: broken": lambda: below(constraints=ELSEWHERE),
    "constraints: critical, broken": lambda: below(constraints=ELSEWHERE, critical=(BC, KU, NC)),
    "constraints: address broken": lambda: below(constraints=constraints("ip", "198.51.100.0/24")),
    "constraints: critical on the root, kept": lambda: under(constraints=ALLOWS, critical=(BC, KU, NC)),
    "constraints: on the root, broken": lambda: under(constraints=ELSEWHERE),
    "path: intermediate": below,
    "path: intermediate with path length 0": lambda: below(path_length=0),
    "path: two intermediates": lambda: three(0, 1, 2),
    "path: length broken by an intermediate": lambda: three(0, 1, 2, first={"path_length": 0}),
    "path: length of the root broken": lambda: three(0, 1, 2, top={"path_length": 1}),
    "path: length of the root kept": lambda: three(0, 1, 2, top={"path_length": 2}),
    "path: intermediate missing": lambda: Row(below().chain[:1], below().anchors),
    "path: wrong order": lambda: three(0, 2, 1),
    "path: root included": lambda: three(0, 1, 2, 3),
    "path: root in the middle": lambda: three(0, 1, 3, 2),
    "path: stranger in between": stranger_in_between,
    "path: stranger with Ed25519 behind": stranger_ed25519_behind,
    "path: cross-signed": cross_signed,
    "path: unknown root": wrong_root,
    "path: root of the same name, another key": impostor_root,
    "path: two roots": two_roots,
    "path: two roots of one name": twins,
    "path: intermediate is the anchor": intermediate_trusted,
    "self-signed leaf": self_signed,
    "self-signed leaf, wrong name": lambda: self_signed(names=san("dns:other.example.com")),
    "self-signed leaf, expired": lambda: self_signed(start=-20 * DAY, end=-DAY),
    "self-signed leaf that is a CA": lambda: self_signed(ca=True, usage=usage("digital_signature", "key_cert_sign")),
    "encoding: root in Latin-1": lambda: renamed(named(T61, LATIN)),
    "encoding: root in Latin-1, called so in UTF-8": lambda: renamed(
        named(T61, LATIN), named(UTF8, LATIN.decode("latin-1").encode())
    ),
    "encoding: root in PrintableString, called so in UTF-8": lambda: renamed(
        named(PRINTABLE, b"A root of Blinking Things"), named(UTF8, b"A root of Blinking Things")
    ),
    "encoding: root called so in capitals and with spaces": lambda: renamed(
        named(UTF8, b"a root of blinking things"), named(UTF8, b" A ROOT  of Blinking Things")
    ),
    "encoding: root called so in capitals": lambda: renamed(
        named(UTF8, b"a root of blinking things"), named(UTF8, b"A ROOT OF BLINKING THINGS")
    ),
    "encoding: root in BMPString": lambda: renamed(named(BMP, "A root of Blinking Things".encode("utf-16-be"))),
    "encoding: root in PrintableString with an underscore": lambda: renamed(
        named(PRINTABLE, b"a_root@of_blinking.things")
    ),
    "encoding: root with a name that is not a string": lambda: renamed(named(0x03, bytes(40))),
    "encoding: leaf in Latin-1": lambda: leaf_named(T61, LATIN),
    "encoding: leaf in Latin-1, named by it": lambda: leaf_named(T61, HOST.encode(), names=None),
    "encoding: cA FALSE written out": lambda: plain(without=(BC,), others=(raw_extension("2.5.29.19", "3003010100"),)),
    "encoding: cA TRUE as 01": boolean_one,
    "encoding: key usage with zero bits": lambda: plain(
        without=(KU,), others=(raw_extension("2.5.29.15", "03020080"),)
    ),
    "encoding: serial number below zero": lambda: serial("80ff01"),
    "encoding: serial number 0": lambda: serial("00"),
    "encoding: serial number of 24 bytes": lambda: serial("41" * 24),
    "encoding: dates before 2050 with four digits of the year": general_times,
    "encoding: address of five bytes in the SAN": lambda: plain(
        names=None, others=(raw_extension("2.5.29.17", f"301b8212{HOST.encode().hex()}8705c000020701"),)
    ),
    "issuer: no CA": lambda: below(ca=False),
    "issuer: no basic constraints": lambda: below(without=(BC,)),
    "issuer: root is not a CA": lambda: Row((leaf(t := make("a root that is not a CA at all")),), (t,)),
    "issuer: basic constraints not critical": lambda: below(critical=(KU,)),
    "issuer: no keyCertSign": lambda: below(usage=usage("crl_sign")),
    "issuer: root without keyCertSign": lambda: under(usage=usage("crl_sign")),
    "issuer: no key usage": lambda: below(without=(KU,)),
    "issuer: root without key usage": lambda: under(without=(KU,)),
    "identifiers: leaf without AKI": lambda: plain(without=(AKI,)),
    "identifiers: leaf without SKI": lambda: plain(without=(SKI,)),
    "identifiers: intermediate without AKI": lambda: below(without=(AKI,)),
    "identifiers: intermediate without SKI": lambda: below(without=(SKI,)),
    "identifiers: root without SKI": lambda: under(without=(SKI,)),
    "identifiers: root without AKI": lambda: under(without=(AKI,)),
    "usage: leaf without any": lambda: plain(without=(KU,)),
    "usage: leaf with keyEncipherment only": lambda: plain(key=make_rsa(2048, 1), usage=usage("key_encipherment")),
    "usage: leaf with keyAgreement only": lambda: plain(usage=usage("key_agreement")),
    "usage: leaf with nonRepudiation only": lambda: plain(usage=usage("content_commitment")),
    "usage: leaf with keyCertSign": lambda: plain(usage=usage("digital_signature", "key_cert_sign")),
    "key: RSA-1024 leaf": lambda: plain(key=make_rsa(1024)),
    "key: RSA-1024 intermediate": lambda: below(key=make_rsa(1024)),
    "key: RSA-1024 root": lambda: under(key=make_rsa(1024)),
    "key: RSA-4096 root": lambda: under(key=make_rsa(4096)),
    "key: RSA-4096 leaf": lambda: plain(key=make_rsa(4096)),
    "key: P-384 leaf": lambda: plain(key=P384),
    "key: P-384 root": lambda: under(key=P384),
    "key: P-521 leaf": lambda: plain(key=P521),
    "key: P-521 root": lambda: under(key=P521),
    "key: Ed25519 leaf": lambda: plain(key=make_ed()),
    "key: Ed25519 root": lambda: under(key=make_ed()),
    "key: Ed25519 intermediate": lambda: below(key=make_ed()),
    "signature: SHA-1 on the leaf": sha1_leaf,
    "signature: SHA-1 on the root": sha1_root,
    "signature: RSA-PSS on the leaf": pss_leaf,
}
