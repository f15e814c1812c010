"""What all hooks share: the project's settings, the build's paths, and errors as two lines instead of a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import commands, settings
from ..errors import INSTALLABLE, ConfigError, OtasealError, SystemFaultError, describe
from ..keys import key_uri
from . import platforms

if TYPE_CHECKING:
    from ..keys.signers import KeySource

Env = Any
"""An SCons environment with PlatformIO's methods; neither has type annotations."""

SIGNED_SUFFIX = ".signed"
"""What espota looks for beside the file that it is given (F31)."""
PACKED_SUFFIX = ".gz" + SIGNED_SUFFIX
"""Of the compressed form beside the raw one."""
VERIFY_UPDATES = "OTASEAL_VERIFY_UPDATES"
"""Environment variable of the build (not of the process): set when the firmware carries the public key."""
ATTACHED = "OTASEAL_ATTACHED"
"""Environment variable of the build: the hooks that are attached to it."""
IMAGE = "OTASEAL_IMAGE"
"""Environment variable of the build: the node of the filesystem image."""
FILESYSTEM_TARGETS = ("buildfs", "uploadfs", "uploadfsota")
"""Targets of the platform in whose runs it declares the filesystem image, and no firmware."""


def attaching(scope: str) -> Callable[[Callable[[Env, settings.Settings], None]], Callable[[Env], None]]:
    """Turn `attach(env, settings)` into a hook's `attach(env)`, whose errors are two lines and end the build.

    `scope` is the prefix that the hook has to have in extra_scripts, 'pre' or 'post'. While PlatformIO cleans, nothing
    is declared; while it collects data for the IDE, no wrong option may break it. A hook that is listed twice, as when
    environments inherit, is attached once.
    """

    def decorate(attach: Callable[[Env, settings.Settings], None]) -> Callable[[Env], None]:
        script = attach.__module__.rpartition(".")[2] + ".py"

        @wraps(attach)
        def wrapper(env: Env) -> None:
            attached = env.get(ATTACHED, ())
            if env.IsCleanTarget() or script in attached:
                return
            env[ATTACHED] = (*attached, script)
            try:
                platforms.of(env)  # a chip that nothing is made for
                _refuse_scope(env, script, scope)
                attach(env, load_settings(env))
            except OtasealError as error:
                if not env.IsIntegrationDump():
                    print_error(env, error)
                    env.Exit(1)

        return wrapper

    return decorate


def _refuse_scope(env: Env, script: str, scope: str) -> None:
    """Refuse a hook that runs on the wrong side of the platform's builder: what it declares would be lost (F32)."""
    targets = env.get("__PIO_TARGETS") or {}
    after_platform = any(target["group"] == "Platform" for target in targets.values())
    if after_platform == (scope == "post"):
        return
    lines = [line for line in env.GetProjectOption("extra_scripts", []) if line.endswith(script)]
    line = lines[0] if lines else script
    bare = line.removeprefix("pre:").removeprefix("post:")
    when = "before" if scope == "pre" else "after"
    raise ConfigError(
        f"extra_scripts has the line '{line}', and {script} works only if it runs {when} the platform's own builder",
        f"write it as {scope}:{bare}",
    )


def action(env: Env, work: Callable[[Env], str | None], title: str | None) -> Any:
    """Return an SCons action that does `work(env)` and prints the line it returns; its errors fail the build.

    `title` is printed before it; with None nothing is. With -v PlatformIO's own method returns no action.
    """
    return env.Action(env.VerboseAction(_Work(work), title))


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
            print_error(env, error)
            return 1
        except OSError as error:
            print_error(
                env, SystemFaultError(f"the system refused: {error}", "check the disk's space and the permissions")
            )
            return 1
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in INSTALLABLE:
                raise
            print_error(env, _missing(env, package))
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
    from ..keys.passphrase import from_settings
    from ..keys.signers import KeySource

    project = path(env, ".")
    return KeySource(
        project=project,
        environment=os.environ,
        passphrase=from_settings(options.passphrase_file, project, os.environ),
        forbidden=(path(env, "$PROJECT_DATA_DIR"),),
    )


def firmware(env: Env) -> Any:
    """Return the node of `firmware.bin`; it has a builder in a run that builds firmware.

    Raises ConfigError in a run that is about firmware, where the platform has declared none of that name.
    """
    node = env.File(env.subst("$BUILD_DIR/${PROGNAME}.bin"))
    if env.PioPlatform().is_embedded() and not requested().intersection(FILESYSTEM_TARGETS):
        _refuse_undeclared(env, node, "PROGNAME")
    return node


