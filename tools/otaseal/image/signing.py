"""From the build's `firmware.bin` to what is published: the checks and the order that a device's update depends on.

Pure. Compression comes first, then the padding of a gzip inside its header (F8), then the signature; and nothing is
returned that the stock core it was built for would refuse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..chips import esp8266, file_kinds, images
from ..chips.esp8266 import Esp8266Image
from ..chips.esp8266_cores import NEWEST, OLDEST_SIGNED
from ..chips.images import Image
from ..chips.pico import PicoImage
from ..errors import InputError, KeyRefusedError, VerificationError
from ..keys.public import fingerprint, public_pem
from . import gzip_payload, manifest, signed_image
from .firmware import Firmware, check_payload
from .manifest import Claim
from .signing_header import embedded_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..keys.signers import Signer
    from ..simulator.trailer import AssumedKey
    from ..simulator.verdict import StockDevice, Verdict

HINTS = {"F3": f"build it with core {OLDEST_SIGNED} or newer"}
INSPECT = "sign what the build made: otaseal inspect shows what each core does with a file"


def sign_firmware(
    firmware: Firmware,
    signer: Signer,
    *,
    embeds_key: bool,
    next_key: RSAPublicKey | None = None,
    claim: Claim | None = None,
) -> Firmware:
    """Return the unsigned `firmware`, raw or gzip, signed for stock devices and verified as they do (F1-F11).

    With `embeds_key` the image must contain the signer's public key, so that the device it runs on accepts the next
    update; or `next_key`, which signs from then on. With a `claim` its manifest is signed, too. Raises InputError for
    an image that is not fit to be signed, KeyRefusedError for a next key that is the signer's own, VerificationError
    when a device would refuse.
    """
    if next_key is not None:
        check_next_key(next_key, signer.public_key)
    check_payload(firmware)
    parsed = firmware.image
    _refuse_merged(parsed)
    _refuse_damaged(parsed)
    _refuse_stranding(parsed)
    if firmware.member is not None:
        _refuse_gzip(firmware)
    if embeds_key:
        check_embedded_key(firmware, signer.public_key, next_key)
    attached = None if claim is None else manifest.make(claim, parsed.flash_mode)
    payload = firmware.payload_with(attached)
    names = () if claim is None else (claim.product, claim.board)
    manifest.check_identity(firmware.identity, attached or firmware.manifest, names)
    signed = signed_image.sign(payload, signer)
    _judge_as_device(signed, firmware, signer.public_key)
    return Firmware(signed)


def compress(firmware: Firmware, method: str) -> Firmware:
    """Return the unsigned `firmware`, which is raw, as a gzip that devices start from once it is signed (F8, F8b).

    `method` is one of `gzip_payload.METHODS`. Raises InputError for an image whose core cannot take it, or does not say
    which core it is; ModuleNotFoundError where the method's package is not installed.
    """
    if gzip_payload.is_gzip(firmware.payload):
        raise InputError("the firmware is a gzip already", "compress either here or with board_build.gzip_fw, not both")
    _refuse_gzip(firmware)
    return Firmware(gzip_payload.compress(firmware.raw, method), signed=False)


def verify_firmware(signed: Firmware, key: RSAPublicKey) -> bytes:
    """Return the payload of `signed` if a stock device with `key` takes it and starts it (F1-F11).

    The device is one of the core release, flash mode and flash size that the image was built for. Raises InputError
    when `signed` is not a signed image, VerificationError when the signature does not hold or the device would refuse.
    """
    try:
        trailer = signed.trailer
    except InputError as error:
        kind = file_kinds.recognize(signed.data)
        raise error if kind is None else kind.error() from error
    signed_image.check_signature(trailer, key)
    check_runs(signed, key)
    return trailer.payload


def check_runs(signed: Firmware, key: RSAPublicKey) -> None:
    """Raise as `verify_firmware` unless a stock device with `key` starts `signed`, whose signature was verified."""
    _judge_as_device(signed.data, signed, key)
    _refuse_merged(signed.image)
    _refuse_stranding(signed.image)
    _refuse_damaged(signed.image)


def missing_space(size: int, firmware: Firmware, fs_start: int) -> int:
    """Return how many bytes a device that runs `firmware` lacks to take a signed update of `size` bytes (F10).

    `fs_start` is the filesystem's offset in flash. Zero or less: it fits.
    """
    return sum(map(esp8266.sectors, (firmware.image.sketch_size, size))) - fs_start


def check_next_key(next_key: RSAPublicKey, current: RSAPublicKey) -> None:
    """Raise KeyRefusedError if `next_key`, which a bridge release is to carry, is the `current` one."""
    if fingerprint(next_key) == fingerprint(current):
        raise KeyRefusedError(
            f"the next public key {fingerprint(next_key)} is the current one",
            "remove custom_otaseal_next_public_key once the key is switched, or name the other key's .pub file",
        )


def check_embedded_key(firmware: Firmware, key: RSAPublicKey, next_key: RSAPublicKey | None = None) -> None:
    """Raise VerificationError unless the image of `firmware` carries `key` in the form the core reads (F5).

    With `next_key` it has to carry that one instead: a stock device holds a single key. One with the OtaSeal library
    holds both, and its image has to carry both.
    """
    raw = firmware.raw
    carries_next = embedded_key(next_key or key) in raw
    if carries_next and next_key is not None and firmware.identity is not None and embedded_key(key) not in raw:
        raise VerificationError(
            f"the firmware has the OtaSeal library and the next key, and not its own public key {fingerprint(key)}",
            "build it again, with verify_updates.py: the library holds both keys",
        )
    if carries_next:
        return
    if next_key is not None:
        raise VerificationError(
            f"the firmware does not contain the next public key {fingerprint(next_key)}",
            "it is not a bridge release: build it with verify_updates.py and custom_otaseal_next_public_key",
        )
    if b"-----BEGIN PUBLIC KEY-----" in raw:
        raise VerificationError(
            f"the firmware carries another public key than {fingerprint(key)}, with which it is signed",
            "give custom_otaseal_public_key and custom_otaseal_signing_key of one pair: devices with this firmware "
            "would refuse every update",
        )
    raise VerificationError(
        f"the firmware does not contain the public key {fingerprint(key)}",
        "it cannot verify updates: use the OtaSeal library in the sketch, or, where the core verifies, Update or what "
        "stands on it, as ArduinoOTA; or leave out verify_updates.py",
    )


def belongs_to(signed: Firmware, firmware: Firmware) -> bool:
    """Tell whether `signed` is a signed form of the build's unsigned `firmware`, whatever its manifest says.

    A gzip that holds `firmware` is one. The signature itself is not looked at.
    """
    try:
        if signed.member is not None and firmware.member is None:
            return signed.raw == firmware.raw
        return signed.payload == firmware.payload_with(signed.manifest)
    except InputError:
        return False


def device_for(image: Image | None, core: str, key: bytes | AssumedKey | None) -> StockDevice:
    """Return the virtual device with that core and key whose flash is what `image` was built for, where it says so."""
    from ..simulator.verdict import StockDevice

    device = StockDevice(core, key)
    if image is not None and image.flash_mode is not None:
        device = replace(device, flash_mode=int(image.flash_mode))
    if image is not None and image.flash_size is not None:
        device = replace(device, flash_size=image.flash_size)
    return device


def _judge_as_device(signed: bytes, firmware: Firmware, key: RSAPublicKey) -> None:
    """Ask the virtual device: the core, the chip and its flash that the image was built for, as far as it says so."""
    from ..simulator.esp32.verdict import LIBRARY, STOCK, WHO, judge_file
    from ..simulator.pico.verdict import SHOWN_RELEASES, judge_board

    if isinstance(firmware.image, PicoImage):
        name = f"core {SHOWN_RELEASES[-1]}"
        verdict = judge_board(SHOWN_RELEASES[-1], firmware.image.chip, public_pem(key), signed)
    elif isinstance(firmware.image, Esp8266Image):
        name, verdict = _judge_esp8266(signed, firmware, firmware.image, key)
    else:
        if firmware.member is not None:
            _refuse_gzip(firmware)
        _refuse_damaged(firmware.image)
        who = LIBRARY if firmware.identity is not None else STOCK
        name, verdict = WHO[who], judge_file(who, firmware.image.chip, public_pem(key), signed)
    if not (verdict.accepted and verdict.boots):
        raise VerificationError(
            f"a device with {name} would not run this update: {verdict.reason}",
            HINTS.get(verdict.fact, INSPECT),
        )


def _judge_esp8266(signed: bytes, firmware: Firmware, image: Esp8266Image, key: RSAPublicKey) -> tuple[str, Verdict]:
    """Return the core that the image was built with, and the verdict of a device with it."""
    from ..simulator.verdict import judge_on

    core = image.core or NEWEST
    carries_key = embedded_key(key) in firmware.raw
    # Without the key in it, a firmware of a core that knows the old form of signatures only verifies nothing.
    verifies = public_pem(key) if core.digest_info or carries_key else None
    return f"core {core.name}", judge_on(device_for(image, core.name, verifies), signed)


def _refuse_merged(parsed: Image) -> None:
    """Refuse an image with more behind its application: a device would copy that, too, as far as it fits."""
    kind = manifest.surplus(parsed)
    if kind is not None:
        raise InputError(f"this is {kind.title}", kind.hint)


def _refuse_damaged(parsed: Image) -> None:
    damage = images.damage(parsed)
    if damage is not None:
        raise InputError(damage, "build it again: it was changed afterwards")


def _refuse_stranding(parsed: Image) -> None:
    refusal = parsed.update_refusal()
    if refusal is not None:
        raise refusal


def _refuse_gzip(firmware: Firmware) -> None:
    """Refuse an image whose core does not start from a signed gzip, or does not say so (F8b)."""
    refusal = firmware.image.gzip_refusal(library=firmware.identity is not None)
    if refusal is not None:
        raise refusal
