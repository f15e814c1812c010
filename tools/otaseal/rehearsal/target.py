"""What is attacked, and what an attack is: one fault, and where a device may refuse it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..image import manifest, signed_image
from ..keys.signers import RsaSigner
from ..simulator.device import Device
from ..simulator.report import Outcome
from .loopback import HOST, Loopback, TemporaryAuthority, response
from .scenario import DEFAULT_HOST

PATH = "/firmware.bin.signed"


def firmware(body: bytes) -> bytes:
    """Return a sound response that gives out `body`."""
    return response(200, (("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))), body)


@dataclass(frozen=True)
class Target:
    """What is attacked: the device of the scenario, its twin that trusts `key`, and the authority both trust.

    `signed` is the candidate as it is given out, `raw` its image.
    """

    device: Device = field(repr=False)
    rekeyed: Device = field(repr=False)
    authority: TemporaryAuthority
    key: RsaSigner
    signed: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    def served(self, body: bytes, device: Device | None = None) -> Outcome:
        """Return what the device makes of a sound server that gives out `body`."""
        return self.answered(firmware(body), device)

    def answered(self, answer: bytes, device: Device | None = None) -> Outcome:
        """Return what the device makes of a server with sound TLS and this answer."""
        return self.against(self.authority.context(DEFAULT_HOST), answer, device)

    def against(
        self, context: ssl.SSLContext | None, answer: bytes | None = None, device: Device | None = None
    ) -> Outcome:
        """Return what the device makes of a server with this TLS, None for plain HTTP; it gives out the candidate."""
        content = firmware(self.signed) if answer is None else answer
        with Loopback(lambda _: content, context) as server:
            return (device or self.device).poll(f"https://{DEFAULT_HOST}:{server.port}{PATH}", host=HOST)

    def sign(self, raw: bytes, board: str | None = None, counter: int | None = None) -> bytes:
        """Return `raw` as the product's build would sign it with the throw-away key, with this board and counter."""
        own = self.device.firmware.identity
        claims = manifest.make(manifest.Claim("rehearsal", board or "", "0", counter or 0))
        if own is not None:
            claims = replace(manifest.parse(own, manifest.IDENTITY_MAGIC), flash_mode=manifest.ANY_FLASH_MODE)
            claims = claims if counter is None else replace(claims, counter=counter)
        if board is not None:
            claims = replace(claims, board=manifest.name_id(board))
        return signed_image.sign(manifest.attach(raw, claims), self.key)


@dataclass(frozen=True)
class Attack:
    """One fault: what plays it, the `steps` at which the device may refuse it, and the `errors` it may report.

    `stock_accepts`: a device without the library takes it (F11). `library_accepts`: one with it does, and may.
    """

    name: str
    play: Callable[[Target], Outcome]
    steps: tuple[str, ...]
    errors: tuple[int, ...]
    stock_accepts: bool = False
    library_accepts: bool = False
