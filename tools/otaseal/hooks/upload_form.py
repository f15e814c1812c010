"""Which form of the firmware an upload is given: raw over a serial port, signed on every other way.

A device that verifies takes nothing else than `firmware.bin.signed` over the air, and espota finds that file by itself
(F31). An upload command of the project's own, as for updates by HTTP, is given it in the place of `firmware.bin`,
whether it is a command line or a function. What goes through esptool is raw: a boot ROM verifies nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import InputError
from . import build


def choose(env: build.Env, firmware: Path) -> None:
    """Look at the way to the device when an upload of `firmware` begins; scripts may have changed it until then.

    Without a build the signed file may be an older one, or missing: then nothing is uploaded but over a serial port.
    """
    if "upload" not in build.requested():
        return

    def work(env: build.Env) -> str | None:
        command = env.get("UPLOADCMD")
        if not command or build.uploads_over_serial(env) or not firmware.is_file():
            return None
        signed = _signed_form(firmware)
        if build.uploads_over_the_air(env):
            return None
        env.Replace(UPLOADCMD=_Upload(command, env.File(str(signed))))
        return f"otaseal: the upload command is given '{signed.name}', as it is none of esptool's"

    env.AddPreAction("upload", build.action(env, work, None))


def _signed_form(firmware: Path) -> Path:
    """Return the path of the signed form of `firmware`; raises InputError where it is missing or of another build."""
    from ..image import signing
    from ..image.firmware import Firmware

    signed = firmware.with_name(firmware.name + build.SIGNED_SUFFIX)
    if not signed.is_file():
        raise InputError(f"there is no '{signed.name}'", "upload without 'nobuild'")
    signed_firmware = Firmware(files.read_bounded(signed, MAX_IMAGE_SIZE, "signed firmware"))
    built = files.read_bounded(firmware, MAX_IMAGE_SIZE, "firmware")
    if not signing.belongs_to(signed_firmware, Firmware(built, signed=False)):
        raise InputError(f"'{signed.name}' is not the signed form of '{firmware.name}'", "upload without 'nobuild'")
    return signed


class _Upload:
    """An upload command, a text or a function, with another source; its text is not shown, for it may have secrets."""

    def __init__(self, command: Any, source: Any) -> None:
        from SCons.Action import Action

        self._action = Action(command)
        self._source = source

    def __call__(self, target: Sequence[Any], source: Sequence[Any], env: build.Env) -> Any:
        return self._action(target, [self._source], env, show=False)
