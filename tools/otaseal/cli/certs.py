"""`otaseal certs`: pack CA certificates for the device, list an archive, check one as the device would read it."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timezone
from pathlib import Path

from .. import files
from ..certs import ar
from ..certs.anchors import Finding
from ..certs.certstore import Policy, Report, check, judge, pack
from ..certs.packing import policy
from ..certs.sources import collect
from ..commands import runnable
from ..errors import ConfigError, InputError, counted
from . import certs_ota, common

ARCHIVE_START = b"!<"
"""Of every kind of ar archive; which kind, and whether a device reads it, `certs check` tells."""


def register(subparsers: common.Subparsers) -> None:
    """Declare `certs pack`, `certs list` and `certs check`."""
    actions = common.group(subparsers, "certs", "otaseal certs pack certs/ -o data/certs.ar")

    parsers = {
        name: common.command(actions, name, run, summary=summary, example=f"otaseal certs {name} {example}")
        for name, run, summary, example in (
            ("pack", _pack, "pack CA certificates for CertStore", "certs/ -o data/certs.ar"),
            ("list", _list, "list the certificates that a device finds in an archive", "certs.ar"),
            ("check", _check, "check an archive, or certificates, by the device's rules", "certs/"),
        )
    }
    several = "files, folders and globs"
    parsers["pack"].add_argument("sources", nargs="+", help=f"{several}: PEM or DER, single or bundles")
    parsers["pack"].add_argument(
        "-o", "--output", type=common.path, required=True, metavar="FILE", help="usually data/certs.ar"
    )
    parsers["list"].add_argument("archive", type=common.path, help="a certs.ar, ours or made with ar")
    parsers["check"].add_argument("sources", nargs="+", help=f"one certs.ar; or {several} with certificates")
    for name in ("pack", "check"):
        parsers[name].add_argument(
            "--expired", choices=("drop", "keep", "refuse"), help="default: OTASEAL_EXPIRED_CERTS, else drop"
        )
        parsers[name].add_argument(
            "--unusable",
            choices=("auto", "refuse", "drop"),
            help="default: OTASEAL_UNUSABLE_CERTS, else auto: drop from bundles, else refuse",
        )
    certs_ota.register(actions)


def _pack(arguments: argparse.Namespace) -> int:
    output: Path = arguments.output
    rules = _policy(arguments)
    # With sources and output mixed up, what would be written over is a certificate.
    if output.exists() and not files.read_bounded(output, ar.ARCHIVE_LIMIT, "output").startswith(ARCHIVE_START):
        raise InputError(f"'{output}' exists and is not an archive", "name another file with --output, or remove it")
    packed = pack(collect(arguments.sources, Path.cwd()), _now(), rules)
    changed = files.write_if_changed(output, packed.archive)
    if not arguments.json:
        _print_findings(packed.findings)
    certificates, state = counted(len(packed.anchors), "CA certificate"), "written" if changed else "unchanged"
    return common.show(
        arguments,
        {"output": str(output), "changed": changed, **_as_dict(packed)},
        f"{output}: {certificates}, {len(packed.archive)} bytes, {state}",
    )


def _policy(arguments: argparse.Namespace) -> Policy:
    return policy(common.options(expired_certs=arguments.expired, unusable_certs=arguments.unusable))


def _list(arguments: argparse.Namespace) -> int:
    report = check(files.read_bounded(arguments.archive, ar.ARCHIVE_LIMIT, "archive"), _now())
    lines = (f"{anchor.not_after:%Y-%m-%d}  {anchor.key:<10}  {anchor.subject}" for anchor in report.anchors)
    common.show(arguments, _as_dict(report), *lines)
    return _conclude(report, arguments.json)


def _check(arguments: argparse.Namespace) -> int:
    report = _report(arguments)
    works = "works as a trust anchor" if len(report.anchors) == 1 else "work as trust anchors"
    certificates, errors = counted(len(report.anchors), "CA certificate"), counted(len(report.errors), "error")
    common.show(arguments, _as_dict(report), f"{certificates} {works}, {errors}")
    return _conclude(report, arguments.json)


def _conclude(report: Report, json: bool) -> int:
    """Print what there is to say of a report; raise the first of its errors as the command's own."""
    first = report.errors[0] if report.errors else None
    if not json:
        _print_findings(tuple(finding for finding in report.findings if finding is not first))
    if first is not None:
        raise InputError(f"'{first.name}': {first.message}", first.hint)
    return 0


def _report(arguments: argparse.Namespace) -> Report:
    rules = _policy(arguments)
    path = Path(arguments.sources[0])
    if len(arguments.sources) == 1 and path.is_file():
        data = files.read_bounded(path, ar.ARCHIVE_LIMIT, "archive")
        if data.startswith(ARCHIVE_START):
            if arguments.expired or arguments.unusable:
                raise ConfigError(
                    f"--expired and --unusable are for certificates, and '{path}' is an archive",
                    "leave them out, or name the certificates that were packed",
                )
            return check(data, _now())
    return judge(collect(arguments.sources, Path.cwd()), _now(), rules)


def _print_findings(findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        print(f"otaseal: {finding.severity.value}: {finding}; {runnable(finding.hint)}", file=sys.stderr)


def _as_dict(report: Report) -> dict[str, object]:
    return {
        "certificates": [
            {
                "name": anchor.name,
                "subject": anchor.subject,
                "key": anchor.key,
                "not_before": anchor.not_before.isoformat(),
                "not_after": anchor.not_after.isoformat(),
                "size": len(anchor.der),
            }
            for anchor in report.anchors
        ],
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


def _now() -> datetime:
    return datetime.now(timezone.utc)
