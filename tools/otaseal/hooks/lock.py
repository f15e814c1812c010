"""`custom_otaseal_lock = yes`: a build refuses what is not as in otaseal.lock; and the target `lock`, which writes it.

Looked at before anything is compiled. The project's own code, below its folder, is not locked.
"""

from __future__ import annotations

from ..sbom import lock
from ..settings import Settings
from . import build, installed

TARGET = "lock"


def check(env: build.Env, options: Settings) -> None:
    """Raise InputError, by name, for what differs from the lock; ConfigError where there is none."""
    if options.lock == "no" or TARGET in build.requested() or env.IsIntegrationDump():
        return
    environment = env["PIOENV"]
    locked = lock.read(build.path(env, lock.NAME), environment)
    lock.refuse(locked, _now(env), environment)


def declare(env: build.Env) -> None:
    """Declare the target that writes the lock."""

    def work(env: build.Env) -> str:
        found = _now(env)
        lock.write(build.path(env, lock.NAME), env["PIOENV"], found)
        return f"otaseal: '{lock.NAME}' has {len(found)} entries for the environment '{env['PIOENV']}'"

    env.AddCustomTarget(
        TARGET,
        None,
        [build.action(env, work, "Locking what is installed")],
        title="Lock",
        description="Write what is installed for this environment, with hashes, to otaseal.lock",
    )


def _now(env: build.Env) -> lock.Entries:
    known = installed.trees(env)
    project, deps = build.path(env, "."), build.path(env, "$PROJECT_LIBDEPS_DIR")
    parts = [*installed.platform_and_packages(env)]
    for part in installed.libraries(env, tuple(parts)):
        folder = part.folder.resolve()
        own = folder.is_relative_to(project) and not folder.is_relative_to(deps.resolve())
        if not own and not part.within:  # what is within a package is locked with it
            parts.append(part)
    found = lock.entries_of([installed.with_tree(part, known) for part in parts])
    known.save()
    return found
