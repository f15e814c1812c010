"""Attacks that a device must refuse: tampered images, foreign keys, impostor and broken servers.

Each attack has one fault, and runs against the virtual device with an authority and a key made for the run. A stock
device accepts two of them, because its signature covers neither board nor age (F11); a device with the OtaSeal library
must refuse those, too. Where an attack needs a valid signature, the device trusts the run's key instead of the
project's.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ..errors import InputError
from ..image import manifest, signed_image
from ..image.gzip_payload import is_gzip
from ..keys.public import load_public_key, public_pem
from ..keys.signers import RsaSigner
from ..simulator.device import Device
from ..simulator.pico.chip import CHIPS, PAGE
from ..simulator.pico.device import PicoDevice
from ..simulator.report import Outcome, Result
from .loopback import HOST, Loopback, TemporaryAuthority, response
from .scenario import DEFAULT_HOST, Scenario, with_temporary_authority

PATH = "/firmware.bin.signed"
STOCK, LIBRARY = "accepted (stock)", "accepted (library)"
YEARS = timedelta(days=800)
LOWER_SIZES = 0xF0
TLS_STEPS = ("handshake", "certificate-chain")
STRANGER = "somebody-else.example"
PORTAL = b"<html><body>Please accept the terms of this network.</body></html>" * 40
REDIRECT = response(302, (("Location", "https://evil.example/"), ("Content-Length", "0")))


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
        return self.answered(_firmware(body), device)

    def answered(self, answer: bytes, device: Device | None = None) -> Outcome:
        """Return what the device makes of a server with sound TLS and this answer."""
        return self.against(self.authority.context(DEFAULT_HOST), answer, device)

    def against(
        self, context: ssl.SSLContext | None, answer: bytes | None = None, device: Device | None = None
    ) -> Outcome:
        """Return what the device makes of a server with this TLS, None for plain HTTP; it gives out the candidate."""
        content = _firmware(self.signed) if answer is None else answer
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


@dataclass(frozen=True)
class Row:
    """The result of an attack; `verdict` is "refused", STOCK, LIBRARY, "NOT REFUSED" or "WRONG ERROR"."""

    name: str
    verdict: str
    step: str = ""
    error: int = 0
    reason: str = ""
    fact: str = ""

    @property
    def ok(self) -> bool:
        """Whether the verdict is an expected one."""
        return self.verdict in ("refused", STOCK, LIBRARY)


def hostile(scenario: Scenario) -> tuple[Row, ...]:
    """Play every attack against the device of `scenario`; raises InputError where it has no public key to trust."""
    target = _target(scenario)
    attacks = PICO_ATTACKS if isinstance(scenario.device, PicoDevice) else ATTACKS
    return tuple(_judge(attack, attack.play(target), target) for attack in attacks)


def _target(scenario: Scenario) -> Target:
    from cryptography.hazmat.primitives.asymmetric import rsa

    firmware = scenario.device.firmware
    if not firmware.keys:
        raise InputError(
            "the device's firmware carries no public key: it takes updates from anybody",
            "attach pre:.../verify_updates.py and build again",
        )
    own = load_public_key(firmware.keys[0], "the firmware's key")
    key = RsaSigner(rsa.generate_private_key(public_exponent=65537, key_size=own.key_size))
    authority, device = with_temporary_authority(scenario.device)
    rekeyed = replace(device, keys=(public_pem(key.public_key),))
    forms = scenario.candidate.forms
    signed = next((form.data for form in forms if not is_gzip(form.data)), forms[0].data)
    return Target(device, rekeyed, authority, key, signed=signed, raw=scenario.candidate.raw)


def _judge(attack: Attack, outcome: Outcome, target: Target) -> Row:
    failed = outcome.failed
    if attack.stock_accepts and outcome.result is Result.BRICKED and failed and target.device.identity is None:
        return Row(attack.name, STOCK, failed.name, reason=failed.reason, fact=failed.fact)
    if failed is None:
        if attack.stock_accepts and target.device.identity is None:
            return Row(attack.name, STOCK, reason="a valid signature covers neither board nor age", fact="F11")
        if attack.library_accepts and target.device.identity is not None:
            return Row(attack.name, LIBRARY, reason="the build's time is the floor of its clock", fact="F25")
        return Row(attack.name, "NOT REFUSED", reason="the device took it")
    number = outcome.tls_error if failed.name in TLS_STEPS and outcome.tls_error else failed.error
    right = not attack.errors or bool({number, outcome.error, failed.error} & set(attack.errors))
    expected = right and failed.name in attack.steps and outcome.result is Result.REFUSED
    return Row(
        attack.name, "refused" if expected else "WRONG ERROR", failed.name, number, failed.reason, fact=failed.fact
    )


def _firmware(body: bytes) -> bytes:
    return response(200, (("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))), body)


def _tampered(target: Target) -> Outcome:
    at = len(target.raw) // 2
    return target.served(target.signed[:at] + bytes([target.signed[at] ^ 1]) + target.signed[at + 1 :])


def _other_mode(target: Target) -> Outcome:
    mode = (target.device.flash[2] + 1) % 4
    return target.served(target.sign(target.raw[:2] + bytes([mode]) + target.raw[3:]), target.rekeyed)


def _larger_flash(target: Target) -> Outcome:
    largest = bytes([target.raw[3] & ~LOWER_SIZES | 0x90])
    return target.served(target.sign(target.raw[:3] + largest + target.raw[4:]), target.rekeyed)


def _other_chip(target: Target) -> Outcome:
    """Give out an image that the device's boot ROM does not know, signed for another board as such a build would be."""
    assert isinstance(target.device, PicoDevice)
    other = next(chip.name for name, chip in CHIPS.items() if name != target.device.chip.name)
    start = bytes(PAGE)  # neither boot stage 2 nor a block: what it is to each of the two chips
    return target.served(target.sign(start + target.raw[PAGE:], board=f"{other}_board"), target.rekeyed)


