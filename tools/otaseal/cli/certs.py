"""`otaseal certs`: pack CA certificates for the device, list an archive, check one as the device would read it."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

from .. import archive, files
from ..anchors import Anchor, Finding
from ..cert_sources import collect
from ..certstore import Packed, Policy, Report, check, judge, pack
from ..errors import InputError
from . import common

__all__ = ["register"]


def register(subparsers: common.Subparsers) -> None:
    """Declare `certs pack`, `certs list` and `certs check`."""
    group = subparsers.add_parser(
        "certs", help="CA certificates for devices", description="CA certificates for devices."
    )
    actions = group.add_subparsers(metavar="<action>", required=True)

    packing = common.command(
        actions, "pack", _pack, "pack CA certificates for CertStore", "otaseal certs pack certs/ -o data/certs.ar"
    )
    packing.add_argument("sources", nargs="+", help="files, folders and globs: PEM or DER, single or bundles")
    packing.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="usually data/certs.ar")
    _add_policy(packing)

    listing = common.command(
        actions, "list", _list, "list the certificates that a device finds in an archive", "otaseal certs list certs.ar"
    )
    listing.add_argument("archive", type=Path, help="a certs.ar, ours or made with ar")
    listing.add_argument("--json", action="store_true", help="print JSON")

    checking = common.command(
        actions,
        "check",
        _check,
        "check an archive, or certificates, by the device's rules",
        "otaseal certs check certs/",
    )
    checking.add_argument("sources", nargs="+", help="one certs.ar; or files, folders and globs with certificates")
    _add_policy(checking)


def _add_policy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expired", choices=("drop", "keep", "refuse"), default="drop", help="default: drop")
    parser.add_argument(
        "--unusable", choices=("auto", "refuse", "drop"), default="auto", help="auto: drop from bundles, else refuse"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _pack(arguments: argparse.Namespace) -> int:
    output: Path = arguments.output
    packed = pack(collect(arguments.sources, Path.cwd()), _now(), Policy(arguments.expired, arguments.unusable))
    changed = files.write_if_changed(output, packed.archive)
    if arguments.json:
        common.print_json({"output": str(output), "changed": changed, **_report_dict(packed)})
        return 0
    _print_findings(packed.findings)
    state = "written" if changed else "unchanged"
    print(f"{output}: {len(packed.anchors)} CA certificates, {len(packed.archive)} bytes, {state}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    report = check(files.read_bounded(arguments.archive, archive.ARCHIVE_LIMIT, "archive"), _now())
    if arguments.json:
        common.print_json(_report_dict(report))
        return 0
    for anchor in report.anchors:
        print(f"{anchor.not_after:%Y-%m-%d}  {anchor.key:<10}  {anchor.subject}")
    _print_findings(report.findings)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    report = _report(arguments)
    if arguments.json:
        common.print_json(_report_dict(report))
    else:
        _print_findings(report.findings)
        print(f"{len(report.anchors)} CA certificates work as trust anchors, {len(report.errors)} errors")
    if report.errors:
        first = report.errors[0]
        raise InputError(f"'{first.name}': {first.message} ({first.rule})", first.hint)
    return 0


def _report(arguments: argparse.Namespace) -> Report:
    path = Path(arguments.sources[0])
    if len(arguments.sources) == 1 and path.is_file():
        data = files.read_bounded(path, archive.ARCHIVE_LIMIT, "archive")
        if data.startswith(b"!<"):
            return check(data, _now())
    return judge(collect(arguments.sources, Path.cwd()), _now(), Policy(arguments.expired, arguments.unusable))


def _print_findings(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        print(f"otaseal: {finding.severity.value}: {finding}; {finding.hint}", file=sys.stderr)


def _report_dict(report: Report | Packed) -> dict[str, object]:
    return {
        "certificates": [_anchor_dict(anchor) for anchor in report.anchors],
        "findings": [
            {
                "rule": finding.rule,
                "code": finding.code,
                "severity": finding.severity.value,
                "certificate": finding.name,
                "message": finding.message,
                "hint": finding.hint,
            }
            for finding in report.findings
        ],
    }


def _anchor_dict(anchor: Anchor) -> dict[str, object]:
    return {
        "name": anchor.name,
        "subject": anchor.subject,
        "key": anchor.key,
        "not_before": anchor.not_before.isoformat(),
        "not_after": anchor.not_after.isoformat(),
        "size": len(anchor.der),
    }


def _now() -> datetime:
    return datetime.now(timezone.utc)
