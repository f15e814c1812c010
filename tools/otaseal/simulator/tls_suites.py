"""The cipher suites of the device's hello, and TLS 1.2's PRF, key block and record protection.

The order is the core's (WiFiClientSecureBearSSL.cpp). The device offers static ECDH and 3DES, too; a server that picks
one of those is not simulated.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .error_numbers import TlsError


class TlsClosed(Exception):
    """BearSSL's engine has closed: `error` is its number, 0 where the connection ends without an error of its own."""

    def __init__(self, error: int, reason: str = "", fact: str = "F21") -> None:
        super().__init__(reason)
        self.error, self.reason, self.fact = error, reason, fact


@dataclass(frozen=True)
class Suite:
    """A cipher suite: `exchange` "ECDHE" or "RSA" with `signer` "RSA" or "ECDSA"; `cipher`, key bytes and hashes.

    `mac` is the hash of CBC's MAC, "" for a cipher that needs none.
    """

    name: str
    exchange: str
    signer: str
    cipher: str
    key_size: int
    prf_hash: str
    mac: str

    @classmethod
    def parse(cls, name: str) -> Suite:
        """Return the suite of that name."""
        exchange, cipher = name.split("-WITH-")
        method, _, signer = exchange.partition("-")
        algorithm, *parameters, last = cipher.lower().split("-")
        is_aes = algorithm == "aes"
        kind = (last if last.startswith("ccm") else parameters[1]).upper() if is_aes else "CHACHA20"
        return cls(
            name,
            exchange=method,
            signer=signer or "RSA",
            cipher=kind,
            key_size=int(parameters[0]) // 8 if is_aes else 32,
            prf_hash="sha384" if last == "sha384" else "sha256",
            mac="" if kind != "CBC" else "sha1" if last == "sha" else last,
        )


_NAMES: dict[int, str | None] = {
    0xCCA9: "ECDHE-ECDSA-WITH-CHACHA20-POLY1305-SHA256",
    0xCCA8: "ECDHE-RSA-WITH-CHACHA20-POLY1305-SHA256",
    0xC02B: "ECDHE-ECDSA-WITH-AES-128-GCM-SHA256",
    0xC02F: "ECDHE-RSA-WITH-AES-128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-WITH-AES-256-GCM-SHA384",
    0xC030: "ECDHE-RSA-WITH-AES-256-GCM-SHA384",
    0xC0AC: "ECDHE-ECDSA-WITH-AES-128-CCM",
    0xC0AD: "ECDHE-ECDSA-WITH-AES-256-CCM",
    0xC0AE: "ECDHE-ECDSA-WITH-AES-128-CCM8",
    0xC0AF: "ECDHE-ECDSA-WITH-AES-256-CCM8",
    0xC023: "ECDHE-ECDSA-WITH-AES-128-CBC-SHA256",
    0xC027: "ECDHE-RSA-WITH-AES-128-CBC-SHA256",
    0xC024: "ECDHE-ECDSA-WITH-AES-256-CBC-SHA384",
    0xC028: "ECDHE-RSA-WITH-AES-256-CBC-SHA384",
    0xC009: "ECDHE-ECDSA-WITH-AES-128-CBC-SHA",
    0xC013: "ECDHE-RSA-WITH-AES-128-CBC-SHA",
    0xC00A: "ECDHE-ECDSA-WITH-AES-256-CBC-SHA",
    0xC014: "ECDHE-RSA-WITH-AES-256-CBC-SHA",
    **dict.fromkeys((0xC02D, 0xC031, 0xC02E, 0xC032, 0xC025, 0xC029, 0xC026, 0xC02A, 0xC004, 0xC00E, 0xC005, 0xC00F)),
    0x009C: "RSA-WITH-AES-128-GCM-SHA256",
    0x009D: "RSA-WITH-AES-256-GCM-SHA384",
    0xC09C: "RSA-WITH-AES-128-CCM",
    0xC09D: "RSA-WITH-AES-256-CCM",
    0xC0A0: "RSA-WITH-AES-128-CCM8",
    0xC0A1: "RSA-WITH-AES-256-CCM8",
    0x003C: "RSA-WITH-AES-128-CBC-SHA256",
    0x003D: "RSA-WITH-AES-256-CBC-SHA256",
    0x002F: "RSA-WITH-AES-128-CBC-SHA",
    0x0035: "RSA-WITH-AES-256-CBC-SHA",
    **dict.fromkeys((0xC008, 0xC012, 0xC003, 0xC00D, 0x000A)),
}
SUITES: Mapping[int, Suite | None] = {number: Suite.parse(name) if name else None for number, name in _NAMES.items()}
"""Every suite that the device offers, in its order; None for one that is not played here."""