def _other_board(target: Target) -> Outcome:
    return target.served(target.sign(target.raw, board="another_board"), target.rekeyed)


def _clock_at_1970(target: Target) -> Outcome:
    return target.served(target.signed, replace(target.device, clock=None))


def _downgrade(target: Target) -> Outcome:
    own = target.device.firmware.identity
    counter = 0 if own is None else int.from_bytes(own[12:16], "little")
    if own is None or counter:
        return target.served(target.sign(target.raw, counter=max(0, counter - 1)), target.rekeyed)
    raised = own[:12] + (1).to_bytes(4, "little") + own[16:]  # a device with counter 0 has none below it
    device = replace(target.rekeyed, flash=target.rekeyed.flash.replace(own, raised))
    return target.served(target.sign(target.raw, counter=0), device)


def _tls_1_3_only(target: Target) -> Outcome:
    context = target.authority.context(DEFAULT_HOST)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return target.against(context)


def _chunked(target: Target) -> Outcome:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(target.signed), target.signed)
    return target.answered(response(200, (("Transfer-Encoding", "chunked"),), body))


def _faulty_md5(target: Target) -> Outcome:
    headers = (("Content-Length", str(len(target.signed))), ("x-MD5", "0" * 31))
    return target.answered(response(200, headers, target.signed))


def _foreign_archive(target: Target) -> Outcome:
    stranger = TemporaryAuthority.create(target.authority.now)
    return target.served(target.signed, replace(target.device, anchors=(stranger.root,)))


SIGNATURE, MANIFEST, ANSWER = ("signature", "manifest"), ("manifest",), ("answer",)
ATTACKS: Sequence[Attack] = (
    Attack("tampered image", _tampered, ("signature",), (12,)),
    Attack("unsigned image", lambda t: t.served(t.raw), SIGNATURE, (12,)),
    Attack("signed with a stranger's key", lambda t: t.served(signed_image.sign(t.raw, t.key)), SIGNATURE, (12,)),
    Attack("image for another flash mode", _other_mode, SIGNATURE, (12,)),
    Attack("image for a larger flash", _larger_flash, ("first-byte", "image"), (-107, 9)),
    Attack("other board", _other_board, MANIFEST, (), stock_accepts=True),
    Attack("downgrade", _downgrade, MANIFEST, (), stock_accepts=True),
    Attack("certificate for another name", lambda t: t.against(t.authority.context(STRANGER)), TLS_STEPS, (56,)),
    Attack(
        "expired server certificate",
        lambda t: t.against(t.authority.context(DEFAULT_HOST, YEARS)),
        TLS_STEPS,
        (54,),
    ),
    Attack("clock at 1970", _clock_at_1970, TLS_STEPS, (54,), library_accepts=True),
    Attack("archive of another project", _foreign_archive, TLS_STEPS, (62,)),
    Attack("TLS 1.3 only", _tls_1_3_only, ("handshake",), (256 + 70,)),
    Attack("plain HTTP", lambda t: t.against(None), ("handshake",), (3,)),
    Attack("chunked answer", _chunked, ANSWER, (-101,)),
    Attack("truncated body", lambda t: t.answered(_firmware(t.signed)[: -len(t.signed) // 2]), ("write",), (6,)),
    Attack("x-MD5 that is none", _faulty_md5, ANSWER, (-105,)),
    Attack("page of a captive portal", lambda t: t.served(PORTAL), ("first-byte", "answer"), (-106,)),
    Attack("redirect", lambda t: t.answered(REDIRECT), ANSWER, (-104,)),
)
ESP8266_ONLY = ("image for another flash mode", "image for a larger flash", "page of a captive portal")
PICO_ATTACKS: Sequence[Attack] = (
    *(attack for attack in ATTACKS if attack.name not in ESP8266_ONLY),
    Attack("image of another chip", _other_chip, MANIFEST, (), stock_accepts=True),
    Attack("page of a captive portal", lambda t: t.served(PORTAL), ("signature",), (12,)),
)
"""No byte of an image is looked at there, so that the signature has to refuse what the ESP8266 sees at once (F56)."""
