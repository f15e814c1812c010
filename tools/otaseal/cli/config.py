"""`otaseal config`: the options there are, and the lines that turn the hooks of this very installation on."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import SystemFaultError
from ..project.ini import HOOKS
from ..settings import OPTIONS
from . import common

LOADER = "_load.py"
"""What lies beside the hooks in every installation."""


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = common.command(subparsers, "config", _config, example="otaseal config --extra-scripts")
    parser.add_argument("--extra-scripts", action="store_true", help="print the hook lines for platformio.ini")


def extra_scripts(*preferred: Path) -> list[str]:
    """Return the `extra_scripts` entries of this installation, such as `pre:/.../verify_updates.py`.

    Those of a `preferred` checkout come first, if there is one. Raises SystemFaultError when the scripts lie neither in
    the package nor in a checkout around it.
    """
    package = Path(__file__).resolve().parent.parent
    for place in (*preferred, package, package.parent.parent):
        folder = place / "extra_scripts"
        if (folder / LOADER).is_file():
            return [f"{scope}:{folder / name}" for scope, _, name in (hook.partition(":") for hook in HOOKS)]
    raise SystemFaultError(f"no extra scripts lie beside '{package}'", "install otaseal again")


def _config(arguments: argparse.Namespace) -> int:
    if arguments.extra_scripts:
        lines = extra_scripts()
        common.show(arguments, {"extra_scripts": lines}, "extra_scripts =", *(f"  {line}" for line in lines))
        return 0
    rows = [
        {"option": o.ini_name, "environment": o.environment_name, "default": o.default, "help": o.help}
        for o in OPTIONS.values()
    ]
    shown = (
        f"{row['option']}  (or {row['environment']}; default: {_shown(row['default'])})\n    {row['help']}"
        for row in rows
    )
    return common.show(arguments, rows, *shown)


def _shown(default: object) -> str:
    return "none" if default is None else " ".join(default) if isinstance(default, tuple) else str(default)
