"""post: `firmware.bin.signed` as a real build node, made again when the binary, the key or otaseal changes (F32).

With `custom_otaseal_compress` the same action makes `firmware.bin.gz.signed`, for devices that take a gzip (F8b).
espota is given `firmware.bin` and never finds that one (F31).

A post action would not fire for a target that is up to date, and a stale `.signed` beside the binary is what espota
sends (F31). Serial upload keeps getting the raw image. What signing needs is imported when something is signed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__, files
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import ConfigError
from ..keys.public import FIRST_KEY_HINT, short_fingerprint
from ..project import source_version
from ..settings import Settings
from . import build, claim, firmware_key, linked_updaters, lock, own_signing, platforms, sbom, update_space, upload_form

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from ..image.firmware import Firmware
    from ..image.manifest import Claim

GIVES_FILESYSTEM = "_ZN7otaseal5files3use"
"""What the library's `filesystem()` calls, as the compiler spells it; unused, it is not linked (F79)."""


@build.attaching("post")
def attach(env: build.Env, options: Settings) -> None:
    """Declare the signed image beside the firmware, as part of `buildprog` and before any upload."""
    firmware = build.firmware(env)
    path = Path(firmware.get_abspath())
    upload_form.choose(env, path)
    if not firmware.has_builder():
        return  # a filesystem run, or `nobuild`
    lock.check(env, options)
    own_signing.refuse_private_key(env)
    uri = _key_uri(options)
    _guard_next_key(env, options)
    _guard_compression(env, options)
    build_claim = claim.for_build(env, options)
    signed_path, packed_path = _outputs(path)
    own_signing.take_over(env.File(str(signed_path)))
    signed = env.Command(
        [env.File(str(made)) for made in ([signed_path] if options.compress == "no" else [signed_path, packed_path])],
        [firmware, env.Value(_stamp(env, options, uri, build_claim))],
        build.action(env, lambda env: _sign(env, options, path, build_claim), "Signing $TARGET"),
    )
    env.NoCache(signed)
    env.Alias("buildprog", signed)
    env.Depends("upload", signed)
    _keep_serial_raw(env)
    sbom.declare(env, options, path, signed)


def _outputs(path: Path) -> tuple[Path, Path]:
    """Return where the signed firmware and the compressed one go."""
    return path.with_name(path.name + build.SIGNED_SUFFIX), path.with_name(path.name + build.PACKED_SUFFIX)


def _key_uri(options: Settings) -> str:
    if options.signing_key is None:
        raise ConfigError(
            "sign_firmware.py has no key: custom_otaseal_signing_key is not set",
            f"set it to file:<path>; {FIRST_KEY_HINT}",
        )
    return options.signing_key


def _stamp(env: build.Env, options: Settings, uri: str, build_claim: Claim | None) -> str:
    """Return what the signed image depends on beside the firmware."""
    stamp = f"{__version__} {build.key_identity(env, uri)} {bool(env.get(build.VERIFY_UPDATES))}"
    return f"{stamp} {firmware_key.next_identity(env, options)} {options.compress} {_stable(build_claim)}"


def _sign(env: build.Env, options: Settings, path: Path, build_claim: Claim | None) -> str:
    """Write the signed files of the firmware `path`, and return the lines that say so."""
    from ..image import signing
    from ..image.firmware import Firmware
    from ..keys import signers
    from . import signing_key

    signed_path, packed_path = _outputs(path)
    files.remove(packed_path)
    built = files.read_bounded(path, MAX_IMAGE_SIZE, "firmware")
    image = Firmware(built, signed=False)
    _refuse_other_filesystem(env, image)
    signer = signing_key.signer(env, options)
    signing_key.refuse_in_firmware(path, built, signers.secrets(signer))
    # Where nothing but the library verifies, firmware without it was allowed, and carries no key.
    verifies = bool(env.get(build.VERIFY_UPDATES) and (platforms.of(env).verifier or image.identity))
    following = firmware_key.load_next(env, options) if verifies else None
    file_claim = _file_claim(env, build_claim, path)
    sign = partial(signing.sign_firmware, signer=signer, embeds_key=verifies, next_key=following, claim=file_claim)
    signed = sign(image).data
    packed = None if options.compress == "no" else sign(signing.compress(image, options.compress)).data
    files.write_atomic(signed_path, signed)
    if packed is not None:
        files.write_atomic(packed_path, packed)
    update_space.warn(env, len(signed if packed is None else min(signed, packed, key=len)), image)
    line = _signed_line(len(built), signer.public_key)
    if packed is not None:
        line += f"; with {options.compress}: {len(packed)} bytes"
    return line if following is None else f"{line}\n{_bridge(following, image)}"


