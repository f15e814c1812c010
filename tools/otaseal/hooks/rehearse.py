"""The target `rehearse`, which `ship` declares, and the rehearsal that comes before `deploy` publishes anything.

The build knows what the command line can only guess: the linker script, and with it the layout of the flash.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import SystemFaultError
from ..settings import Settings
from . import build, platforms

if TYPE_CHECKING:
    from ..client.client import Client
    from ..client.deployment import Admitted
    from ..image.firmware import Firmware
    from ..rehearsal import Inputs, Report
    from ..release.records import Origin
    from ..simulator.esp32.table import Table
    from ..simulator.flash import Layout

SKIPPED = "skipped"


def before_deploy(env: build.Env, options: Settings, connected: Client, admitted: Admitted) -> str:
    """Rehearse what is about to be published; return what the server keeps of it, or raise why it must not be."""
    if options.rehearse == "no":
        return SKIPPED
    from .. import rehearsal

    inputs = rehearsal_inputs(env, options, admitted.files, admitted.origin)
    return _passed(env, rehearsal.before_publishing(connected, inputs, admitted))


def before_deploycerts(env: build.Env, options: Settings, connected: Client, signed: bytes, product: str) -> str:
    """Rehearse certificates as `before_deploy` rehearses firmware."""
    if options.rehearse == "no":
        return SKIPPED
    from .. import rehearsal
    from ..chips.limits import MAX_IMAGE_SIZE

    firmware = build.path(env, "$BUILD_DIR/${PROGNAME}.bin")
    built = files.read_bounded(firmware, MAX_IMAGE_SIZE, "firmware") if firmware.is_file() else None
    renewal = rehearsal.Renewal(signed, product=product, channel=options.channel, firmware=built, layout=_layout(env))
    return _passed(env, rehearsal.before_renewing(connected, renewal))


def _passed(env: build.Env, report: Report) -> str:
    """Print what a person should see of a rehearsal, and return what the server keeps of it; raises if it failed."""
    from .. import rehearsal
    from ..rehearsal import text

    if not report.good:
        print(build.runnable(env, "\n".join(text.report_lines(report))), flush=True)
        raise rehearsal.refusal(report)
    print("\n".join(f"otaseal: {line}" for line in text.summary(report)), flush=True)
    return report.record


def live_report(
    env: build.Env, options: Settings, connected: Client | None, signed: Sequence[Firmware], origin: Origin
) -> Report:
    """Return the rehearsal at the live server where the project names one; without it, on the loopback alone."""
    from ..rehearsal import scenario, setup
    from ..release.records import board_key

    remote = None
    if connected is not None and connected.is_known:
        try:
            board = board_key(None, origin.board)
            remote = setup.remote_state(connected, origin.product, options.channel, board=board)
        except SystemFaultError as error:
            build.warn(f"rehearsed without the live server: {error.message}")
    inputs = rehearsal_inputs(env, options, signed, origin)
    return scenario.play(setup.prepare(inputs, setup.DeviceOptions(), remote))


def rehearsal_inputs(env: build.Env, options: Settings, signed: Sequence[Firmware], origin: Origin) -> Inputs:
    """Return what this build has to rehearse with."""
    from datetime import datetime, timezone

    from ..rehearsal import sources
    from ..rehearsal.candidate import Candidate
    from ..rehearsal.setup import Inputs

    project, data = build.path(env, "."), build.path(env, "$PROJECT_DATA_DIR")
    image = build.path(env, "$BUILD_DIR/${" + platforms.of(env).image_name + "}.bin")
    filesystem, archive = sources.trust_of(image, data, options, project, datetime.now(timezone.utc))
    authority = None if options.server_ca is None else files.resolve_path(options.server_ca, project)
    return Inputs(Candidate(tuple(signed), origin), filesystem, archive, authority=authority, layout=_layout(env))


def _layout(env: build.Env) -> Layout | Table | None:
    """Return the layout of the flash or its partition table, None for a chip whose image says it itself."""
    from ..rehearsal import sources

    table = sources.read_table(build.path(env, "$BUILD_DIR") / sources.TABLE)
    if table is not None:
        return table
    if platforms.of(env) is not platforms.ESP8266:
        return None
    return sources.read_script(Path(str(env.GetActualLDScript())))
