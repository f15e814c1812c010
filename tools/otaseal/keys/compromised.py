"""Keys whose private half anyone can download: example and test keys, known by the SHA-256 of their SPKI encoding.

Pure. They are in here because tutorials have people copy them: firmware that trusts one takes updates from everybody.
Each line was computed from the public half of the file that it names; no key is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import KeyRefusedError
from .public import NEW_KEY_HINT, fingerprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_CORE = "the esp8266/Arduino examples"
_MCUBOOT = "the mcu-tools/mcuboot repository"
_BLOG = "the buermarc/iot-blog-posts tutorials"

KNOWN_KEYS: Mapping[str, str] = {
    # signing keys of examples
    "e7943f0688e637dd9f36442bc0ed7fc4aaeedbce639d3fede907adb719dfe39c": (
        f"{_CORE} and those of arduino-pico (httpUpdateSigned, SignedOTA)"
    ),
    "a90c6cf89a119a490f2f02773c0cb491e2a6432a00cccba63771584843323a56": f"{_BLOG} (signing-ota)",
    "a14bcb1bf9bb821146ba32838217e476f5412621320534ffe490a1890c994660": f"{_MCUBOOT} (root-rsa-2048.pem)",
    "159d8b7930769d887f3ff0b4e9ec176b82313663f2ef76dc24f5e964da1bc482": f"{_MCUBOOT} (root-rsa-3072.pem)",
    "95ac5d264689fa25b14a87a9bc950abfb1a77e5e628e7b13b5f1940c9a1c65b8": f"{_MCUBOOT} (enc-rsa2048-priv.pem)",
    "cf2f67a6aee012de5a8e82a9d9e9f6bf4923f9f367fe6c03fe844a251a7b3e55": f"{_MCUBOOT} (bad-rsa-2048.pem)",
    "54674c34090b98739e4bb93ab182c4e099ce378410b4ebe6dd5922b064779511": f"{_MCUBOOT} (testplan/mynewt/key_rsa.pem)",
    "f82d91d0193c6557517b7762f1a334abc4d4709ef1eb77b51e42f71c2a55fc6c": f"{_MCUBOOT} (testplan/mynewt/key_rsa_2.pem)",
    # TLS keys of examples, which lie at hand where a signing key is looked for
    "b6e6467c057377807276fca1fa641a3a0f16ff9335dfbb449784412b7ee952bf": f"{_CORE} (BearSSL_ServerClientCert, CA)",
    "652dc284e7bfe9d33080045fc01db0fa1330fc2035c389fd3d5a4cecc7a12e4a": f"{_CORE} (BearSSL_ServerClientCert, server)",
    "8700ec87dece6ec99657e8231e5bb42c15b75c74b145e9cd0fe86fd3d6028c68": f"{_CORE} (BearSSL_ServerClientCert, client)",
    "f5c33fc0c4626817a36d411a171625b87d2b75fe403b02f9eae93417f8fddc91": f"{_CORE} (BearSSL_Server)",
    "f2968de4c8db1251bb416fc0e0708b82da1802767e03e35d71ad3d36abc1dc13": f"{_CORE} (HelloServerBearSSL)",
    "5fcffbb2b6f47e6fedfdc34af4a2be935eb9a2d0909ec4c482971bee28c08b98": (
        "the esp8266/Arduino device tests (test_sw_http_client)"
    ),
    "22130314b9f8c7be1b49ebbc905237dc47ed4608f52676f049233a47f6418a14": f"{_BLOG} (tls-mqtt, server)",
    "586ff44235d6f664f055ef350c2571fca3c2435c62da5f39467aa3e9ccd1b1cd": f"{_BLOG} (tls-mqtt, client)",
    # standard test keys
    "8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878": "RFC 9500 (testRSA2048)",
    "96465ea5dc9bb2da7b351d808a7196e5761f2412a5040131c68d719aaba28fb9": "RFC 9500 (testRSA4096)",
}
"""Hex digest over the SubjectPublicKeyInfo, and where the private key is published."""


def refuse(key: RSAPublicKey, what: str, known: Mapping[str, str] = KNOWN_KEYS) -> None:
    """Raise KeyRefusedError if the private half of `key` is public; `what` names the key in the message."""
    source = known.get(fingerprint(key).removeprefix("SHA256:"))
    if source is not None:
        raise KeyRefusedError(f"{what} is publicly known: its private half is in {source}", NEW_KEY_HINT)
