"""`deploy` of a release for several boards: each environment adds its image to a draft, and the last one publishes all.

PlatformIO builds one environment after another, each in a process of its own, and none knows which is the last: the
option `custom_otaseal_environments` says which belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..settings import Settings
from . import attachments, build, planning, rehearse

if TYPE_CHECKING:
    from ..client.client import Client
    from ..image.firmware import Firmware
    from ..project.draft import Entry
    from ..release.records import Origin


def deploy(env: build.Env, options: Settings, connected: Client, signed: Sequence[Firmware], origin: Origin) -> str:
    """Rehearse the image of this environment and keep it; publish where it is the last. Return what to say of it."""
    from ..client.deployment import Options
    from ..image.firmware import Firmware
    from ..project.draft import Draft, Entry
    from ..rehearsal.report import outcome

    _check_environments(env, options)
    wanted = Options(options.channel)
    rehearsed = rehearse.before_deploy(env, options, connected, connected.describe(signed, origin, wanted))
    common = (origin.product, origin.version, origin.git_commit, str(origin.dirty))
    draft = Draft(build.path(env, "$PROJECT_WORKSPACE_DIR") / "otaseal" / "draft", common)
    draft.put(Entry(env["PIOENV"], origin.board, origin.created, rehearsed, tuple(one.data for one in signed)))
    kept = [entry for name in options.environments if (entry := draft.get(name)) is not None]
    missing = [name for name in options.environments if name not in {entry.environment for entry in kept}]
    _refuse_one_board_twice(kept)
    if missing:
        return (
            f"otaseal: {origin.product} {origin.version}: the image for '{origin.board}' is kept, nothing is published "
            f"yet; still to come: {', '.join(missing)}"
        )
    wanted = planning.wanted(env, options, connected, origin.product)
    admitted = connected.check(
        [Firmware(data) for entry in kept for data in entry.files], origin, wanted, [entry.board for entry in kept]
    )
    planning.say_purpose(connected, admitted)
    for entry in kept:
        print(f"otaseal: {entry.environment}: {sum(map(len, entry.files))} bytes for '{entry.board}', {entry.built}")
    print(f"otaseal: publishing {origin.product} {origin.version} to {connected.url}", flush=True)
    images = {entry.environment: entry.files for entry in kept}
    attached = attachments.collect(env, options, connected, admitted, images)
    done = connected.publish(admitted, outcome([entry.rehearsal for entry in kept]), attachments=attached)
    draft.clear()
    return "\n".join(f"otaseal: {line}" for line in done.lines())


def _check_environments(env: build.Env, options: Settings) -> None:
    """Raise ConfigError where the environments that belong together do not have this one, or one does not exist."""
    name = f"custom_otaseal_environments of '{env['PIOENV']}'"
    for environment in options.environments:
        if environment not in env.GetProjectConfig().envs():
            raise ConfigError(f"{name} names '{environment}', which does not exist", "name environments of this file")
    if env["PIOENV"] not in options.environments:
        raise ConfigError(
            f"{name} does not name it", "give all that make one release the same list, with each of them in it"
        )


def _refuse_one_board_twice(kept: Sequence[Entry]) -> None:
    boards: dict[str, str] = {}
    for entry in kept:
        other = boards.setdefault(entry.board, entry.environment)
        if other != entry.environment:
            raise ConfigError(
                f"the environments '{other}' and '{entry.environment}' are both for the board '{entry.board}'",
                "leave one of them out of custom_otaseal_environments, or make it another product",
            )