def _file_claim(env: build.Env, build_claim: Claim | None, path: Path) -> Claim | None:
    if build_claim is None:
        return None
    claim.warn_of_git(env)
    return claim.for_file(build_claim, path)


def _signed_line(size: int, key: RSAPublicKey) -> str:
    return f"otaseal: signed {size} bytes with RSA-{key.key_size} key {short_fingerprint(key)}, and verified"


def _stable(build_claim: Claim | None) -> Claim | None:
    """Return what the manifest depends on beside the firmware, whose own time it has unless SOURCE_DATE_EPOCH says."""
    return (
        build_claim
        if build_claim is None or source_version.source_date(os.environ) is not None
        else replace(build_claim, build_time=0)
    )


def _guard_compression(env: build.Env, options: Settings) -> None:
    if options.compress != "no" and platforms.of(env) is platforms.ESP32:
        raise ConfigError(
            f"custom_otaseal_compress = {options.compress}, and nothing on an ESP32 unpacks an update",
            "set custom_otaseal_compress = no in this environment",
        )
    if options.compress != "no" and build.is_compressed(env):
        raise ConfigError(
            f"custom_otaseal_compress = {options.compress} and board_build.gzip_fw = yes would compress twice",
            "remove board_build.gzip_fw: without it, devices are given the form that they can take",
        )


def _guard_next_key(env: build.Env, options: Settings) -> None:
    """Refuse a bridge release whose firmware nothing would give the next key to."""
    if options.next_public_key is not None and not env.get(build.VERIFY_UPDATES) and not build.is_test():
        raise ConfigError(
            "custom_otaseal_next_public_key is set, and verify_updates.py, which compiles that key in, is not attached",
            "add pre:.../verify_updates.py to extra_scripts, or remove the option",
        )


def _refuse_other_filesystem(env: build.Env, firmware: Firmware) -> None:
    """Refuse firmware with the OtaSeal library for a chip whose filesystem it cannot mount: it would trust nobody."""
    kind = build.filesystem(env)
    if kind == "littlefs" or firmware.identity is None or _is_given_filesystem(env):
        return
    raise ConfigError(
        f"the firmware has the OtaSeal library, which mounts LittleFS, and board_build.filesystem is '{kind}'",
        "set board_build.filesystem = littlefs, and ship the certificates by cable: pio run -t uploadfs",
    )


def _is_given_filesystem(env: build.Env) -> bool:
    """Tell whether the sketch gives the library another filesystem, which the port to the ESP32 takes (F79)."""
    from .object_code import ElfFile

    if platforms.of(env) is not platforms.ESP32:
        return False
    program = files.read_bounded(build.path(env, "$PROGPATH"), linked_updaters.MAX_SIZE, "program")
    return any(name.startswith(GIVES_FILESYSTEM) for name in ElfFile(program).functions)


def _bridge(key: RSAPublicKey, firmware: Firmware) -> str:
    if firmware.identity is not None:
        return (
            f"otaseal: devices that run it take updates from this key and from the next one, {short_fingerprint(key)}"
        )
    return (
        f"otaseal: a bridge release: devices that run it take updates from the next key {short_fingerprint(key)} "
        "only, and every device must run it before you sign with that key"
    )


def _keep_serial_raw(env: build.Env) -> None:
    """Send the original over the wire where `firmware.bin` itself is the gzip (F9): a boot ROM cannot unpack (F31)."""
    command = env.get("UPLOADCMD", "")
    if build.is_compressed(env) and build.uploads_over_serial(env):
        env.Replace(UPLOADCMD=command.replace("$SOURCE", "${SOURCE}.orig"))
