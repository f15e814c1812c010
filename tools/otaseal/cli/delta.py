"""`otaseal delta`: patches from the image that a device runs to a signed one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..delta import bases, header
from ..errors import InputError, VerificationError, naming
from ..image import firmware, gzip_payload
from ..image.firmware import Firmware
from . import common

SUFFIX = ".delta"
BASE = "the image that the devices run: its firmware.bin, signed or not"


def register(subparsers: common.Subparsers) -> None:
    """Declare the three actions."""
    actions = common.group(subparsers, "delta", "otaseal delta make old/firmware.bin new/firmware.bin.signed")

    make = common.command(
        actions,
        "make",
        _make,
        summary="make the patch from one image to the next",
        example="otaseal delta make old/firmware.bin new/firmware.bin.signed",
    )
    make.add_argument("base", type=common.path, help=BASE)
    make.add_argument("target", type=common.path, help="the signed image that they shall run, not compressed")
    make.add_argument(
        "-o", "--output", type=common.path, metavar="FILE", help=f"default: the target's name and {SUFFIX}"
    )

    apply = common.command(
        actions,
        "apply",
        _apply,
        summary="make the signed image of a base and a patch, as a device does",
        example="otaseal delta apply old/firmware.bin firmware.bin.signed.delta --output firmware.bin.signed",
    )
    apply.add_argument("base", type=common.path, help=BASE)
    apply.add_argument("patch", type=common.path, help="what 'delta make' has made")
    apply.add_argument("-o", "--output", type=common.path, metavar="FILE", required=True, help="the signed image")

    inspect = common.command(
        actions,
        "inspect",
        _inspect,
        summary="tell for which base a patch is, and what it makes",
        example="otaseal delta inspect firmware.bin.signed.delta",
    )
    inspect.add_argument("patch", type=common.path, help="what 'delta make' has made")


def _make(arguments: argparse.Namespace) -> int:
    from ..delta import applying, making

    output: Path = arguments.output or common.beside(arguments.target, SUFFIX)
    sources = (arguments.base, arguments.target)
    common.remove_stale(output, *sources, limit=MAX_IMAGE_SIZE, kind="patch", is_kind=header.is_patch)
    base, target = _firmware(arguments.base, "base"), _target(arguments.target)
    if base.image.chip != target.image.chip:
        raise InputError(
            f"'{arguments.base}' is for the {base.image.chip}, and '{arguments.target}' for the {target.image.chip}",
            "give two images for the same chip",
        )
    source = bases.for_target(base.image, target.image)
    patch = making.make(source, target.data)
    if applying.apply(source, patch) != target.data:
        raise VerificationError("the patch makes another image than it was made for", "keep both files, and report it")
    files.write_atomic(output, patch)
    whole = _whole_update_size(target)
    shown = {
        "output": str(output),
        "size": len(patch),
        **_described(header.parse(patch)),
        "whole_update_size": whole,
    }
    lines = [
        f"{output}: {len(patch)} bytes, {100 * len(patch) / len(target.data):.2f} % of the image",
        f"a whole update takes {whole} bytes"
        + ("" if len(patch) < whole else ": it is the better one, for the patch is no smaller"),
    ]
    return common.show(arguments, shown, *lines)


def _apply(arguments: argparse.Namespace) -> int:
    from ..delta import applying

    common.remove_stale(
        arguments.output,
        arguments.base,
        arguments.patch,
        limit=MAX_IMAGE_SIZE,
        kind="signed image",
        is_kind=firmware.is_signed,
    )
    base = _firmware(arguments.base, "base")
    patch = files.read_bounded(arguments.patch, MAX_IMAGE_SIZE, "patch")
    with naming(arguments.patch):
        made = applying.apply(bases.for_patch(base.image, header.parse(patch)), patch)
    files.write_atomic(arguments.output, made)
    line = f"{arguments.output}: {len(made)} bytes, as the patch announces; 'otaseal verify' checks their signature"
    return common.show(arguments, {"output": str(arguments.output), **_described(header.parse(patch))}, line)


def _inspect(arguments: argparse.Namespace) -> int:
    patch = files.read_bounded(arguments.patch, MAX_IMAGE_SIZE, "patch")
    with naming(arguments.patch):
        head = header.parse(patch)
    lines = [
        f"{'patch':<14}{len(patch)} bytes, format {header.FORMAT}",
        f"{'base':<14}{head.base_size} bytes, sketch MD5 {head.base_md5.hex()}",
        f"{'makes':<14}{head.target_size} bytes, SHA-256 {head.target_sha256.hex()}",
        f"{'map':<14}{head.shifts} of {header.MAX_SHIFTS} shifts, {head.code} of {header.MAX_CODE} runs of code",
    ]
    return common.show(arguments, {"size": len(patch), **_described(head)}, *lines)


def _described(head: header.Header) -> dict[str, Any]:
    """Return what `--json` says of a patch."""
    return {
        "format": header.FORMAT,
        "base_size": head.base_size,
        "base_md5": head.base_md5.hex(),
        "target_size": head.target_size,
        "target_sha256": head.target_sha256.hex(),
        "shifts": head.shifts,
        "runs_of_code": head.code,
    }


def _firmware(path: Path, what: str) -> Firmware:
    read = firmware.read(files.read_bounded(path, MAX_IMAGE_SIZE, what))
    with naming(path):
        _ = read.image  # what is none is refused by what it is
    return read


def _target(path: Path) -> Firmware:
    """Return the firmware in `path`, which a device could verify as it comes out of a patch."""
    target = _firmware(path, "target")
    if not target.signed:
        raise InputError(f"'{path}' is not signed: no device takes it", "sign it first, with 'otaseal sign'")
    if target.member is not None:
        raise InputError(f"'{path}' is compressed: a patch to it would be as large", "give the raw firmware.bin.signed")
    return target


def _whole_update_size(target: Firmware) -> int:
    """Return the bytes that a device loads without a patch: a gzip as zlib makes it, where its chip takes one."""
    size = len(target.data)
    if target.image.gzip_refusal(library=True) is not None:
        return size
    trailer = size - len(target.payload)
    return min(size, len(gzip_payload.compress(target.payload, "gzip")) + trailer)
