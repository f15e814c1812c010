"""Devices in the field with the stock core: what each trusts is read out of its own flash, and nothing else decides.

A device is the firmware it runs and the archive in its filesystem. The public key comes out of the firmware's bytes, as
the core reads it (F5); whether an update is taken is the virtual device's word (held against BearSSL elsewhere);
the anchors are those that a device finds in `certs.ar`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import certstore
from otaseal.certs.pem import Source
from otaseal.chips import esp8266
from otaseal.chips.boot_image import FlashMode
from otaseal.image import gzip_payload, signed_image
from otaseal.keys.public import load_public_key, public_pem
from otaseal.pki.chain import Stack
from otaseal.pki.check import predict
from otaseal.simulator.verdict import StockDevice, Verdict, judge_on

BEGIN, END = b"-----BEGIN PUBLIC KEY-----", b"\0"


def packed(roots: Sequence[bytes], now: datetime) -> bytes:
    """Return the archive with `roots` (DER) as the build packs them."""
    return certstore.pack([Source(f"root-{number}", der) for number, der in enumerate(roots)], now).archive


@dataclass(frozen=True)
class Device:
    """A device with the core that its firmware was built for; `firmware` is the image that runs, raw."""

    firmware: bytes
    archive: bytes = b""

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """The key that the firmware carries: the one in it, up to its zero."""
        start = self.firmware.index(BEGIN)
        assert self.firmware.count(BEGIN) == 1
        return load_public_key(self.firmware[start : self.firmware.index(END, start)], "the device's key")

    def judge(self, update: bytes) -> Verdict:
        """Return what becomes of `update`, the file as it is served."""
        running = esp8266.parse(self.firmware)
        assert running.core_release is not None
        mode = running.flash_mode if running.flash_mode is not None else FlashMode.DIO
        return judge_on(StockDevice(running.core_release, public_pem(self.public_key), mode), update)

    def offered(self, update: bytes) -> Device:
        """Return the device after `update`, which it has to take; the filesystem stays as it is."""
        outcome = self.judge(update)
        assert outcome.accepted, outcome
        assert outcome.boots, outcome
        payload = signed_image.parse(update).payload
        raw = gzip_payload.parse(payload).content if gzip_payload.is_gzip(payload) else payload
        return replace(self, firmware=raw)

    def refuses(self, update: bytes) -> int | None:
        """Return the updater's error number, None if the device takes `update`."""
        return self.judge(update).error or None

    def anchors(self, now: datetime) -> tuple[bytes, ...]:
        """Return the certificates (DER) that the device finds in its archive."""
        return tuple(anchor.der for anchor in certstore.check(self.archive, now).anchors)

    def trusts(self, chain: Sequence[bytes], name: str, now: datetime) -> bool:
        """Tell whether the device's TLS accepts a server's `chain` (DER, leaf first), as `pki check` predicts."""
        return predict(chain, self.anchors(now), name, now)[Stack.BEARSSL].accepted
