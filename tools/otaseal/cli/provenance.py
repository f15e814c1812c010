"""`otaseal provenance`: sign who built a firmware, from what, where no hook of a build does."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import ConfigError
from ..image.firmware import Firmware
from ..project import source_version
from ..project.builder import describe_build
from ..release import attachments, provenance
from ..release.records import manifest_of
from . import common

MAX_MATERIAL = 64 * 1024 * 1024


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    command = common.command(
        subparsers,
        "provenance",
        _provenance,
        example="otaseal provenance firmware.bin.signed --key ~/keys/ci.key --builder https://ci.example.com/blink "
        "--product blink",
    )
    command.add_argument("firmware", type=common.path, nargs="+", help="firmware.bin.signed, and its other forms")
    common.add_signing_key(command)
    command.add_argument("--builder", metavar="URI", help="who builds; default: the workflow, where GitHub runs it")
    command.add_argument("--product", help="else OTASEAL_PRODUCT")
    command.add_argument("--version", help="else what the manifest says, else git describe")
    command.add_argument(
        "--material", type=common.path, action="append", default=[], metavar="FILE",
        help="what it was made from, or is made of, as its SBOM; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "-o", "--output", type=common.path, metavar="FILE", help="default: the first file's name and .provenance.json"
    )


def _provenance(arguments: argparse.Namespace) -> int:
    given = common.options(product=arguments.product, version=arguments.version, builder=arguments.builder)
    if given.product is None:
        raise ConfigError("no product is given", "use --product <name>, or set OTASEAL_PRODUCT")
    output: Path = arguments.output or common.beside(arguments.firmware[0], ".provenance.json")
    common.remove_stale(
        output, *arguments.firmware, *arguments.material,
        limit=attachments.LIMITS[attachments.PROVENANCE], kind="provenance", is_kind=_is_envelope,
    )  # fmt: skip
    images = {path.name: files.read_bounded(path, MAX_IMAGE_SIZE, "firmware") for path in arguments.firmware}
    _refuse_same_names("firmware", arguments.firmware)
    _refuse_same_names("material", arguments.material)
    state = source_version.git_state(Path.cwd(), os.environ)
    attached = manifest_of(Firmware(next(iter(images.values()))))
    version = source_version.version_from(given.version, state, attached)
    origin = source_version.origin(given.product, version, "", state)
    described = describe_build(given, origin, os.environ)
    materials = {
        path.name: hashlib.sha256(files.read_bounded(path, MAX_MATERIAL, "material")).hexdigest()
        for path in arguments.material
    }
    signer = common.signer(arguments.key, arguments.passphrase_file)
    statement = provenance.statement(images, described, materials)
    files.write_atomic(output, provenance.sign(statement, signer))
    shown = {"output": str(output), "builder": described.builder, "files": list(images), "version": version}
    return common.show(arguments, shown, f"{output}: {given.product} {version}, built by {described.builder}")


def _is_envelope(data: bytes) -> bool:
    return b'"payloadType"' in data


def _refuse_same_names(kind: str, paths: Sequence[Path]) -> None:
    names = [path.name for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two {kind} files are named '{name}'", "a statement tells them apart by their names")
