"""Find the otaseal package from where this folder lies, and hand the build's environment to one of its hooks.

Works from a checkout, a submodule or a library (`../tools/otaseal`) and from an installed package (`..`), and puts
nothing on sys.path: the folder of another interpreter's packages would shadow PlatformIO's own.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 10)


def _package(folder):
    for candidate in (folder.parent / "tools" / "otaseal", folder.parent):
        if (candidate / "hooks" / "__init__.py").is_file():
            return candidate
    raise FileNotFoundError(f"no otaseal package beside {folder}")


def _is_scons(env):
    """Tell whether `env` is an environment of SCons, and no stand-in that takes every call and does nothing."""
    try:
        from SCons.Environment import SubstitutionEnvironment
    except ImportError:
        return False
    return isinstance(env, SubstitutionEnvironment)


def attach(name, env, folder):
    """Attach the hook `otaseal.hooks.<name>` to `env`; `folder` is where the extra scripts lie."""
    if not _is_scons(env):
        sys.stderr.write(
            "otaseal: error: this builder runs extra_scripts and ignores the steps that they add: it cannot sign\n"
            "otaseal: hint: build with PlatformIO: pio run, or with fbuild's option --platformio\n"
        )
        sys.exit(1)
    if sys.version_info < OLDEST_PYTHON:
        sys.stderr.write(
            "otaseal: error: PlatformIO runs on Python {}.{}, which is too old\n".format(*sys.version_info)
            + "otaseal: hint: reinstall PlatformIO with Python 3.10 or newer\n"
        )
        env.Exit(1)
    if "otaseal" not in sys.modules:
        package = _package(Path(folder))
        spec = importlib.util.spec_from_file_location(
            "otaseal", package / "__init__.py", submodule_search_locations=[str(package)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules["otaseal"] = module
        spec.loader.exec_module(module)
    importlib.import_module("otaseal.hooks." + name).attach(env)
