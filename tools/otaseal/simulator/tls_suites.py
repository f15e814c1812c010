"""The cipher suites of the device's hello, and TLS 1.2's arithmetic: PRF, key block, record protection.

The order is the core's (WiFiClientSecureBearSSL.cpp). Suites with static ECDH or 3DES stand in the hello because the
device sends them; a server that picks one of those is not played.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from .error_numbers import TlsError

__all__ = ["SUITES", "Keys", "Protection", "Suite", "TlsStop", "derive", "prf", "protection"]


class TlsStop(Exception):
    """BearSSL stops here with `error`, a number of `codes`; 0 is no error of its own: the connection has ended."""

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
    prf_hash: str = "sha256"
    mac: str = ""

    @property
    def fixed_iv(self) -> int:
        """Bytes of the key block that begin each nonce."""
        return {"CHACHA20": 12, "CBC": 0}.get(self.cipher, 4)

    @property
    def mac_size(self) -> int:
        """Bytes of the MAC's key, and of the MAC."""
        return hashlib.new(self.mac).digest_size if self.mac else 0


_ORDER = (
    *(0xCCA9, 0xCCA8, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xC0AC, 0xC0AD, 0xC0AE, 0xC0AF, 0xC023, 0xC027, 0xC024, 0xC028),
    *(0xC009, 0xC013, 0xC00A, 0xC014, 0xC02D, 0xC031, 0xC02E, 0xC032, 0xC025, 0xC029, 0xC026, 0xC02A, 0xC004, 0xC00E),
    *(0xC005, 0xC00F, 0x009C, 0x009D, 0xC09C, 0xC09D, 0xC0A0, 0xC0A1, 0x003C, 0x003D, 0x002F, 0x0035, 0xC008, 0xC012),
    *(0xC003, 0xC00D, 0x000A),
)


def _suite(name: str) -> Suite:
    exchange, cipher = name.split("-WITH-")
    method, _, signer = exchange.partition("-")
    parts = cipher.split("-")
    size = 32 if parts[0] == "CHACHA20" else int(parts[1]) // 8
    kind = "CHACHA20" if parts[0] == "CHACHA20" else parts[2]
    last = parts[-1].lower()
    mac = {"sha": "sha1"}.get(last, last) if kind == "CBC" else ""
    return Suite(name, method, signer or "RSA", kind, size, "sha384" if last == "sha384" else "sha256", mac)


_PLAYED = {
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
}
SUITES: Mapping[int, Suite | None] = MappingProxyType(
    {number: _suite(_PLAYED[number]) if number in _PLAYED else None for number in _ORDER}
)
"""Every suite that the device offers, in its order; None for one that is not played here."""


@dataclass(frozen=True)
class Keys:
    """One direction's part of the key block."""

    mac: bytes
    key: bytes
    iv: bytes


class Protection(Protocol):
    """What protects the records of one direction."""

    def seal(self, header: bytes, data: bytes) -> bytes:
        """Return the content of a record; `header` is sequence number, type and version (11 bytes)."""

    def open(self, header: bytes, data: bytes) -> bytes:
        """Return what was sealed; raises TlsStop (BAD_MAC, BAD_LENGTH) for what was not."""


def prf(name: str, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """Return `size` bytes of TLS 1.2's pseudo-random function over the hash `name` (RFC 5246, 5)."""
    out, block = b"", label + seed
    while len(out) < size:
        block = hmac.digest(secret, block, name)
        out += hmac.digest(secret, block + label + seed, name)
    return out[:size]


def derive(suite: Suite, master: bytes, client_random: bytes, server_random: bytes) -> tuple[Keys, Keys]:
    """Return the client's keys and the server's."""
    sizes = [suite.mac_size, suite.mac_size, suite.key_size, suite.key_size, suite.fixed_iv, suite.fixed_iv]
    block = prf(suite.prf_hash, master, b"key expansion", server_random + client_random, sum(sizes))
    parts = []
    for size in sizes:
        parts.append(block[:size])
        block = block[size:]
    return Keys(*parts[0::2]), Keys(*parts[1::2])


def protection(suite: Suite, keys: Keys) -> Protection:
    """Return what seals and opens records with these keys."""
    return _Cbc(keys, suite.mac) if suite.mac else _Aead(keys, suite.cipher)


class _Aead:
    def __init__(self, keys: Keys, cipher: str) -> None:
        from cryptography.hazmat.primitives.ciphers import aead

        self._iv, self._explicit = keys.iv, cipher != "CHACHA20"
        self._tag = 8 if cipher == "CCM8" else 16
        made: Any
        if cipher == "CHACHA20":
            made = aead.ChaCha20Poly1305(keys.key)
        else:
            made = aead.AESGCM(keys.key) if cipher == "GCM" else aead.AESCCM(keys.key, tag_length=self._tag)
        self._cipher = made

    def seal(self, header: bytes, data: bytes) -> bytes:
        explicit = header[:8] if self._explicit else b""
        extra = header + len(data).to_bytes(2, "big")
        sealed: bytes = self._cipher.encrypt(self._nonce(header, explicit), data, extra)
        return explicit + sealed

    def open(self, header: bytes, data: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        explicit, sealed = (data[:8], data[8:]) if self._explicit else (b"", data)
        size = len(sealed) - self._tag
        if size < 0:
            raise TlsStop(TlsError.BAD_LENGTH)
        try:
            opened: bytes = self._cipher.decrypt(
                self._nonce(header, explicit), sealed, header + size.to_bytes(2, "big")
            )
        except InvalidTag as error:
            raise TlsStop(TlsError.BAD_MAC) from error
        return opened

    def _nonce(self, header: bytes, explicit: bytes) -> bytes:
        if self._explicit:
            return self._iv + explicit
        number = bytes(4) + header[:8]
        return bytes(a ^ b for a, b in zip(self._iv, number, strict=True))


class _Cbc:
    def __init__(self, keys: Keys, mac: str) -> None:
        self._keys, self._mac = keys, mac
        self._size = hashlib.new(mac).digest_size

    def seal(self, header: bytes, data: bytes) -> bytes:
        iv = secrets.token_bytes(16)
        body = data + self._code(header, data)
        filling = 15 - len(body) % 16
        encryptor = self._cipher(iv).encryptor()
        return iv + bytes(encryptor.update(body + bytes([filling] * (filling + 1))) + encryptor.finalize())

    def open(self, header: bytes, data: bytes) -> bytes:
        if len(data) < 32 + self._size // 16 * 16 or len(data) % 16:
            raise TlsStop(TlsError.BAD_LENGTH)
        decryptor = self._cipher(data[:16]).decryptor()
        plain = bytes(decryptor.update(data[16:]) + decryptor.finalize())
        filling = plain[-1]
        end = len(plain) - filling - 1 - self._size
        good = end >= 0 and plain[-filling - 1 :] == bytes([filling] * (filling + 1))
        if not good or not hmac.compare_digest(plain[end : end + self._size], self._code(header, plain[:end])):
            raise TlsStop(TlsError.BAD_MAC)
        return plain[:end]

    def _code(self, header: bytes, data: bytes) -> bytes:
        return hmac.digest(self._keys.mac, header + len(data).to_bytes(2, "big") + data, self._mac)

    def _cipher(self, iv: bytes) -> Any:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        return Cipher(algorithms.AES(self._keys.key), modes.CBC(iv))