def prf(name: str, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """Return `size` bytes of TLS 1.2's pseudo-random function over the hash `name` (RFC 5246, 5)."""
    out, block = b"", label + seed
    while len(out) < size:
        block = hmac.digest(secret, block, name)
        out += hmac.digest(secret, block + label + seed, name)
    return out[:size]


def protections(suite: Suite, master: bytes, randoms: bytes) -> tuple[Protection, Protection]:
    """Return what protects the client's records, and the server's, from both `randoms`, 64 bytes (RFC 5246, 6.3)."""
    mac = hashlib.new(suite.mac).digest_size if suite.mac else 0
    iv = {"CHACHA20": 12, "CBC": 0}.get(suite.cipher, 4)
    size = 2 * (mac + suite.key_size + iv)
    block = io.BytesIO(prf(suite.prf_hash, master, b"key expansion", randoms[32:] + randoms[:32], size))
    (mac_c, mac_s), (key_c, key_s), (iv_c, iv_s) = [
        (block.read(size), block.read(size)) for size in (mac, suite.key_size, iv)
    ]
    if suite.mac:
        return _Cbc(key_c, mac_c, suite.mac), _Cbc(key_s, mac_s, suite.mac)
    return _Aead(key_c, iv_c, suite.cipher), _Aead(key_s, iv_s, suite.cipher)


class _Aead:
    """Records under an AEAD cipher; the `header` of each is its sequence number, type and version (11 bytes)."""

    def __init__(self, key: bytes, iv: bytes, cipher: str) -> None:
        from cryptography.hazmat.primitives.ciphers import aead

        self._iv, self._explicit = iv, 0 if cipher == "CHACHA20" else 8
        self._tag = 8 if cipher == "CCM8" else 16
        self._cipher: Any
        if cipher == "CHACHA20":
            self._cipher = aead.ChaCha20Poly1305(key)
        else:
            self._cipher = aead.AESGCM(key) if cipher == "GCM" else aead.AESCCM(key, tag_length=self._tag)

    def seal(self, header: bytes, data: bytes) -> bytes:
        """Return the content of a record."""
        explicit = header[: self._explicit]
        sealed: bytes = self._cipher.encrypt(self._nonce(header, explicit), data, _with_size(header, len(data)))
        return explicit + sealed

    def open(self, header: bytes, data: bytes) -> bytes:
        """Return what was sealed; raises TlsClosed (BAD_MAC, BAD_LENGTH) for what was not."""
        from cryptography.exceptions import InvalidTag

        explicit, sealed = data[: self._explicit], data[self._explicit :]
        size = len(sealed) - self._tag
        if size < 0:
            raise TlsClosed(TlsError.BAD_LENGTH)
        try:
            opened: bytes = self._cipher.decrypt(self._nonce(header, explicit), sealed, _with_size(header, size))
        except InvalidTag as error:
            raise TlsClosed(TlsError.BAD_MAC) from error
        return opened

    def _nonce(self, header: bytes, explicit: bytes) -> bytes:
        if self._explicit:
            return self._iv + explicit
        return bytes(a ^ b for a, b in zip(self._iv, bytes(4) + header[:8], strict=True))


class _Cbc:
    """Records under AES-CBC with a MAC over the `header`, as of an AEAD cipher, and the data."""

    def __init__(self, key: bytes, mac_key: bytes, mac: str) -> None:
        self._key, self._mac_key, self._mac = key, mac_key, mac
        self._size = len(mac_key)

    def seal(self, header: bytes, data: bytes) -> bytes:
        """Return the content of a record."""
        iv = secrets.token_bytes(16)
        body = data + self._code(header, data)
        padding = 15 - len(body) % 16
        encryptor = self._cipher(iv).encryptor()
        return iv + bytes(encryptor.update(body + bytes([padding] * (padding + 1))) + encryptor.finalize())

    def open(self, header: bytes, data: bytes) -> bytes:
        """Return what was sealed; raises TlsClosed (BAD_MAC, BAD_LENGTH) for what was not."""
        if len(data) < 32 + self._size // 16 * 16 or len(data) % 16:
            raise TlsClosed(TlsError.BAD_LENGTH)
        decryptor = self._cipher(data[:16]).decryptor()
        plain = bytes(decryptor.update(data[16:]) + decryptor.finalize())
        padding = plain[-1]
        end = len(plain) - padding - 1 - self._size
        good = end >= 0 and plain[-padding - 1 :] == bytes([padding] * (padding + 1))
        if not good or not hmac.compare_digest(plain[end : end + self._size], self._code(header, plain[:end])):
            raise TlsClosed(TlsError.BAD_MAC)
        return plain[:end]

    def _code(self, header: bytes, data: bytes) -> bytes:
        return hmac.digest(self._mac_key, _with_size(header, len(data)) + data, self._mac)

    def _cipher(self, iv: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        return Cipher(algorithms.AES(self._key), modes.CBC(iv))


def _with_size(header: bytes, size: int) -> bytes:
    return header + size.to_bytes(2, "big")


Protection = _Aead | _Cbc
"""What protects the records of one direction."""
