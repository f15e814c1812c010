"""Targets of ours that a project may have, too: ours are declared after all extra scripts, where the name is free.

A name that is declared twice ends every run in a bare assertion of PlatformIO's, wherever the second one stands in
extra_scripts; of two aliases of one name SCons makes one with the actions of both. So the project's own target stays
alone, and a line says that ours is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from . import after_scripts, build


def declare_last(
    env: build.Env, declarations: Mapping[str, Callable[[build.Env], None]], then: Callable[[frozenset[str]], None]
) -> None:
    """Call the declaration of each target by name that no script has declared, when all scripts have run.

    `then` is called before them, with the names that are ours. What either raises ends the build.
    """

    def declare(env: build.Env) -> None:
        ours = frozenset(name for name in declarations if not _is_taken(env, name))
        then(ours)
        for name in sorted(ours):
            declarations[name](env)
            # What a script made of the name before, in env.Depends("deploy", ...), is a node of its own.
            env.Depends(name, env.Entry(name).depends)
        if len(ours) < len(declarations) and not env.IsIntegrationDump():
            _note(sorted(set(declarations) - ours))

    after_scripts.run(env, declare)


def _is_taken(env: build.Env, name: str) -> bool:
    """Tell whether a script has declared the target, with PlatformIO's method or as an alias of SCons."""
    alias = env.ans.lookup(name)
    return name in env.get("__PIO_TARGETS", {}) or (alias is not None and alias.has_builder())


def _note(names: list[str]) -> None:
    shown = ", ".join(f"'{name}'" for name in names)
    sys.stderr.write(
        f"otaseal: note: the project has a target of its own called {shown}, and so otaseal's is not there: "
        "give the project's another name to get it\n"
    )
