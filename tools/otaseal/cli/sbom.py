"""`otaseal sbom` shows what a firmware is made of, and `otaseal lock` keeps what a project is built with."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from .. import files
from ..client.client import release_path
from ..errors import ConfigError, NotFoundError, SystemFaultError, naming
from ..project import pio, project
from ..release.attachments import LIMITS, SBOM
from ..sbom import document
from ..sbom.lock import NAME
from . import common, remote


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    sbom = remote.command(
        subparsers, "sbom", _sbom, example="otaseal sbom .pio/build/nodemcuv2/firmware.bin.cdx.json", channel=None
    )
    sbom.add_argument("file", type=common.path, nargs="?", help="an SBOM; default: that of a release on the server")
    sbom.add_argument("--version", help="the release on the server")
    sbom.add_argument("--of", type=common.path, metavar="FIRMWARE", help="check that it is that of these signed bytes")
    lock = common.command(
        subparsers, "lock", _lock, example="otaseal lock --project ~/blink --env nodemcuv2", json_help=None
    )
    lock.add_argument(
        "--project", type=common.path, default=common.path("."), metavar="DIR", help="default: this folder"
    )
    lock.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME",
        help="of platformio.ini; default: what 'pio run' builds",
    )


def _sbom(arguments: argparse.Namespace) -> int:
    found = _remote_sbom(arguments) if arguments.file is None else _local_sbom(arguments)
    if arguments.of is not None:
        from ..chips.limits import MAX_IMAGE_SIZE

        if not document.is_of(found, files.read_bounded(arguments.of, MAX_IMAGE_SIZE, "signed firmware")):
            raise NotFoundError(f"the SBOM is not that of '{arguments.of}'", "give the one that was built with it")
    return common.show(arguments, found, *document.lines(found))


def _local_sbom(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.version is not None:
        raise ConfigError("--version is for a release on the server, and a file is named", "give one of the two")
    data = files.read_bounded(arguments.file, LIMITS[SBOM], "SBOM")
    with naming(arguments.file):
        return document.parse(data)


def _remote_sbom(arguments: argparse.Namespace) -> dict[str, Any]:
    connected, product, _ = remote.connect(arguments)
    if arguments.version is None:
        raise ConfigError("neither a file nor a release is named", "give a file, or --version of a release")
    path = release_path(product, arguments.version, "attachments", SBOM)
    return document.parse(json.dumps(connected.get(path)).encode())


def _lock(arguments: argparse.Namespace) -> int:
    """Have PlatformIO run the target that writes the lock: what it installs and compiles is known to its builder."""
    python = pio.interpreter()
    if python is None:
        raise SystemFaultError("PlatformIO is not found", "install it: pip install platformio")
    names = arguments.env or [one.environment for one in project.default_environments(arguments.project, os.environ)]
    command = [python, "-m", "platformio", "run", "-d", str(arguments.project), "-t", "lock"]
    command += [word for name in names for word in ("-e", name)]
    sys.stdout.flush()
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemFaultError(
            f"'{NAME}' is not written: PlatformIO ends with exit code {code}",
            "see above; ship.py has to be among the extra_scripts, which has the target 'lock'",
        )
    return 0
