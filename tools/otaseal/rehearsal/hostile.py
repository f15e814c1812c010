"""What must never work, tried in one run: tampered images, strangers' keys, servers that pose or are broken.

Each case is a fault of its own against the virtual device, with authorities and keys that live for this run only. It is
refused with the device's own error, or the run has failed. Two cases a stock device accepts, for its signature covers
neither board nor age (F11): they are shown as what they are, and a device with the OtaSeal library must refuse them.

Where a fault needs a valid signature, the device has a throw-away public key in the place of the project's own.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ..chips.boot_image import MAGIC as RAW_MAGIC
from ..errors import InputError
from ..image import manifest, signed_image
from ..keys.public import load_public_key, public_pem
from ..simulator.device import Device, Outcome
from ..simulator.firmware import read
from ..simulator.report import Result
from .loopback import HOST, Loopback, Request, response
from .play import DEFAULT_HOST, Scene, stand_in
from .throwaway import StandIn, ThrowAwayKey, context_of

__all__ = ["CASES", "LIBRARY", "STOCK", "Case", "Row", "hostile"]

PATH = "/firmware.bin.signed"
STOCK, LIBRARY = "accepted (stock)", "accepted (library)"
YEARS_AGO = timedelta(days=800)
LOWER_SIZES = 0xF0
STEPS_OF_TLS = ("handshake", "certificate-chain")


@dataclass(frozen=True)
class Stage:
    """What a case is made of: the device of the scene, its twin that trusts `key`, and the authority both trust."""

    device: Device = field(repr=False)
    rekeyed: Device = field(repr=False)
    authority: StandIn
    key: ThrowAwayKey
    signed: bytes = field(repr=False)
    raw: bytes = field(repr=False)
    host: str = DEFAULT_HOST

    def served(self, body: bytes, device: Device | None = None) -> Outcome:
        """Return what the device makes of a sound server that gives out `body`."""
        return self.against(lambda _: _firmware(body), self.authority.context([self.host]), device)

    def against(
        self, answer: Callable[[Request], bytes], context: ssl.SSLContext | None, device: Device | None = None
    ) -> Outcome:
        """Return what the device makes of a server with this answer and this TLS; None is plain HTTP."""
        with Loopback(answer, context) as server:
            return (device or self.device).poll(f"https://{self.host}:{server.port}{PATH}", host=HOST)


@dataclass(frozen=True)
class Case:
    """One fault: what plays it, the `steps` at which the device may refuse it, and the `errors` it may report.

    `stock_accepts`: a device without the library takes it (F11). `library_accepts`: one with it does, and may.
    """

    name: str
    play: Callable[[Stage], Outcome]
    steps: tuple[str, ...]
    errors: tuple[int, ...]
    stock_accepts: bool = False
    library_accepts: bool = False


@dataclass(frozen=True)
class Row:
    """What became of a case; `verdict` is "refused", STOCK, LIBRARY, "NOT REFUSED" or "WRONG ERROR"."""

    name: str
    verdict: str
    step: str
    error: int
    reason: str
    fact: str

    @property
    def ok(self) -> bool:
        """Whether this is how it has to be."""
        return self.verdict in ("refused", STOCK, LIBRARY)


def hostile(scene: Scene) -> tuple[Row, ...]:
    """Play every case against the device of `scene`; raises InputError where it has no public key to be trusted."""
    stage = _stage(scene)
    return tuple(_judge(case, case.play(stage), stage) for case in CASES)


def _stage(scene: Scene) -> Stage:
    firmware = read(scene.device.running)
    if not firmware.keys:
        raise InputError(
            "the device's firmware carries no public key: it takes updates from anybody",
            "attach pre:.../verify_updates.py and build again",
        )
    own = load_public_key(firmware.keys[0], "the firmware's key")
    key = ThrowAwayKey.like(own)
    authority, device = stand_in(scene.device)
    rekeyed = replace(device, keys=(public_pem(key.public_key),))
    forms = [form.data for form in scene.candidate.forms]
    signed = next((form for form in forms if form[0] == RAW_MAGIC), forms[0])
    return Stage(device, rekeyed, authority, key, signed, scene.candidate.raw)


def _judge(case: Case, outcome: Outcome, stage: Stage) -> Row:
    failed = outcome.failed
    if failed is None:
        if case.stock_accepts and stage.device.identity is None:
            return Row(case.name, STOCK, "", 0, "a valid signature covers neither board nor age", "F11")
        if case.library_accepts and stage.device.identity is not None:
            return Row(case.name, LIBRARY, "", 0, "the build's time is the floor of its clock", "F25")
        return Row(case.name, "NOT REFUSED", "", 0, "the device took it", "")
    number = outcome.tls_error if failed.name in STEPS_OF_TLS and outcome.tls_error else failed.error
    right = not case.errors or bool({number, outcome.error, failed.error} & set(case.errors))
    expected = right and failed.name in case.steps and outcome.result is Result.REFUSED
    verdict = "refused" if expected else "WRONG ERROR"
    return Row(case.name, verdict, failed.name, number, failed.reason, failed.fact)


def _firmware(body: bytes) -> bytes:
    return response(200, (("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))), body)


def _tampered(stage: Stage) -> Outcome:
    at = len(stage.raw) // 2
    return stage.served(stage.signed[:at] + bytes([stage.signed[at] ^ 1]) + stage.signed[at + 1 :])


def _unsigned(stage: Stage) -> Outcome:
    return stage.served(stage.raw)


def _wrong_key(stage: Stage) -> Outcome:
    return stage.served(signed_image.sign(stage.raw, stage.key))


def _other_mode(stage: Stage) -> Outcome:
    mode = (stage.device.flash[2] + 1) % 4
    return stage.served(_signed(stage, stage.raw[:2] + bytes([mode]) + stage.raw[3:]), stage.rekeyed)


def _larger_flash(stage: Stage) -> Outcome:
    largest = bytes([stage.raw[3] & ~LOWER_SIZES | 0x90])
    return stage.served(_signed(stage, stage.raw[:3] + largest + stage.raw[4:]), stage.rekeyed)


def _other_board(stage: Stage) -> Outcome:
    return stage.served(_signed(stage, stage.raw, board="another_board"), stage.rekeyed)


def _downgrade(stage: Stage) -> Outcome:
    own = read(stage.device.running).identity
    counter = 0 if own is None else int.from_bytes(own[12:16], "little")
    if own is None or counter:
        return stage.served(_signed(stage, stage.raw, counter=max(0, counter - 1)), stage.rekeyed)
    raised = own[:12] + (1).to_bytes(4, "little") + own[16:]  # a device with counter 0 has none below it
    device = replace(stage.rekeyed, flash=stage.rekeyed.flash.replace(own, raised))
    return stage.served(_signed(stage, stage.raw, counter=0), device)


def _signed(stage: Stage, raw: bytes, board: str | None = None, counter: int | None = None) -> bytes:
    """Return `raw` as the product's build would sign it with the throw-away key, one field of the manifest changed."""
    own = read(stage.device.running).identity
    made = manifest.make(manifest.Claim("rehearsal", board or "", "0", counter or 0))
    if own is not None:
        theirs = manifest.parse(own, manifest.IDENTITY_MAGIC)
        made = replace(theirs, flash_mode=manifest.ANY_FLASH_MODE)
        made = made if counter is None else replace(made, counter=counter)
    if board is not None:
        made = replace(made, board=manifest.name_id(board))
    return signed_image.sign(manifest.attach(raw, made), stage.key)


