"""`otaseal rehearse`: a virtual device plays the update, before the fleet does."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone

from .. import files
from ..chips.boot_image import FlashMode
from ..chips.limits import MAX_IMAGE_SIZE
from ..client import credentials
from ..commands import runnable
from ..errors import ConfigError, SystemFaultError
from ..image.firmware import read as read_firmware
from ..project import project, source_version
from ..project.project import Project
from ..rehearsal import Report, comparison, markdown, power_cuts, scenario, setup, sources
from ..rehearsal import hostile as attacks
from ..rehearsal.candidate import Candidate
from ..rehearsal.flash_map import svg
from ..rehearsal.setup import DeviceOptions, Inputs, Remote
from ..rehearsal.text import report_lines, table_lines
from ..release.records import board_key, manifest_of
from ..simulator.power import PowerCuts
from . import common

NO_VERSION = "rehearsal"
NO_PRODUCT = "rehearsal"
POLLS = 2
MAX_POLLS = 10
EPOCH = "1970"


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = common.command(
        subparsers, "rehearse", _rehearse, example="otaseal rehearse --project ~/blink --clock 2031-01-01"
    )
    parser.add_argument(
        "firmware", type=common.path, nargs="*", help="signed files; default: what the project's last build made"
    )
    common.add_project(parser)
    parser.add_argument("--from", dest="old", type=common.path, metavar="OLD.bin", help="what devices run now")
    parser.add_argument("--core", metavar="RELEASE", help="of the device; default: that of the old firmware")
    modes = [mode.name.lower() for mode in FlashMode]
    parser.add_argument("--flash-mode", choices=modes, help="of the chip; default: that of the old firmware")
    parser.add_argument(
        "--layout", metavar="NAME", help="of the flash, as in 4m2m, or partitions.bin; default: the project's"
    )
    parser.add_argument("--clock", metavar="DATE", help="what the device's clock says, as in 2031-01-01, or 1970")
    parser.add_argument("--device-cert", type=common.path, metavar="FILE", help="the device's certificate chain, PEM")
    parser.add_argument("--device-key", type=common.path, metavar="FILE", help="its key; default: key.pem beside it")
    parser.add_argument("--url", help="where devices ask; default: what the update server of the project says")
    parser.add_argument("--token-file", type=common.path, metavar="FILE", help="else as the project says")
    parser.add_argument("--offline", action="store_true", help="leave the live server alone")
    parser.add_argument("--repeat", type=int, default=POLLS, metavar="N", help=f"polls in all; default: {POLLS}")
    parser.add_argument("--hostile", action="store_true", help="try what must fail, too")
    parser.add_argument("--power-cuts", action="store_true", help="let the power fail at every operation on flash, too")
    parser.add_argument(
        "--summary", type=common.path, metavar="FILE", help="write a report in Markdown, as for a CI job"
    )
    parser.add_argument(
        "--compare", type=common.path, metavar="OLD.bin", help="with --summary: the release before; default: as --from"
    )
    parser.add_argument("--svg", type=common.path, metavar="FILE", help="draw the flash map into this file")


def _rehearse(arguments: argparse.Namespace) -> int:
    examined = project.load(arguments.project, arguments.env, os.environ)
    candidate = _candidate(arguments, examined)
    image, archive = sources.trust_of(
        examined.filesystem_image, examined.data, examined.settings, examined.folder, datetime.now(timezone.utc)
    )
    authority = None if examined.settings.server_ca is None else examined.path(examined.settings.server_ca)
    layout = sources.layout_of(examined, arguments.layout)
    inputs = Inputs(candidate, image, archive, authority=authority, layout=layout)
    remote = _remote(arguments, examined)
    prepared = setup.prepare(inputs, _device_options(arguments), remote)
    report, colours = scenario.play(prepared), common.colours(sys.stdout)
    if arguments.summary is not None:
        files.write_atomic(arguments.summary, _summary(arguments, candidate, remote, report).encode())
    rows = attacks.hostile(prepared) if arguments.hostile else ()
    cuts, cut_lines = _cut_power(prepared) if arguments.power_cuts else (None, ())
    if arguments.svg is not None:
        title = f"{candidate.origin.product} {candidate.origin.version}: flash layout {prepared.device.layout.name}"
        files.write_atomic(arguments.svg, svg(report.maps, title).encode())
    table = {"hostile": [{**row.__dict__, "ok": row.ok} for row in rows]} if arguments.hostile else {}
    attack_lines = ["", "what must fail:", *table_lines(rows, colours)] if rows else []
    table |= {"power_cuts": asdict(cuts)["phases"]} if cuts else {}
    lines = (*map(runnable, report_lines(report, colours)), *attack_lines, *cut_lines)
    common.show(arguments, {**report.as_dict(), **table}, *lines)
    lost = cuts is not None and cuts.lost and power_cuts.must_survive(prepared.device)
    return 0 if report.good and all(row.ok for row in rows) and not lost else 1


def _summary(arguments: argparse.Namespace, candidate: Candidate, remote: Remote | None, report: Report) -> str:
    """Return the report in Markdown, compared with the release before as far as that is known."""
    named = arguments.compare or arguments.old
    before = None if remote is None or remote.current is None else read_firmware(remote.current)
    if named is not None:
        before = read_firmware(files.read_bounded(named, MAX_IMAGE_SIZE, "release before"))
    released = None if remote is None or named is not None else remote.version
    commits = [one.git_commit for one in remote.known if one.version == released] if remote is not None else []
    changes = source_version.changes_since(commits[0], arguments.project, os.environ) if commits else ()
    return markdown.summary(candidate.origin, report, comparison.compare(before, candidate.forms), changes)


def _cut_power(prepared: scenario.Scenario) -> tuple[PowerCuts | None, Sequence[str]]:
    """Return what comes of power cuts, None where the update is refused, and what there is to be said of them."""
    try:
        cuts = power_cuts.cut(prepared.device, prepared.candidate)
    except ConfigError as error:
        return None, ("", f"power cuts: none, {error.message}")
    return cuts, ("", *power_cuts.table_lines(prepared.device, cuts))


def _candidate(arguments: argparse.Namespace, examined: Project) -> Candidate:
    """Return what is rehearsed: the files that are named, else what the project built."""
    forms = sources.read_forms(arguments.firmware) or sources.built_forms(examined.firmware)
    options, attached = examined.settings, manifest_of(forms[0])
    if attached is not None and options.product is None:
        raise ConfigError(
            "the manifest is for a product, and none is named", "set custom_otaseal_product, or OTASEAL_PRODUCT"
        )
    state = source_version.git_state(examined.folder, os.environ)
    try:
        version = source_version.version_from(options.version, state, attached)
    except (ConfigError, SystemFaultError):
        version = NO_VERSION
    return Candidate(tuple(forms), source_version.origin(options.product or NO_PRODUCT, version, examined.board, state))


def _device_options(arguments: argparse.Namespace) -> DeviceOptions:
    if arguments.offline:
        _refuse_unused(arguments)
    if not 1 <= arguments.repeat <= MAX_POLLS:
        raise ConfigError(f"--repeat is '{arguments.repeat}'", f"use 1 to {MAX_POLLS}")
    client_files = None
    if arguments.device_cert is not None:
        client_files = (arguments.device_cert, arguments.device_key or arguments.device_cert.parent / "key.pem")
    elif arguments.device_key is not None:
        raise ConfigError("--device-key is given without --device-cert", "give both")
    mode = None if arguments.flash_mode is None else int(FlashMode[arguments.flash_mode.upper()])
    return DeviceOptions(
        core=arguments.core,
        flash_mode=mode,
        clock=None if arguments.clock in (None, EPOCH) else _clock(arguments.clock),
        old=arguments.old,
        client=client_files,
        url=arguments.url,
        polls=arguments.repeat,
        unset_clock=arguments.clock == EPOCH,
    )


def _refuse_unused(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for an option that speaks of the server which --offline leaves alone."""
    dated = arguments.clock not in (None, EPOCH)  # a server that stands in is as old as the device believes
    for option, given in (
        ("--url", arguments.url is not None),
        ("--token-file", arguments.token_file is not None),
        ("--device-cert", arguments.device_cert is not None),
        ("--clock", dated),
    ):
        if given:
            raise ConfigError(f"{option} has no effect with --offline", "give one of the two")


def _clock(text: str) -> datetime:
    try:
        date = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"--clock '{text}' is not a date", "write it as in 2031-01-01 or 2031-01-01T12:00:00"
        ) from error
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def _remote(arguments: argparse.Namespace, examined: Project) -> Remote | None:
    """Return what the project's update server says; without server, product or credentials there is nothing to ask."""
    options = examined.with_flags(token_file=common.absolute(arguments.token_file, arguments.project))
    if arguments.offline or options.server is None or options.product is None:
        return None
    connected = credentials.connect(options, examined.folder, os.environ)
    if not connected.is_known:
        if arguments.url is None:
            print(
                "otaseal: note: without credentials the server does not say where devices ask: --url", file=sys.stderr
            )
        return None
    try:
        return setup.remote_state(connected, options.product, options.channel, board=board_key(None, examined.board))
    except SystemFaultError as error:
        raise SystemFaultError(error.message, f"{error.hint}; --offline rehearses without it") from error
