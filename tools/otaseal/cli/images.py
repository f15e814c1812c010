"""`otaseal sign`, `verify` and `inspect`: what becomes of a firmware image, and what it is."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import ConfigError, InputError, OtasealError, VerificationError, naming
from ..image import gzip_payload, inspection, signing
from ..image.firmware import Firmware, is_signed
from ..image.manifest import Claim
from ..keys import compromised
from ..keys.public import fingerprint
from ..project import project, source_version
from ..release import attachments, provenance
from ..release.provenance import Provenance
from . import common

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SUFFIX = ".signed"
GZIP_SUFFIX = ".gz"
NAMED = "a name to know the manifest's product by; else OTASEAL_PRODUCT, and those of the project here"


def register(subparsers: common.Subparsers) -> None:
    """Declare the three commands."""
    _add_sign(subparsers)
    _add_verify(subparsers)
    _add_inspect(subparsers)


def _add_sign(subparsers: common.Subparsers) -> None:
    sign = common.command(subparsers, "sign", _sign, example="otaseal sign firmware.bin --key ~/keys/signing.key")
    sign.add_argument("firmware", type=common.path, help="the build's firmware.bin, raw or gzip")
    common.add_signing_key(sign)
    sign.add_argument(
        "-o", "--output", type=common.path, metavar="FILE", help="default: the firmware's name and .signed"
    )
    sign.add_argument("--require-key", action="store_true", help="fail unless the firmware carries this public key")
    sign.add_argument(
        "--next-public-key", metavar="FILE", help="a bridge release: fail unless the firmware carries the key in FILE"
    )
    sign.add_argument("--product", help="sign a manifest, too: the product's name; else OTASEAL_PRODUCT")
    sign.add_argument("--board", default="", help="for the manifest: PlatformIO's name of the board; default: any")
    sign.add_argument("--version", help="for the manifest; else OTASEAL_VERSION, else git describe")
    sign.add_argument(
        "--security-counter", metavar="NUMBER", help="for the manifest; else OTASEAL_SECURITY_COUNTER, else 0"
    )
    sign.add_argument("--compress", choices=gzip_payload.METHODS, help="compress the firmware before it is signed")


def _add_verify(subparsers: common.Subparsers) -> None:
    verify = common.command(
        subparsers, "verify", _verify, example="otaseal verify firmware.bin.signed --key ~/keys/signing.pub"
    )
    verify.add_argument("image", type=common.path, help="firmware.bin.signed")
    verify.add_argument("--key", metavar="FILE", help="the public key; else OTASEAL_PUBLIC_KEY")
    verify.add_argument(
        "--provenance", type=common.path, metavar="FILE", help="check, too, who says there to have built it"
    )
    verify.add_argument(
        "--builder", action="append", default=[], metavar="URI",
        help="who may have built it: a URI, or the beginning of one and *; default: anybody whom the key signs for",
    )  # fmt: skip
    verify.add_argument(
        "--builder-key", metavar="FILE", help="the public key that signed the provenance; default: the one of --key"
    )
    verify.add_argument("--product", metavar="NAME", help=NAMED)


def _add_inspect(subparsers: common.Subparsers) -> None:
    inspect = common.command(
        subparsers, "inspect", _inspect, example="otaseal inspect firmware.bin.signed --key ~/keys/signing.pub"
    )
    inspect.add_argument("image", type=common.path, help="an image: raw, gzip or signed")
    inspect.add_argument(
        "--key", type=common.path, metavar="FILE", action="append", default=[], help="a public key to try"
    )
    inspect.add_argument("--product", metavar="NAME", help=NAMED)


def _sign(arguments: argparse.Namespace) -> int:
    suffix = GZIP_SUFFIX + SUFFIX if arguments.compress else SUFFIX
    output: Path = arguments.output or common.beside(arguments.firmware, suffix)
    common.signing_options(arguments.key, arguments.passphrase_file)  # what cannot be meant takes nothing away
    claim = _claim(arguments)
    common.remove_stale(output, arguments.firmware, limit=MAX_IMAGE_SIZE, kind="signed image", is_kind=is_signed)
    built = files.read_bounded(arguments.firmware, MAX_IMAGE_SIZE, "firmware")
    image = Firmware(built, signed=False)
    if arguments.compress:
        image = signing.compress(image, arguments.compress)
    signer = common.signer(arguments.key, arguments.passphrase_file)
    next_key = _next_key(arguments.next_public_key)
    embeds_key = arguments.require_key or next_key is not None
    signed = signing.sign_firmware(image, signer, embeds_key=embeds_key, next_key=next_key, claim=claim)
    files.write_atomic(output, signed.data)
    key = signer.public_key
    size = len(signed.data)
    shown = {"output": str(output), "size": size, "bits": key.key_size, "key": fingerprint(key)}
    line = f"{output}: {size} bytes, signed with RSA-{key.key_size} key {fingerprint(key)}, and verified"
    return common.show(arguments, {**shown, "manifest": _manifest(signed)}, line)


def _claim(arguments: argparse.Namespace) -> Claim | None:
    """Return what the manifest is to say, None when no product is named."""
    given = common.options(
        product=arguments.product, version=arguments.version, security_counter=arguments.security_counter
    )
    if given.product is None:
        if arguments.board or arguments.security_counter or arguments.version:
            raise ConfigError(
                "--board, --version and --security-counter are for the manifest, and no product is given",
                "give --product, too",
            )
        return None
    version = given.version
    if version is None:
        state = source_version.git_state(Path.cwd(), os.environ)
        version = "" if state is None else source_version.version_from(None, state)
    build_time = source_version.source_date(os.environ)
    if build_time is None:
        build_time = int(arguments.firmware.stat().st_mtime)
    counter = given.security_counter
    return Claim(given.product, board=arguments.board, version=version, counter=counter, build_time=build_time)


def _manifest(firmware: Firmware) -> dict[str, Any] | None:
    return None if firmware.manifest is None else firmware.manifest.as_dict()


def _next_key(flag: str | None) -> RSAPublicKey | None:
    given = common.options(next_public_key=flag).next_public_key
    if given is None:
        return None
    key = common.load_key(given)
    compromised.refuse(key, f"next public key '{given}'")
    return key


def _verify(arguments: argparse.Namespace) -> int:
    given = common.options(public_key=arguments.key).public_key
    if given is None:
        raise ConfigError("no public key is given", "use --key <path>, or set OTASEAL_PUBLIC_KEY")
    key = common.load_key(given)
    signed = Firmware(files.read_bounded(arguments.image, MAX_IMAGE_SIZE, "image"))
    payload = signing.verify_firmware(signed, key)
    lines = [f"{arguments.image}: signature over {len(payload)} bytes is good, key {fingerprint(key)}"]
    if signed.manifest is not None:
        lines.append(f"manifest: {signed.manifest.described(_names(arguments.product))}")
    shown = {"verified": True, "payload_size": len(payload), "key": fingerprint(key), "manifest": _manifest(signed)}
    if (built := _verify_provenance(arguments, signed, key)) is not None:
        shown["provenance"] = asdict(built)
        of = f" from commit {built.commit}" if built.commit else ""
        lines.append(f"provenance: built by {built.builder}{of}, {built.finished}")
    return common.show(arguments, shown, *lines)


def _verify_provenance(arguments: argparse.Namespace, signed: Firmware, key: RSAPublicKey) -> Provenance | None:
    """Return the provenance that was given, of this image and by who may build it; None where none was given."""
    if arguments.provenance is None:
        if arguments.builder or arguments.builder_key:
            raise ConfigError("--builder and --builder-key are for a provenance", "give its file: --provenance FILE")
        return None
    data = files.read_bounded(arguments.provenance, attachments.LIMITS[attachments.PROVENANCE], "provenance")
    signer = common.load_key(arguments.builder_key) if arguments.builder_key else key
    with naming(arguments.provenance):
        found = provenance.verify(data, [signer])
    provenance.check(found, [signed.data], arguments.builder)
    return found


def _names(product: str | None) -> list[str]:
    """Return the products and boards whose names are known here, by which a manifest's ids are told."""
    names = [common.options(product=product).product or ""]
    with suppress(OtasealError):  # no project here, or whatever is wrong with it, is not what is asked
        for environment in project.default_environments(Path(), os.environ):
            names += [environment.settings.product or "", environment.board]
    return [name for name in names if name]


def _inspect(arguments: argparse.Namespace) -> int:
    data = files.read_bounded(arguments.image, MAX_IMAGE_SIZE, "image")
    report = inspection.inspect(data, {str(path): common.load_key(path) for path in arguments.key})
    common.show(arguments, report.as_dict(), *report.lines(_names(arguments.product)))
    if report.signature is not None and arguments.key and report.signed_by is None:
        raise VerificationError(
            f"none of the keys given made the signature of '{arguments.image}'", "devices with these keys refuse it"
        )
    if report.problem is not None:
        raise InputError(f"'{arguments.image}': {report.problem}", report.hint)
    return 0