def _wrong_name(stage: Stage) -> Outcome:
    return stage.against(lambda _: _firmware(stage.signed), stage.authority.context(["somebody-else.example"]))


def _expired(stage: Stage) -> Outcome:
    issued = stage.authority.issue([stage.host], stage.authority.now - YEARS_AGO)
    return stage.against(lambda _: _firmware(stage.signed), context_of(issued))


def _clock_at_1970(stage: Stage) -> Outcome:
    return stage.served(stage.signed, replace(stage.device, clock=None))


def _tls_1_3_only(stage: Stage) -> Outcome:
    context = stage.authority.context([stage.host])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return stage.against(lambda _: _firmware(stage.signed), context)


def _foreign_archive(stage: Stage) -> Outcome:
    stranger = StandIn.create(stage.authority.now)
    return stage.served(stage.signed, replace(stage.device, anchors=(stranger.root,)))


def _plain_http(stage: Stage) -> Outcome:
    return stage.against(lambda _: _firmware(stage.signed), None)


def _chunked(stage: Stage) -> Outcome:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(stage.signed), stage.signed)
    return _answered(stage, response(200, (("Transfer-Encoding", "chunked"),), body))


def _truncated(stage: Stage) -> Outcome:
    return _answered(stage, _firmware(stage.signed)[: -len(stage.signed) // 2])


def _portal(stage: Stage) -> Outcome:
    return _answered(stage, _firmware(b"<html><body>Please accept the terms of this network.</body></html>" * 40))


def _redirect(stage: Stage) -> Outcome:
    return _answered(stage, response(302, (("Location", "https://evil.example/"), ("Content-Length", "0"))))


def _faulty_md5(stage: Stage) -> Outcome:
    headers = (("Content-Length", str(len(stage.signed))), ("x-MD5", "0" * 31))
    return _answered(stage, response(200, headers, stage.signed))


def _answered(stage: Stage, answer: bytes) -> Outcome:
    return stage.against(lambda _: answer, stage.authority.context([stage.host]))


CASES: Sequence[Case] = (
    Case("tampered image", _tampered, ("signature",), (12,)),
    Case("unsigned image", _unsigned, ("signature", "manifest"), (12,)),
    Case("signed with a stranger's key", _wrong_key, ("signature", "manifest"), (12,)),
    Case("image for another flash mode", _other_mode, ("signature", "manifest"), (12,)),
    Case("image for a larger flash", _larger_flash, ("first-byte", "image"), (-107, 9)),
    Case("other board", _other_board, ("manifest",), (), stock_accepts=True),
    Case("downgrade", _downgrade, ("manifest",), (), stock_accepts=True),
    Case("certificate for another name", _wrong_name, STEPS_OF_TLS, (56,)),
    Case("expired server certificate", _expired, STEPS_OF_TLS, (54,)),
    Case("clock at 1970", _clock_at_1970, STEPS_OF_TLS, (54,), library_accepts=True),
    Case("archive of another project", _foreign_archive, STEPS_OF_TLS, (62,)),
    Case("TLS 1.3 only", _tls_1_3_only, ("handshake",), (256 + 70,)),
    Case("plain HTTP", _plain_http, ("handshake",), (3,)),
    Case("chunked answer", _chunked, ("answer",), (-101,)),
    Case("truncated body", _truncated, ("write",), (6,)),
    Case("x-MD5 that is none", _faulty_md5, ("answer",), (-105,)),
    Case("page of a captive portal", _portal, ("first-byte", "answer"), (-106,)),
    Case("redirect", _redirect, ("answer",), (-104,)),
)
