"""Certificate archives of every make, good and broken in each way that the device facts name, for those who judge them.

A case is an archive and the chain of a server that the device meets with it; its name begins with the fact that it is
about. Seeds are constants, keys are made anew in every run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from support import cas
from support.broken_images import overlay
from support.cas import NOW
from support.chain_maker import usage

NAME, OTHER, THIRD = "Workshop of Blinking Things CA", "Another Workshop of Things CA", "Third Workshop of Things CA"
MAGIC = b"!<arch>\n"
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Case:
    """An archive, and the chain (DER, leaf first) that a server shows."""

    name: str
    archive: bytes
    chain: tuple[bytes, ...]

    @property
    def fact(self) -> str:
        return self.name.partition(" ")[0]


@dataclass(frozen=True)
class Header:
    """What stands in a member's header; `size` None: the truth."""

    name: bytes = b"ca/"
    size: bytes | None = None
    end: bytes = b"`\n"
    padded: bool = True

    def before(self, body: bytes) -> bytes:
        size = str(len(body)).encode() if self.size is None else self.size
        return self.name.ljust(16)[:16] + b"0           0     0     100644  " + size.ljust(10)[:10] + self.end


PLAIN = Header()


def ar(*members: tuple[bytes, Header] | bytes) -> bytes:
    data = MAGIC
    for member in members:
        body, header = (member, PLAIN) if isinstance(member, bytes) else member
        data += header.before(body) + body + (b"\n" if header.padded and len(body) & 1 else b"")
    return data


def cases(random_share: int, every_bit: bool = False) -> list[Case]:
    """Return all cases, among them `random_share` of each kind of random damage."""
    found = [case for make in (members, orders, headers, cuts, subjects, chains) for case in make()]
    found += [*flips(every_bit), *damage(random_share)]
    names = [case.name for case in found]
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)
    return found


@cache
def leaf(kind: str = "P-256", index: int = 0, issuer: str = NAME) -> bytes:
    return cas.leaf(issuer, kind, index)


def case(name: str, archive: bytes, *chain: bytes) -> Case:
    return Case(name, archive, chain or (leaf(),))


