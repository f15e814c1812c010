"""`otaseal reproduce`: whether a firmware that was built again is the one that was released, and what differs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlencode

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..client.client import release_path
from ..errors import ConfigError, NotFoundError, VerificationError, counted, naming
from ..image import comparison, firmware
from ..image.comparison import Difference
from . import common, remote

SHOWN = 12
"""Differences that are listed; most builds that differ do so in every second place."""
LONGEST = 40


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    command = remote.command(
        subparsers,
        "reproduce",
        _reproduce,
        example="otaseal reproduce .pio/build/nodemcuv2/firmware.bin --version 1.2.0 "
        "--server https://update.local:8444 --product blink",
        channel=None,
    )
    command.add_argument(
        "firmware", type=common.path, help="the firmware.bin that was built again from the tag, signed or not"
    )
    command.add_argument("--version", help="the release on the server that it is to be compared with")
    command.add_argument("--board-id", metavar="ID", help="of a release for several boards: which one's image")
    command.add_argument("--signed", type=common.path, metavar="FILE", help="compare with this signed file instead")


def _reproduce(arguments: argparse.Namespace) -> int:
    if (arguments.version is None) is (arguments.signed is None):
        raise ConfigError("it is not clear what to compare with", "give --version, or --signed")
    with naming(arguments.signed or "the release"):
        expected = comparison.built_image(firmware.Firmware(_signed(arguments)))
    built = files.read_bounded(arguments.firmware, MAX_IMAGE_SIZE, "firmware")
    if (again := firmware.read(built)).signed:
        built = comparison.built_image(again)
    found = comparison.differences(expected, built)
    shown = {
        "same": not found,
        "size": len(expected),
        "differences": [asdict(one) | {"reason": one.reason} for one in found],
    }
    if not found:
        return common.show(arguments, shown, f"'{arguments.firmware}' is the released firmware, byte for byte")
    common.show(arguments, shown, *_lines(found, len(expected), len(built)))
    extent = f"{counted(sum(one.size for one in found), 'byte')}, in {counted(len(found), 'place')}"
    raise VerificationError(
        f"'{arguments.firmware}' differs from the release in {extent}",
        _hint(found),
    )


def _signed(arguments: argparse.Namespace) -> bytes:
    """Return the signed file to compare with, from the server or from a file."""
    if arguments.signed is not None:
        return files.read_bounded(Path(arguments.signed), MAX_IMAGE_SIZE, "signed firmware")
    connected, product, _ = remote.connect(arguments)
    query = f"?{urlencode({'board_id': arguments.board_id})}" if arguments.board_id else ""
    data = connected.fetch(release_path(product, arguments.version, "firmware") + query)
    if data is None:
        raise NotFoundError(
            f"the server has no such image of release '{arguments.version}'",
            "otaseal releases lists versions and boards; of several boards name one: --board-id",
        )
    return data


def _lines(found: tuple[Difference, ...], before: int, after: int) -> list[str]:
    lines = [f"sizes differ: {before} bytes were released, {after} were built"] if before != after else []
    for one in found[:SHOWN]:
        lines.append(f"0x{one.offset:06x}  {counted(one.size, 'byte')}{_texts(one)}")
    if len(found) > SHOWN:
        lines.append(f"and in {len(found) - SHOWN} places more")
    return lines


def _texts(one: Difference) -> str:
    if not one.before and not one.after:
        return ""
    return f"  '{one.before[:LONGEST]}' became '{one.after[:LONGEST]}'"


def _hint(found: tuple[Difference, ...]) -> str:
    reasons = dict.fromkeys(one.reason for one in found if one.reason)
    if reasons:
        return "; ".join(reasons)
    return "build the tagged commit with the versions of platform and libraries that the release's SBOM names"