def filesystem_image(env: Env) -> Any:
    """Return the node of the filesystem image; a run of `uploadall`, for which the platform has none, declares it.

    It stays the same for all hooks, whatever scripts in between do to its name. Raises ConfigError in a run that is
    about the filesystem, where the platform has declared no image of that name.
    """
    if IMAGE in env:
        return env[IMAGE]
    variable = platforms.of(env).image_name
    image = env.File(env.subst(f"$BUILD_DIR/${{{variable}}}.bin"))
    if requested().intersection(FILESYSTEM_TARGETS):
        _refuse_undeclared(env, image, variable)
    elif "uploadall" in requested() and not image.has_builder():
        # The builder appends the suffix itself.
        built = env.DataToBin(str(image.get_abspath()).removesuffix(".bin"), env.subst("$PROJECT_DATA_DIR"))
        env.NoCache(built)
        env.AlwaysBuild(built)
    env[IMAGE] = image
    return image


def filesystem(env: Env) -> str:
    """Return which filesystem the platform makes: the only one it has, else as "littlefs" or "spiffs" (F15, F75)."""
    platform = platforms.of(env)
    default = "spiffs"
    if platform is platforms.ESP32:  # made by mkspiffs_espressif32_arduino, say, or without a tool by pioarduino
        default = env.get("MKFSTOOL", "mklittlefs").removeprefix("mk").partition("_")[0]
    return platform.filesystem or str(env.BoardConfig().get("build.filesystem", default)).lower()


def _refuse_undeclared(env: Env, node: Any, variable: str) -> None:
    """Refuse a name that the platform's builder did not use, because `variable` was another when it ran."""
    declared = env.Alias("buildprog")[0].sources
    if node in declared or env.File(node.get_abspath() + SIGNED_SUFFIX) in declared:  # with `nobuild`, the latter (F70)
        return
    if not declared or not declared[0].name.endswith(".bin") or not env.get(variable):
        raise ConfigError(
            f"platform '{env.PioPlatform().name}' makes nothing that is named by {variable} in this run",
            f"build it with the platform {platforms.of(env).release} or newer",
        )
    raise ConfigError(
        f"this run is about '{declared[0].name}', and by what {variable} is now it would be '{node.name}'",
        f"a script sets {variable} too late: list that script with pre: in extra_scripts",
    )


def makes_filesystem() -> bool:
    """Tell whether this run has a filesystem image to make, or with `nobuild` to ship."""
    return bool(requested().intersection(("uploadall", *FILESYSTEM_TARGETS)))


def requested() -> frozenset[str]:
    """Return the targets of the command line."""
    from SCons.Script import COMMAND_LINE_TARGETS

    return frozenset(COMMAND_LINE_TARGETS)


def is_test() -> bool:
    """Tell whether this build is that of `pio test`, which no device is meant to keep."""
    return "__test" in requested()


def is_compressed(env: Env) -> bool:
    """Tell whether `firmware.bin` itself is a gzip, with the image it holds beside it in `firmware.bin.orig` (F9)."""
    if platforms.of(env) is not platforms.ESP8266:
        return False
    return str(env.BoardConfig().get("build.gzip_fw", "")).lower() in ("yes", "true", "1", "on")


def uploads_over_serial(env: Env) -> bool:
    """Tell whether this build writes the chip by cable; any other command may go over the air, as far as we know."""
    command = env.get("UPLOADCMD")
    return isinstance(command, str) and platforms.of(env).cable.search(env.subst(command)) is not None


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


def print_error(env: Env, error: OtasealError) -> None:
    """Print the two lines of `error`, after whatever the build has printed so far."""
    sys.stdout.flush()
    sys.stderr.write(runnable(env, describe(error)) + "\n")
    sys.stderr.flush()


def runnable(env: Env, text: str) -> str:
    """Return a hint in which each command of otaseal is called as it can be, with the Python of this build."""
    return commands.runnable(text, str(env.subst("$PYTHONEXE")))


def _missing(env: Env, package: str) -> SystemFaultError:
    # Not sys.executable: platforms may run scripts on the packages of another interpreter, and set this one then (F78).
    python = Path(env.subst("$PYTHONEXE"))
    beside = (python.with_name(name) for name in ("uv", "uv.exe"))
    uv = next((path for path in beside if path.is_file()), None)  # which makes interpreters without pip
    install = f'"{python}" -m pip install' if uv is None else f'"{uv}" pip install --python "{python}"'
    return SystemFaultError(
        f"the Python that runs PlatformIO lacks the package '{package}'",
        f"install it there: {install} {INSTALLABLE[package]}",
    )