# What may lie in a member, all with one subject, which the server's certificate names as its issuer.
CONTENTS: Mapping[str, Callable[[], bytes]] = {
    "F18c a good root": cas.root,
    "F18c another key": lambda: cas.root(index=1),
    "F18c an RSA root": lambda: cas.root(kind="RSA-2048"),
    "F18c a P-384 root": lambda: cas.root(kind="P-384"),
    "F18c a P-521 root": lambda: cas.root(kind="P-521"),
    "F18c an RSA-1024 root": lambda: cas.root(kind="RSA-1024"),
    "F18c no CA": lambda: cas.root(extensions=((x509.BasicConstraints(False, None), True),)),
    "F18c no extensions": lambda: cas.root(extensions=()),
    "F18c version 1": lambda: cas.version_1(cas.root()),
    "F18c path length 0": lambda: cas.root(extensions=((x509.BasicConstraints(True, 0), True),)),
    "F19 Ed25519": lambda: cas.root(kind="Ed25519"),
    "F19 Ed448": lambda: cas.root(kind="Ed448"),
    "F19 secp256k1": lambda: cas.root(kind="secp256k1"),
    "F19 name constraints": lambda: cas.root(extensions=(cas.CA, (home(), True))),
    "F20 expired": lambda: cas.root(valid=(NOW - 9 * DAY, NOW - DAY)),
    "F20 of the future": lambda: cas.root(valid=(NOW + 9 * DAY, NOW + 90 * DAY)),
    "F18b a byte behind": lambda: cas.root() + b"\0",
    "F18b a newline behind": lambda: cas.root() + b"\n",
    "F18b two in one": lambda: cas.root() + cas.root(OTHER),
    "F18b the last byte missing": lambda: cas.root()[:-1],
    "F18b half": lambda: cas.root()[: len(cas.root()) // 2],
    "F18b the first bytes": lambda: cas.root()[:60],
    "F18b zeros behind": lambda: cas.root() + bytes(64),
    "F18b a length too large": lambda: cas.root()[:3] + bytes([cas.root()[3] + 1]) + cas.root()[4:],
    "F18b a length too small": lambda: cas.root()[:3] + bytes([cas.root()[3] - 1]) + cas.root()[4:],
    "F18b indefinite length": lambda: b"\x30\x80" + cas.root()[4:] + b"\0\0",
    "F16 PEM": lambda: cas.pem(cas.root()),
    "F16 text": lambda: b"certificates go here\n",
    "F16 a byte": lambda: b"\x30",
    "F16 an empty sequence": lambda: b"\x30\0",
    "F16 zeros": lambda: bytes(500),
    "F16 a BSD name before it": lambda: b"our_ca_cert_long.der" + cas.root(),
    "F16 a bare key": lambda: cas.root()[100:300],
}


def home() -> x509.NameConstraints:
    return x509.NameConstraints([x509.DNSName("home.arpa")], None)


def members() -> Iterator[Case]:
    for name, make in CONTENTS.items():
        body = make()
        yield case(f"{name}, alone", ar(body))
        yield case(f"{name}, before the root", ar(body, cas.root()))
        yield case(f"{name}, behind the root", ar(cas.root(), body))
        yield case(f"{name}, behind others", ar(cas.root(OTHER), cas.root(THIRD), body))
        yield case(f"{name}, shown as the server's own", ar(cas.root(OTHER), body), cas.root(extensions=()))


def orders() -> Iterator[Case]:
    for index in range(3):
        yield case(f"F17 key {index} signed, key 0 comes first", ar(cas.root(), cas.root(index=1)), leaf(index=index))
        yield case(f"F17 key {index} signed, key 1 comes first", ar(cas.root(index=1), cas.root()), leaf(index=index))
    for count in (1, 2, 50, 150):
        others = [cas.root(f"Workshop number {index} of its kind", index=index % 3) for index in range(count)]
        yield case(f"F17 last of {count}", ar(*others, cas.root()))
        yield case(f"F17 none of {count}", ar(*others))
    for kind in ("RSA-2048", "P-384", "P-521"):
        for other in ("P-256", kind):
            name = f"F18c a {kind} root and a server by {other}"
            yield case(name, ar(cas.root(OTHER), cas.root(kind=kind)), leaf(other))


def headers() -> Iterator[Case]:
    """Members' headers: 60 bytes of which the device reads a few (F16)."""
    body, other = cas.root(), cas.root(OTHER)
    size = len(body)
    names = (b"", b"/", b"//", b"/0", b"#1/20", b"ca.der", b"ca.der/", b" //", b"///", b"/ /", b"\xff" * 16, bytes(16))
    sizes = [b"%d" % size, b" %d" % size, b"+%d" % size, b"\t%d" % size, b"0%d" % size, b"%dx" % size, b"%d.5" % size]
    sizes += [b"%d\0" % size, b"\0%d" % size, b"0", b"-1", b"-%d" % size, b"", b"many", b"0x1f4", b"99999"]
    sizes += [b"9999999999", b"4294967296", b"2147483648", b"%d" % (size + 1), b"%d" % (size - 1), b"1"]
    made = [(f"name {name!r}", Header(name=name)) for name in names]
    made += [(f"size {text!r}", Header(size=text)) for text in sizes]
    made += [(f"end {end!r}", Header(end=end)) for end in (b"xx", b"\0\0", b"\r\n")]
    made += [("no padding", Header(padded=False))]
    for name, header in made:
        yield case(f"F16 {name}, first", ar((body, header), other))
        yield case(f"F16 {name}, second", ar(other, (body, header)))
        yield case(f"F16 {name}, before the root", ar((other, header), body))
    for magic in (b"", b"!<thin>\n", b"!<arch>\r", b"!<arch>", b"\n" + MAGIC, MAGIC + b"\n", MAGIC + MAGIC):
        yield case(f"F16 magic {magic!r}", magic + ar(body)[len(MAGIC) :])


def cuts() -> Iterator[Case]:
    whole = ar(cas.root(OTHER), cas.root())
    start = len(ar(cas.root(OTHER)))
    for end in (0, 4, 8, 30, 67, 68, 69, 200, start - 1, start, start + 1, start + 59, start + 60, start + 61):
        yield case(f"F16 cut to {end}", whole[:end])
    for missing in (1, 2, 3, 50, 200):
        yield case(f"F16 the last {missing} bytes missing", whole[:-missing])
    for behind in (b"\n", b"\n\n", bytes(59), bytes(60), bytes(61), Header().before(b"")):
        yield case(f"F16 {len(behind)} bytes behind, {behind[:1].hex()}", whole + behind)


def subjects() -> Iterator[Case]:
    """Encoded names around the 32 bytes that a look-up writes over them (F18)."""
    for size in (1, 2, 10, 17, 18, 19, 20, 21, 30, 64):
        subject = "S" * size
        yield case(f"F18 a subject of {size} letters", ar(cas.root(subject)), leaf(issuer=subject))
        yield case(f"F18 a subject of {size} letters, behind another", ar(cas.root(), cas.root(subject)), leaf())
        bad = cas.root(subject) + b"\0"
        yield case(f"F18 a subject of {size} letters and a byte behind", ar(bad), leaf(issuer=subject))


def chains() -> Iterator[Case]:
    """What the server shows: an intermediate, too much, too little, another's, itself."""
    key = cas.key("P-256", 5)
    middle_name = "Intermediate of Blinking Things"
    middle = cas.issue(middle_name, key.public_key(), (NAME, cas.key("P-256")))
    plain = cas.issue(middle_name, key.public_key(), (NAME, cas.key("P-256")), ())
    server = cas.leaf(middle_name, index=5)
    archives = {
        "the root": ar(cas.root()),
        "the intermediate": ar(middle),
        "both": ar(middle, cas.root()),
        "another": ar(cas.root(OTHER)),
        "a broken root": ar(cas.root()[:-1]),
        "a broken intermediate": ar(middle + b"\n", cas.root()),
        "an intermediate that is not a CA": ar(plain, cas.root()),
        "nothing": MAGIC,
    }
    shown = {
        "two": (server, middle),
        "the leaf alone": (server,),
        "three": (server, middle, cas.root()),
        "the wrong order": (server, cas.root(), middle),
        "the middle twice": (server, middle, middle),
        "no CA between": (server, plain),
        "the root itself": (cas.root(),),
        "a stranger": (leaf(issuer=THIRD),),
        "a leaf cut short": (leaf()[:-20],),
        "a leaf and a byte": (leaf() + b"\0",),
    }
    for name, archive in archives.items():
        for what, chain in shown.items():
            yield case(f"F27b {name} in the archive, {what} shown", archive, *chain)


def flips(every_bit: bool) -> Iterator[Case]:
    """Each byte of a root, and of what a server shows, with every bit flipped, or one that changes."""
    archive = ar(cas.root())
    for at, bit, changed in flipped(cas.root(), every_bit):
        yield case(f"F18b bit {bit} of byte {at} of a root flipped", ar(changed))
    server, middle = elaborate_chain()
    for at, bit, changed in flipped(server, every_bit):
        yield case(f"F27b bit {bit} of byte {at} of a server's certificate flipped", archive, changed, middle)
    for at, bit, changed in flipped(middle, every_bit):
        yield case(f"F27b bit {bit} of byte {at} of an intermediate flipped", archive, server, changed)


def flipped(der: bytes, every_bit: bool) -> Iterator[tuple[int, int, bytes]]:
    for at in range(len(der)):
        for bit in [1 << place for place in range(8)] if every_bit else (0x20 if at % 2 else 1 << at // 2 % 8,):
            yield at, bit, overlay(der, at, bytes([der[at] ^ bit]))


def elaborate_chain() -> tuple[bytes, bytes]:
    """Return a server's certificate and an intermediate with every extension that BearSSL reads or lets pass."""
    issuer, own, name = cas.key("P-256", 5), cas.key("P-256", 99), "Intermediate of Blinking Things"
    usages = [("digital_signature", "key_encipherment"), ("key_cert_sign", "crl_sign")]
    server_usage, issuer_usage = (usage(*bits) for bits in usages)
    policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), ["https://example.org/statement"])
    server = cas.issue(
        "ota.example",
        own.public_key(),
        (name, issuer),
        (
            (x509.BasicConstraints(False, None), True),
            (server_usage, True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), True),
            (x509.SubjectAlternativeName([x509.DNSName("ota.example"), x509.RFC822Name("a@b.example")]), True),
            (x509.CertificatePolicies([policy]), True),
        ),
    )
    extensions = ((x509.BasicConstraints(True, 0), True), (issuer_usage, True))
    return server, cas.issue(name, issuer.public_key(), (NAME, cas.key("P-256")), extensions)


def damage(share: int) -> Iterator[Case]:
    noise = random.Random(16)
    whole, der = ar(cas.root(OTHER, "RSA-2048"), cas.root()), cas.root()
    for index in range(share):
        at, bit = noise.randrange(len(whole)), 1 << noise.randrange(8)
        yield case(f"F16 bit {bit} of byte {at} flipped ({index})", overlay(whole, at, bytes([whole[at] ^ bit])))
        at, stretch = noise.randrange(len(whole)), noise.randbytes(noise.randrange(1, 30))
        yield case(f"F16 {len(stretch)} bytes at {at} damaged ({index})", overlay(whole, at, stretch))
        at = noise.randrange(len(der))
        yield case(f"F18b a root cut to {at} ({index})", ar(der[:at], der))
