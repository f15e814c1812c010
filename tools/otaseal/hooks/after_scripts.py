"""What can be declared only when all extra scripts have run: the platform's nodes have their names by then."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import OtasealError
from . import build


def run(env: build.Env, work: Callable[[build.Env], None]) -> None:
    """Call `work(env)` when all extra scripts have run; the OtasealError that it raises ends the build."""
    process_delayed_actions = env.ProcessDelayedActions

    def last(env: build.Env) -> None:
        try:
            work(env)
        except OtasealError as error:
            if not env.IsIntegrationDump():
                build.print_error(env, error)
                env.Exit(1)
        process_delayed_actions()

    # PlatformIO's own last step: actions that scripts put on nodes by name wait for it
    env.AddMethod(last, "ProcessDelayedActions")
