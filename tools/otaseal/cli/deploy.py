"""`otaseal deploy`: publish what was built and signed, rehearsed and read back."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import files
from ..chips.limits import MAX_IMAGE_SIZE
from ..client import purpose, release_log
from ..client.client import Client, Progress
from ..client.deployment import Admitted, Options
from ..errors import ConfigError, naming
from ..image.firmware import Firmware
from ..project import project, source_version
from ..release import attachments
from ..release.boards import known_names
from ..release.records import manifest_of
from ..sbom import document
from . import common, remote, rollout
from .release import add_notes, given_notes

BAR_WIDTH = 30


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
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
    deploy.add_argument("--percent", type=rollout.PERCENT, help="of the devices that are to get it; default: 100")
    rollout.add_plan(deploy)
    rollout.add_limits(deploy)
    deploy.add_argument("--allow-downgrade", action="store_true", help="even if it is older than the current release")
    rollout.add_consent(deploy)
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
        consent=rollout.consent(arguments),
        max_failed=arguments.max_failed,
        patience=arguments.patience,
    ).with_plan(plan)
    attached = _attachments(arguments, signed)
    said = given_notes(arguments)
    admitted = connected.check(signed, origin, options, boards)
    what_for = purpose.of_deployment(connected, admitted, said)
    for line in () if arguments.json else what_for.lines():
        print(line)
    rollout.show_plan(arguments, connected, product, channel, options.waves)
    with remote.interruptible(lambda: remote.published_state(connected, product, channel, version)):
        rehearsal_result = _rehearsed(arguments, connected, admitted)
        if arguments.log_key is not None:
            signer = common.signer(arguments.log_key, None)
            attached[attachments.LOG] = release_log.next_entry(connected, admitted.release, attached, signer)
        deployment = connected.publish(admitted, rehearsal_result, progress_bar(), attached)
        if said:
            connected.set_notes(product, version, said)
    return common.show(arguments, {**deployment.as_dict(), "notes": what_for.as_json()}, *deployment.lines())


def _attachments(arguments: argparse.Namespace, signed: Sequence[Firmware]) -> dict[str, bytes]:
    """Return what is to be kept beside the images, by kind; raises InputError for what cannot be that."""
    given = {attachments.SBOM: arguments.sbom, attachments.PROVENANCE: arguments.provenance}
    found = {
        kind: files.read_bounded(path, attachments.LIMITS[kind], kind)
        for kind, path in given.items()
        if path is not None
    }
    for kind, data in found.items():
        with naming(given[kind]):
            attachments.parse(kind, data)
    if attachments.SBOM in found:
        with naming(arguments.sbom):
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
