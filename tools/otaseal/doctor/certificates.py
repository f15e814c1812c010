"""The authorities that devices trust: what of them a device can use, how long, and whether the archive is theirs."""

from __future__ import annotations

from collections.abc import Iterator

from .. import files
from ..certs import certstore, packing
from ..certs.anchors import NOT_STRICT, Anchor, Severity
from ..certs.ar import ARCHIVE_LIMIT
from ..certs.sources import collect
from ..errors import InputError, counted
from ..project import shipped
from .report import CheckResult, Subject, advice, ok, problem, skipped, warning

MAX_SHOWN = 3
NOTHING_TO_DO = (NOT_STRICT, certstore.PASSED_OVER)
"""What is worth a line and no step."""


def trusted(subject: Subject) -> Iterator[CheckResult]:
    """Judge the project's certificates one by one, as the device will (F16-F20)."""
    report = _judged(subject)
    if report.errors:
        for finding in report.errors[:MAX_SHOWN]:
            yield problem(str(finding), finding.hint)
        return
    first = min(report.anchors, key=lambda anchor: anchor.not_after)
    many = len(report.anchors)
    yield ok(f"{many} that devices can use; the first to expire: {first.not_after:%Y-%m-%d} {first.subject}")
    shown = [finding for finding in report.findings if finding.severity in (Severity.WARNING, Severity.DROPPED)]
    for finding in shown[:MAX_SHOWN]:
        yield ok(str(finding)) if finding.code in NOTHING_TO_DO else warning(str(finding), finding.hint)


def packed(subject: Subject) -> Iterator[CheckResult]:
    """Compare `data/certs.ar` with what the certificates make, and with what was last shipped."""
    project = subject.project
    path = project.data / packing.ARCHIVE_NAME
    command = f"pio run -e {project.environment} -t uploadfs"
    if project.filesystem != "littlefs":
        yield skipped(f"the filesystem is '{project.filesystem}'" if project.filesystem else "there is no filesystem")
        return
    wanted = packing.pack_project(project.settings, project.data, project.folder, subject.now)
    if not path.is_file():
        yield warning(f"'{path.name}' is not packed yet", f"it is packed and shipped by: {command}")
        return
    archive = files.read_bounded(path, ARCHIVE_LIMIT, "certificate archive")
    errors = certstore.check(archive, subject.now).errors
    if errors:
        yield problem(f"'{path.name}' does not work on a device: {errors[0]}", f"pack and ship it again: {command}")
    elif archive != wanted.archive:
        yield warning(f"'{path.name}' is not what the certificates make now", f"pack and ship it again: {command}")
    elif not shipped.is_current(project.workspace / "otaseal" / "shipped.json", project.environment, archive):
        yield advice(
            f"'{path.name}' is up to date, and was never shipped from this machine",
            f"if devices do not have it yet, ship it by cable: {command}",
        )
    else:
        yield ok(f"'{path.name}' is up to date, {counted(len(wanted.anchors), 'certificate')}, and shipped")


def anchors(subject: Subject) -> tuple[Anchor, ...]:
    """Return what devices trust by the project's certificates; raises what `certstore.judge` raises."""
    report = _judged(subject)
    if not report.anchors:
        raise InputError("no certificate is one that devices can use", "see the check 'certificates'")
    return report.anchors


def _judged(subject: Subject) -> certstore.Report:
    options = subject.project.settings
    return certstore.judge(collect(options.ca_certs, subject.project.folder), subject.now, packing.policy(options))
