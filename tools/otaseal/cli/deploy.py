"""`otaseal deploy`, `releases`, `promote` and `rollback`: what an operator does with an update server."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..client import release_log
from ..client.client import Client, Progress
from ..client.deployment import Admitted, Options
from ..errors import ConfigError
from ..image.firmware import Firmware
from ..project import project, source_version
from ..release import attachments, record_json
from ..release.boards import known_names
from ..release.channels import MAX_FAILED, PATIENCE
from ..release.plan_fields import wave_fields
from ..release.records import Release, manifest_of
from ..release.stranding import Consent
from ..release.waves import MAX_PATIENCE
from ..sbom import document
from . import common, remote, rollout
from .release import add_notes, given_notes

BAR_WIDTH = 30
_PERCENT = common.number(0, 100, "is not a percentage")


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    deploy = remote.command(
        subparsers,
        "deploy",
        _deploy,
        example="otaseal deploy firmware.bin.signed --server https://update.local:8444 --product blink --version 1.2.0",
    )
    deploy.add_argument(
        "firmware",
        type=common.path,
        nargs="+",
        help="firmware.bin.signed, or its raw and its gzip form; of several boards those of each",
    )
    deploy.add_argument("--version", help="of the release; else what its manifest says, else git describe")
    deploy.add_argument(
        "--board", action="append", default=[], help="the board that it is built for; of several once for each"
    )
    deploy.add_argument("--percent", type=_PERCENT, help="of the devices that are to get it; default: 100")
    rollout.add_plan(deploy)
    _limits(deploy)
    deploy.add_argument("--allow-downgrade", action="store_true", help="even if it is older than the current release")
    _add_consent(deploy)
    deploy.add_argument("--sbom", type=common.path, metavar="FILE", help="what it is made of: its .cdx.json")
    deploy.add_argument(
        "--provenance", type=common.path, metavar="FILE", help="who built it, as otaseal provenance writes it"
    )
    deploy.add_argument(
        "--log-key", metavar="URI", help="enter the release into the product's log, signed by this key of the product"
    )
    add_notes(deploy)
    deploy.add_argument("--no-rehearse", action="store_true", help="publish without a rehearsal, which is recorded")
    deploy.add_argument(
        "--filesystem", type=common.path, metavar="FILE", help="the devices' littlefs.bin, for the rehearsal"
    )
    deploy.add_argument(
        "--layout", metavar="NAME", help="of the flash, as in 4m2m, or partitions.bin; for the rehearsal"
    )

    remote.command(
        subparsers,
        "releases",
        _releases,
        example="otaseal releases --server https://update.local:8444 --product blink",
        channel=None,
    )
    promote = remote.command(
        subparsers,
        "promote",
        _promote,
        example="otaseal promote beta --to stable --percent 10 --server https://update.local:8444 --product blink",
        channel="the same as --to; else OTASEAL_CHANNEL, else stable",
    )
    promote.add_argument("source", nargs="?", help="the channel whose release is taken")
    promote.add_argument("--to", metavar="CHANNEL", help="the channel that gets it; default: what --channel says")
    promote.add_argument("--version", help="take this release instead")
    promote.add_argument("--percent", type=_PERCENT, default=None, help="of the devices; alone: continue a rollout")
    rollout.add_plan(promote)
    promote.add_argument(
        "--set-aside", action="store_true", help="the failures of the rollout so far do not count any more"
    )
    _add_consent(promote)
    _limits(promote)

    rollback = remote.command(
        subparsers,
        "rollback",
        _rollback,
        example="otaseal rollback --channel stable --server https://update.local:8444 --product blink",
    )
    _add_consent(rollback)


def _add_consent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--raise-counter", action="store_true", help="even if its security counter is higher: devices never go back"
    )
    parser.add_argument(
        "--strand-devices", action="store_true", help="even if devices seen would refuse it: they are left behind"
    )


def _consent(arguments: argparse.Namespace) -> Consent:
    return Consent(raise_counter=arguments.raise_counter, strand_devices=arguments.strand_devices)


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-failed", type=common.number(0, 100, "is not a percentage of failures"), metavar="PERCENT",
        help=f"halt when more of the devices that took it do not come back with it; default: {MAX_FAILED}",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=common.number(1, MAX_PATIENCE, "is not a valid number of minutes"), metavar="MINUTES",
        help=f"when a silent device has not come back: longer than they pause between polls; default: {PATIENCE}",
    )  # fmt: skip


def _deploy(arguments: argparse.Namespace) -> int:
    if arguments.no_rehearse and (arguments.filesystem or arguments.layout):
        raise ConfigError("--filesystem and --layout are for the rehearsal", "leave them out, or --no-rehearse")
    plan = rollout.project_plan(arguments)
    connected, product, channel = remote.connect(arguments)
    signed = [Firmware(files.read_bounded(path, MAX_IMAGE_SIZE, "firmware")) for path in arguments.firmware]
    state = source_version.git_state(remote.folder(arguments) or Path(), os.environ)
    version = source_version.version_from(remote.options(arguments).version, state, manifest_of(signed[0]))
    if state is not None and state.fault is not None:
        print(f"otaseal: note: the release names no commit: {state.fault.message}", file=sys.stderr)
    boards = arguments.board or known_names(signed, _boards(arguments))
    origin = source_version.origin(product, version, "".join(boards[:1]), state)
    options = Options(
        channel=channel,
        percent=100 if arguments.percent is None else arguments.percent,
        allow_downgrade=arguments.allow_downgrade,
        consent=_consent(arguments),
        max_failed=arguments.max_failed,
        patience=arguments.patience,
    ).with_plan(plan)
    attached = _attachments(arguments, signed)
    said = given_notes(arguments)
    admitted = connected.check(signed, origin, options, boards)
    rollout.show_plan(arguments, connected, product, channel, options.waves)
    with remote.interruptible(lambda: remote.published_state(connected, product, channel, version)):
        rehearsal_result = _rehearsed(arguments, connected, admitted)
        if arguments.log_key is not None:
            signer = common.signer(arguments.log_key, None)
            attached[attachments.LOG] = release_log.next_entry(connected, admitted.release, attached, signer)
        deployment = connected.publish(admitted, rehearsal_result, progress_bar(), attached)
        if said:
            connected.set_notes(product, version, said)
    common.show(arguments, deployment.as_dict(), *deployment.lines())
    return 0


def _attachments(arguments: argparse.Namespace, signed: Sequence[Firmware]) -> dict[str, bytes]:
    """Return what is to be kept beside the images, by kind; raises InputError for what cannot be that."""
    given = {attachments.SBOM: arguments.sbom, attachments.PROVENANCE: arguments.provenance}
    found = {
        kind: files.read_bounded(path, attachments.LIMITS[kind], kind)
        for kind, path in given.items()
        if path is not None
    }
    for kind, data in found.items():
        attachments.parse(kind, data)
    if attachments.SBOM in found:
        document.require(found[attachments.SBOM], [one.data for one in signed])
    return found


def _rehearsed(arguments: argparse.Namespace, connected: Client, admitted: Admitted) -> str:
    """Rehearse before anything is published, and return what the server keeps of it; raises when it fails."""
    if arguments.no_rehearse:
        return "skipped"
    if admitted.release.others and (arguments.filesystem or arguments.layout):
        raise ConfigError(
            f"--filesystem and --layout are for one board, and the release is for {len(admitted.boards)}",
            "leave them out; pio run -t deploy rehearses each with its own",
        )
    from .. import rehearsal
    from ..rehearsal import Inputs, sources
    from ..rehearsal.candidate import Candidate

    layout = sources.named_layout(arguments.layout)
    outcomes = []
    for board in admitted.boards:
        inputs = Inputs(
            Candidate(board.files, board.origin), arguments.filesystem, authority=connected.ca, layout=layout
        )
        report = rehearsal.before_publishing(connected, inputs, board)
        outcomes.append(remote.rehearsed(report, arguments.json))
    return rehearsal.outcome(outcomes)


def _boards(arguments: argparse.Namespace) -> list[str]:
    """Return the boards of the project's environments, by which a manifest's id is told."""
    folder = remote.folder(arguments)
    environments = () if folder is None else project.default_environments(folder, os.environ)
    return [environment.board for environment in environments if environment.board]


def progress_bar() -> Progress | None:
    """Return what draws the progress of an upload on a terminal; None where nobody would see it."""
    if not sys.stderr.isatty():
        return None

    def draw(sent: int, total: int) -> None:
        full = BAR_WIDTH * sent // total
        bar = "#" * full + "." * (BAR_WIDTH - full)
        sys.stderr.write(f"\r[{bar}] {sent // 1024} of {total // 1024} KiB" + ("\n" if sent == total else ""))
        sys.stderr.flush()

    return draw


def _releases(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    answer = connected.get(f"/v1/products/{quote(product, safe='')}/releases")
    lines = [] if answer["releases"] else [f"product '{product}' has no release yet"]
    lines += [f"channel  {name}: {_state(state)}" for name, state in answer["channels"].items()]
    lines += map(_alarm_line, answer.get("alarms", []))
    for listed in answer["releases"]:
        release = record_json.from_json(listed)
        lines += _release_lines(release, answer.get("notes", {}).get(release.version, {}))
        if attached := answer.get("attachments", {}).get(release.version):  # an older server has none
            lines.append(f"  with {', '.join(attached)}")
        made = answer.get("patches", [])
        lines += [_patch_line(patch, release) for patch in made if patch["version"] == release.version]
    common.show(arguments, answer, *lines)
    for damage in () if arguments.json else answer.get("damaged", []):
        print(f"otaseal: warning: {damage}", file=sys.stderr)
    return 0


def _release_lines(release: Release, said: Mapping[str, str]) -> list[str]:
    counter = f"  security counter {release.security_counter}" if release.security_counter else ""
    dirty = "  (uncommitted changes)" if release.dirty else ""
    severity = f"  [{said['severity']}]" if said.get("severity") else ""
    head = f"release  {release.version}{severity}  {release.created}"
    notes = [f"  | {line}" for line in said.get("notes", "").splitlines()]
    if not release.others:
        return [f"{head}  {_sizes(release)}{counter}{dirty}", *notes]
    boards = [f"  {image.board or image.board_key}  {image.chip}  {_sizes(image)}" for image in release.images]
    return [f"{head}{counter}{dirty}", *notes, *boards]


def _alarm_line(alarm: Mapping[str, Any]) -> str:
    since = datetime.fromtimestamp(alarm["since"], timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    where = "".join(f"  {alarm[field]}" for field in ("channel", "device") if alarm[field])
    return f"alarm    since {since}{where}: {alarm['text']}"


def _patch_line(patch: Mapping[str, Any], release: Release) -> str:
    image = next((image for image in release.images if (image.board or image.board_key) == patch["board"]), release)
    raw = image.form("raw")
    share = f", {100 * patch['size'] / raw.size:.2g} % of the image" if raw else ""
    board = f"  {patch['board']}" if patch["board"] else ""
    return f"  from {patch['before']}{board}  patch {patch['size']} bytes{share}"


def _sizes(image: Release) -> str:
    return ", ".join(f"{form.kind} {form.size} bytes" for form in image.forms)


def _promote(arguments: argparse.Namespace) -> int:
    plan = rollout.plan_of(arguments)
    connected, product, channel = remote.connect(arguments)
    target = _target(arguments, channel)
    sources = [source for source in (arguments.source, arguments.version) if source is not None]
    path = f"/v1/products/{quote(product, safe='')}/channels/{quote(target, safe='')}"
    if len(sources) > 1 or (not sources and arguments.percent is None):
        raise ConfigError("it is not clear what to promote", "name a channel, --version, or --percent alone")
    limits = rollout.limits(arguments, plan)
    given = {name: value for name, value in limits.items() if value is not None}
    consent = _consent(arguments).given()
    if sources and arguments.set_aside:
        raise ConfigError("--set-aside is for the rollout that goes on", "leave it out, or give --percent alone")
    if not sources:
        if consent:
            what = " and ".join(f"--{option.replace('_', '-')}" for option in consent)
            raise ConfigError(f"{what} is for another release, and none is named", "leave it out, or name the release")
        aside = {"set_aside": True} if arguments.set_aside else {}
        path, asked = f"{path}/percent", {"percent": arguments.percent, **given, **aside}
    else:
        wanted = {"from": arguments.source} if arguments.source else {"version": arguments.version}
        share: dict[str, Any] = {"percent": 100 if arguments.percent is None else arguments.percent}
        if plan is not None:
            share = {"waves": [wave_fields(wave) for wave in plan.waves]}
            rollout.show_plan(arguments, connected, product, target, plan.waves)
        path, asked = f"{path}/promote", {**wanted, **share, **given, **dict.fromkeys(consent, True)}
    with remote.interruptible(lambda: remote.published_state(connected, product, target)):
        answer = connected.post(path, asked)
    return _report(arguments, target, answer)


def _target(arguments: argparse.Namespace, channel: str) -> str:
    if arguments.to and arguments.channel and arguments.to != arguments.channel:
        raise ConfigError(f"--to '{arguments.to}' and --channel '{arguments.channel}' differ", "give one of them")
    return str(arguments.to or channel)


def _rollback(arguments: argparse.Namespace) -> int:
    connected, product, channel = remote.connect(arguments)
    path = f"/v1/products/{quote(product, safe='')}/channels/{quote(channel, safe='')}/rollback"
    with remote.interruptible(lambda: remote.published_state(connected, product, channel)):
        answer = connected.post(path, dict.fromkeys(_consent(arguments).given(), True))
    return _report(arguments, channel, answer)


def _report(arguments: argparse.Namespace, channel: str, answer: dict[str, Any]) -> int:
    line = f"channel  {channel}: {_state(answer['channel'])}, before: {answer['before'] or 'nothing'}"
    devices = (f"devices  {count} run {version}" for version, count in answer["devices"].items())
    common.show(arguments, {"name": channel, **answer}, line, *devices)
    return 0


def _state(state: dict[str, Any]) -> str:
    share = "" if state["percent"] == 100 else f" to {state['percent']} % of the devices"
    wave = f", wave {state['wave']} of {state['waves']}" if state.get("waves", 1) > 1 else ""
    stopped = ", HALTED" if state["halted"] else ", paused" if state.get("paused") else ""
    return f"{state['version']}{share}{wave}{stopped}"
