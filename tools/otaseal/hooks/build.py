"""What all hooks share: the project's settings, the build's paths, and errors as two lines instead of a traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import key_uri, settings
from ..errors import INSTALLABLE, OtasealError, SystemFaultError, describe

if TYPE_CHECKING:
    from ..keys import KeySource

__all__ = [
    "PACKED_SUFFIX",
    "SIGNED_SUFFIX",
    "VERIFY_UPDATES",
    "action",
    "attaching",
    "filesystem",
    "filesystem_image",
    "is_compressed",
    "is_test",
    "key_identity",
    "key_source",
    "load_settings",
    "path",
    "print_error",
    "requested",
    "uploads_over_serial",
    "uploads_over_the_air",
    "warn",
]

Env = Any
"""An SCons environment with PlatformIO's methods; neither has type annotations."""

SIGNED_SUFFIX = ".signed"
"""What espota looks for beside the file that it is given (F31)."""
PACKED_SUFFIX = ".gz" + SIGNED_SUFFIX
"""Of the compressed form beside the raw one."""
VERIFY_UPDATES = "OTASEAL_VERIFY_UPDATES"
"""Environment variable of the build (not of the process): set when the firmware carries the public key."""
_ESPTOOL = re.compile(r"""(?:^|[\s"'/\\])esptool(?:\.py|\.exe)?(?=["'\s]|$)""")
"""The program in a command line, by its name or its path."""


def attaching(attach: Callable[[Env, settings.Settings], None]) -> Callable[[Env], None]:
    """Turn `attach(env, settings)` into a hook's `attach(env)`, whose errors are two lines and end the build.

    While PlatformIO cleans, nothing is declared; while it collects data for the IDE, no wrong option may break it.
    """

    @wraps(attach)
    def wrapper(env: Env) -> None:
        if env.IsCleanTarget():
            return
        try:
            attach(env, load_settings(env))
        except OtasealError as error:
            if not env.IsIntegrationDump():
                print_error(error)
                env.Exit(1)

    return wrapper


def action(env: Env, work: Callable[[Env], str | None], title: str | None) -> Any:
    """Return an SCons action that does `work(env)` and prints the line it returns; its errors fail the build.

    `title` is printed before it; with None nothing is.
    """
    return env.VerboseAction(_Work(work), title)


class _Work:
    """A callable object, because SCons takes all that a closure holds for part of a function's signature.

    The process's environment is in there, so that nothing would ever be up to date. What a node depends on is named
    among its sources instead.
    """

    def __init__(self, work: Callable[[Env], str | None]) -> None:
        self._work = work

    def __call__(self, target: Sequence[Any], source: Sequence[Any], env: Env) -> int:
        try:
            line = self._work(env)
        except OtasealError as error:
            print_error(error)
            return 1
        except OSError as error:
            print_error(SystemFaultError(f"the system refused: {error}", "check the disk's space and the permissions"))
            return 1
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in INSTALLABLE:
                raise
            print_error(_missing(package))
            return 1
        if line:
            print(line, flush=True)
        return 0


def load_settings(env: Env) -> settings.Settings:
    """Return the settings of this build environment; raises ConfigError for an unknown or a wrong option."""
    section = "env:" + env["PIOENV"]
    config = env.GetProjectConfig()
    names = [name for name in config.options(section) if name.lower().startswith("custom_otaseal")]
    return settings.resolve({name: str(config.get(section, name)) for name in names}, os.environ)


def key_identity(env: Env, uri: str) -> str:
    """Return a text that changes when the key behind `uri` does; raises ConfigError for a URI that is wrong."""
    return key_uri.identity(uri, path(env, "."), os.environ)


def key_source(env: Env, options: settings.Settings) -> KeySource:
    """Return what a signing key's opener may use in this build."""
    from ..keys import KeySource
    from ..passphrase import from_settings

    project = path(env, ".")
    return KeySource(
        project=project,
        environment=os.environ,
        passphrase=from_settings(options.passphrase_file, project, os.environ),
        forbidden=(path(env, "$PROJECT_DATA_DIR"),),
    )


def filesystem_image(env: Env) -> Any:
    """Return the node of the filesystem image; a run of `uploadall`, for which the platform has none, declares it."""
    image = env.File(env.subst("$BUILD_DIR/${ESP8266_FS_IMAGE_NAME}.bin"))
    if "uploadall" in requested() and not image.has_builder():
        # The builder appends the suffix itself.
        built = env.DataToBin(str(image.get_abspath()).removesuffix(".bin"), env.subst("$PROJECT_DATA_DIR"))
        env.NoCache(built)
        env.AlwaysBuild(built)
    return image


def filesystem(env: Env) -> str:
    """Return which filesystem the platform makes, "littlefs" or its default, "spiffs" (F15)."""
    return str(env.BoardConfig().get("build.filesystem", "spiffs")).lower()


def requested() -> frozenset[str]:
    """Return the targets of the command line."""
    from SCons.Script import COMMAND_LINE_TARGETS

    return frozenset(COMMAND_LINE_TARGETS)


def is_test() -> bool:
    """Tell whether this build is that of `pio test`, which no device is meant to keep."""
    return "__test" in requested()


def is_compressed(env: Env) -> bool:
    """Tell whether `firmware.bin` itself is a gzip, with the image it holds beside it in `firmware.bin.orig` (F9)."""
    return str(env.BoardConfig().get("build.gzip_fw", "")).lower() in ("yes", "true", "1", "on")


def uploads_over_serial(env: Env) -> bool:
    """Tell whether this build uploads with esptool; every other command may go over the air, as far as we know."""
    command = env.get("UPLOADCMD")
    return isinstance(command, str) and _ESPTOOL.search(env.subst(command)) is not None


def uploads_over_the_air(env: Env) -> bool:
    """Tell whether this build uploads with espota; the option alone does not say, for an IP-like port switches too."""
    return "espota" in env.subst("$UPLOADER")


def path(env: Env, text: str) -> Path:
    """Return `text`, with SCons variables in it, as an absolute path; a relative one starts at the project."""
    project: str = env.subst("$PROJECT_DIR")
    return Path(project).resolve() / str(env.subst(text))


def warn(message: str) -> None:
    """Print one line that is no failure."""
    sys.stderr.write(f"otaseal: warning: {message}\n")


def print_error(error: OtasealError) -> None:
    """Print the two lines of `error`, after whatever the build has printed so far."""
    sys.stdout.flush()
    sys.stderr.write(describe(error) + "\n")
    sys.stderr.flush()


def _missing(package: str) -> SystemFaultError:
    return SystemFaultError(
        f"the Python that runs PlatformIO lacks the package '{package}'",
        f'install it there: "{sys.executable}" -m pip install {package}',
    )
