"""The options that PlatformIO knows by name: which are lists, which a variable replaces, and what they are by default.

One table, of the sections [platformio] and [env:...], as PlatformIO 6.1 and 6.2 have them. Any other option is plain
text. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["FOLDER", "KnownOption", "find", "in_scope"]

FOLDER = "<the name of the project's folder>"
"""The default of the project's name."""


@dataclass(frozen=True)
class KnownOption:
    """An option of a `scope` ("platformio" or "env"): its `old` names, and the `variable` that replaces it.

    Of a list (`multiple`) the variable adds to what the files say. `default` is None where it has none.
    """

    scope: str
    name: str
    default: str | None = None
    multiple: bool = False
    variable: str = ""
    old: tuple[str, ...] = ()
    directory: bool = False
    boolean: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that it can have in a file."""
        return (self.name, *self.old)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that replace it, the first that is set."""
        return (self.variable, *(f"PLATFORMIO_{name.upper()}" for name in self.old)) if self.variable else ()


def _variable(name: str) -> str:
    return f"PLATFORMIO_{name.upper()}"


def _directory(name: str, default: str | None, *old: str) -> KnownOption:
    return KnownOption("platformio", name, default, variable=_variable(name), old=old, directory=True)


def _plain(names: str) -> Iterable[KnownOption]:
    return (KnownOption("env", name) for name in names.split())


def _list(name: str, default: str | None = None, *old: str, variable: bool = False) -> KnownOption:
    return KnownOption("env", name, default, True, _variable(name) if variable else "", old)


def _switch(name: str, default: str, *old: str) -> KnownOption:
    return KnownOption("env", name, default, old=old, boolean=True)


_CORE, _WORKSPACE, _PROJECT = "${platformio.core_dir}", "${platformio.workspace_dir}", "${PROJECT_DIR}"
_TABLE = (
    KnownOption("platformio", "name", FOLDER),
    KnownOption("platformio", "description"),
    KnownOption("platformio", "default_envs", multiple=True, variable=_variable("default_envs"), old=("env_default",)),
    KnownOption("platformio", "extra_configs", multiple=True),
    _directory("core_dir", "~/.platformio", "home_dir"),
    _directory("globallib_dir", f"{_CORE}/lib"),
    _directory("platforms_dir", f"{_CORE}/platforms"),
    _directory("packages_dir", f"{_CORE}/packages"),
    _directory("cache_dir", f"{_CORE}/.cache"),
    _directory("build_cache_dir", None),
    _directory("workspace_dir", f"{_PROJECT}/.pio"),
    _directory("build_dir", f"{_WORKSPACE}/build"),
    _directory("libdeps_dir", f"{_WORKSPACE}/libdeps"),
    *(
        _directory(f"{stem}_dir", f"{_PROJECT}/{stem}")
        for stem in ("include", "src", "lib", "data", "test", "boards", "monitor", "shared")
    ),
    *_plain("platform board upload_protocol upload_speed upload_resetmethod upload_command monitor_port monitor_rts"),
    *_plain("monitor_dtr test_port debug_tool debug_port debug_speed debug_svd_path debug_server_ready_pattern"),
    *_plain("debug_test"),
    *(
        KnownOption("env", f"board_build.{name}", old=(f"board_{name}",))
        for name in ("mcu", "f_cpu", "f_flash", "flash_mode")
    ),
    KnownOption("env", "upload_port", variable=_variable("upload_port")),
    KnownOption("env", "build_type", "release"),
    KnownOption("env", "monitor_speed", "9600", old=("monitor_baud",)),
    KnownOption("env", "monitor_parity", "N"),
    KnownOption("env", "monitor_eol", "CRLF"),
    KnownOption("env", "monitor_encoding", "UTF-8"),
    KnownOption("env", "lib_ldf_mode", "chain"),
    KnownOption("env", "lib_compat_mode", "soft"),
    KnownOption("env", "test_framework", "unity"),
    KnownOption("env", "test_speed", "115200"),
    KnownOption("env", "debug_init_break", "tbreak main"),
    KnownOption("env", "debug_load_mode", "always"),
    _switch("monitor_raw", "no"),
    _switch("monitor_echo", "no"),
    _switch("lib_archive", "yes"),
    _switch("check_skip_packages", "no"),
    _switch("test_build_src", "no", "test_build_project_src"),
    *(_list(name) for name in ("platform_packages", "framework", "targets", "monitor_filters", "lib_ignore")),
    *(_list(name) for name in ("check_flags", "test_filter", "test_ignore", "test_testing_command", "extends")),
    *(_list(name) for name in ("debug_init_cmds", "debug_extra_cmds", "debug_server")),
    *(_list(name, variable=True) for name in ("build_flags", "build_unflags", "upload_flags", "lib_extra_dirs")),
    _list("build_src_flags", None, "src_build_flags", variable=True),
    _list("build_src_filter", "+<*> -<.git/> -<.svn/>", "src_filter", variable=True),
    _list("extra_scripts", None, "extra_script", variable=True),
    _list("lib_deps", None, "lib_use", "lib_force", "lib_install"),
    _list("check_src_filters", None, "check_patterns"),
    _list("check_tool", "cppcheck"),
    _list("check_severity", "low\nmedium\nhigh"),
    _list("debug_build_flags", "-Og\n-g2\n-ggdb2"),
    _list("debug_load_cmds", "load", "debug_load_cmd"),
)
_KNOWN: Mapping[tuple[str, str], KnownOption] = {(known.scope, name): known for known in _TABLE for name in known.names}


def find(section: str, option: str) -> KnownOption | None:
    """Return what PlatformIO knows of an option of a section, by any of its names."""
    return _KNOWN.get((section.partition(":")[0], option))


def in_scope(section: str) -> tuple[KnownOption, ...]:
    """Return every option that PlatformIO knows for a section."""
    return tuple(name for name in _TABLE if name.scope == section.partition(":")[0])
