"""Attacks that a device must refuse: tampered images, foreign keys, impostor and broken servers.

Each attack has one fault, and runs against the virtual device with an authority and a key made for the run. A stock
device accepts two of them, because its signature covers neither board nor age (F11); a device with the OtaSeal library
must refuse those, too. A stock ESP32 takes all that its boot loader would start. Where an attack needs a valid
signature, the device trusts the run's key instead of the project's.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec

from ..errors import InputError
from ..image import signed_image
from ..image.gzip_payload import is_gzip
from ..keys.public import load_public_key, public_pem
from ..keys.signers import RsaSigner
from ..simulator.device import Device
from ..simulator.esp32.device import Esp32Device
from ..simulator.pico.chip import CHIPS, PAGE
from ..simulator.pico.device import PicoDevice
from ..simulator.report import Outcome, Result
from . import patches
from .esp32_attacks import REPLACED, downgrade
from .esp32_attacks import ROWS as ESP32_ROWS
from .loopback import TemporaryAuthority, response
from .scenario import DEFAULT_HOST, Scenario, with_temporary_authority
from .target import Attack, Target, firmware

STOCK, LIBRARY = "accepted (stock)", "accepted (library)"
UNCOVERED = ("a valid signature covers neither board nor age", "F11")
UNVERIFIED = ("nothing in this firmware verifies an update: its chip starts whatever is whole", "F46")
UNVERIFIED_BITS = 2048
YEARS = timedelta(days=800)
LOWER_SIZES = 0xF0
TLS_STEPS = ("handshake", "certificate-chain")
STRANGER = "somebody-else.example"
PORTAL = b"<html><body>Please accept the terms of this network.</body></html>" * 40
REDIRECT = response(302, (("Location", "https://evil.example/"), ("Content-Length", "0")))


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
    return tuple(_judge(attack, attack.play(target), target) for attack in _attacks(scenario.device))


def _attacks(device: Device) -> Sequence[Attack]:
    """Return the attacks on such a device."""
    rows = ESP32_ATTACKS if isinstance(device, Esp32Device) else ATTACKS
    rows = PICO_ATTACKS if isinstance(device, PicoDevice) else rows
    return (*rows, *PATCH_ATTACKS) if device.takes_patches and find_spec("bsdiff4") else rows


def _target(scenario: Scenario) -> Target:
    from cryptography.hazmat.primitives.asymmetric import rsa

    keys, unverified = scenario.device.verifying_keys, _verifies_nothing(scenario.device)
    if not keys and not unverified:
        raise InputError(
            "the device's firmware carries no public key: it takes updates from anybody",
            "attach pre:.../verify_updates.py and build again",
        )
    size = load_public_key(keys[0], "the firmware's key").key_size if keys else UNVERIFIED_BITS
    key = RsaSigner(rsa.generate_private_key(public_exponent=65537, key_size=size))
    authority, device = with_temporary_authority(scenario.device)
    rekeyed = replace(device, keys=(public_pem(key.public_key),))
    forms = scenario.candidate.forms
    signed = next((form.data for form in forms if not is_gzip(form.data)), forms[0].data)
    return Target(device, rekeyed, authority, key, signed=signed, raw=scenario.candidate.raw)


def _verifies_nothing(device: Device) -> bool:
    """Tell whether nothing in the device looks at a signature: an ESP32 without the library (F46)."""
    return isinstance(device, Esp32Device) and device.identity is None


def _judge(attack: Attack, outcome: Outcome, target: Target) -> Row:
    failed = outcome.failed
    if attack.stock_accepts and outcome.result is Result.BRICKED and failed and target.device.identity is None:
        return Row(attack.name, STOCK, failed.name, reason=failed.reason, fact=failed.fact)
    if failed is None:
        if attack.stock_accepts and target.device.identity is None:
            reason, fact = UNVERIFIED if _verifies_nothing(target.device) else UNCOVERED
            return Row(attack.name, STOCK, reason=reason, fact=fact)
        if attack.library_accepts and target.device.identity is not None:
            return Row(attack.name, LIBRARY, reason="the build's time is the floor of its clock", fact="F25")
        return Row(attack.name, "NOT REFUSED", reason="the device took it")
    number = outcome.tls_error if failed.name in TLS_STEPS and outcome.tls_error else failed.error
    right = not attack.errors or bool({number, outcome.error, failed.error} & set(attack.errors))
    expected = right and failed.name in attack.steps and outcome.result is Result.REFUSED
    return Row(
        attack.name, "refused" if expected else "WRONG ERROR", failed.name, number, failed.reason, fact=failed.fact
    )


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
    if isinstance(target.device, Esp32Device):
        return downgrade(target)
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


def _patch(target: Target, base: bytes) -> bytes:
    return patches.made(base, target.signed)


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
    Attack("truncated body", lambda t: t.answered(firmware(t.signed)[: -len(t.signed) // 2]), ("write",), (6,)),
    Attack("x-MD5 that is none", _faulty_md5, ANSWER, (-105,)),
    Attack("page of a captive portal", lambda t: t.served(PORTAL), ("first-byte", "answer"), (-106,)),
    Attack("redirect", lambda t: t.answered(REDIRECT), ANSWER, (-104,)),
)
PATCH_ATTACKS: Sequence[Attack] = (
    Attack("damaged patch", lambda t: t.served(_patch(t, t.device.sketch)[:-1]), ("patch",), (61,)),
    Attack("patch of other firmware", lambda t: t.served(_patch(t, t.device.sketch[:-1])), ("patch",), (60,)),
)
"""On a device that says that it takes patches."""
ESP8266_ONLY = ("image for another flash mode", "image for a larger flash", "page of a captive portal")
PICO_ATTACKS: Sequence[Attack] = (
    *(attack for attack in ATTACKS if attack.name not in ESP8266_ONLY),
    Attack("image of another chip", _other_chip, MANIFEST, (), stock_accepts=True),
    Attack("page of a captive portal", lambda t: t.served(PORTAL), ("signature",), (12,)),
)
"""No byte of an image is looked at there, so that the signature has to refuse what the ESP8266 sees at once (F56)."""
ESP32_ATTACKS: Sequence[Attack] = (*(attack for attack in ATTACKS if attack.name not in REPLACED), *ESP32_ROWS)
"""The library refuses by its own numbers, the boot loader's check by the updater's; TLS 1.3 is no fault there (F89)."""
