"""Packs certificates into `certs.ar`, and checks an archive as a device would read it.

Single certificates are judged in `anchors`; here are the rules of the set: a subject is looked up by hash and the first
match wins (F17), what has expired is dropped (F20), one without certificates is refused. The same set gives the same
bytes in any order. Nothing reads a file or a clock.

A project's own certificate that breaks a rule is an error. Of a public bundle (`pem.BUNDLE` certificates or more in one
file) what breaks a rule is left out and reported. A private key is always an error, and nothing is packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ..errors import InputError, counted
from . import ar
from .anchors import Anchor, Finding, Severity, examine
from .pem import Block, Source, blocks

CERTIFICATE_LIMIT = 2000
MANY = 10
PASSED_OVER = "passed-over"
"""The code of the finding for a file that is none of the certificates among which it lies."""


@dataclass(frozen=True)
class Policy:
    """What to do with certificates that have `expired`, and `unusable` ones: "auto" drops only those of bundles."""

    expired: Literal["drop", "keep", "refuse"] = "drop"
    unusable: Literal["auto", "drop", "refuse"] = "auto"

    def drops(self, block: Block) -> bool:
        """Tell whether `block` is left out, instead of refused, if no device can use it."""
        return self.unusable == "drop" or (self.unusable == "auto" and block.bundled)


@dataclass(frozen=True)
class Report:
    """The anchors that a device would have, in the archive's order, and everything there is to say."""

    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings for which an archive must not be shipped."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.ERROR)


@dataclass(frozen=True)
class Packed(Report):
    """The bytes of `certs.ar`, its anchors in the order of its members, and what was dropped or deserves a warning."""

    archive: bytes


def pack(sources: Iterable[Source], now: datetime, policy: Policy | None = None) -> Packed:
    """Return the archive of all certificates of `sources` (PEM or DER) at the time `now` (aware).

    Raises KeyRefusedError for a private key in any of them; InputError for a file that is torn, for the first
    certificate that `policy` refuses (`judge` lists them all), and where none is left.
    """
    report = judge(sources, now, policy)
    if report.errors:
        first, more = report.errors[0], len(report.errors) - 1
        also = f"; {more} more certificates are refused" if more else ""
        raise InputError(f"'{first.name}' cannot be packed: {first.message}{also}", first.hint)
    members = [ar.Member(anchor.member_name, anchor.der) for anchor in report.anchors]
    return Packed(report.anchors, report.findings, ar.serialise(members))


def judge(sources: Iterable[Source], now: datetime, policy: Policy | None = None) -> Report:
    """Return what `pack` would pack and report, errors included; raises as it does for private keys, torn files and an
    empty result.
    """
    sources = list(sources)
    candidates = [block for source in sources if not source.passed_over for block in blocks(source)]
    if not candidates:
        raise InputError("there is no certificate to pack", "name a file, a folder or a pattern with CA certificates")
    if len(candidates) > CERTIFICATE_LIMIT:
        message = f"there are {len(candidates)} certificates, more than {CERTIFICATE_LIMIT}"
        raise InputError(message, "pack those you need")
    selection = _AnchorSelection(now, policy or Policy())
    for block in candidates:
        selection.add(block)
    anchors = selection.anchors()
    skipped = _passed_over([source.name for source in sources if source.passed_over])
    ranks = list(Severity)
    findings = sorted((*skipped, *selection.findings), key=lambda x: (ranks.index(x.severity), x.name, x.code))
    report = Report(anchors, tuple(findings))
    if not anchors and not report.errors:
        why = next(finding for finding in findings if finding.code != PASSED_OVER)
        raise InputError(f"no certificate is left to pack: {why}", why.hint)
    return report


def check(data: bytes, now: datetime) -> Report:
    """Return what a device has in the archive `data`, ours or anyone's, and every rule it breaks, at `now` (aware).

    An archive without errors works: `initCertStore` reads it to its end, and every member is found by its subject
    and decodes. Never raises for what `data` holds.
    """
    view = ar.device_view(data[: ar.ARCHIVE_LIMIT])
    findings = list(_container_findings(view))
    anchors: dict[bytes, Anchor] = {}
    for member in view.indexed:
        anchor, judged = examine(Block(member.name, member.data), now)
        findings += judged
        if anchor is None:
            continue
        first = anchors.setdefault(anchor.dn, anchor)
        if first is anchor:
            continue
        if anchor.public_key == first.public_key:
            message = f"it has subject and key of '{first.name}': a device never reaches it, and misses nothing"
            findings.append(Finding("F17", "duplicate", Severity.WARNING, anchor.name, message, "leave it out"))
        else:
            findings.append(_shadowed(anchor, first))
    return Report(tuple(anchors.values()), tuple(findings))


def _container_findings(view: ar.DeviceView) -> Iterator[Finding]:
    again = "pack it again with `otaseal certs pack`"
    if view.ending is not ar.Ending.COMPLETE:
        read = counted(len(view.indexed), "certificate")
        message = f"{view.ending.value} (offset {view.stopped_at}); the device has read {read} by then"
        yield Finding("F16", "unreadable", Severity.ERROR, "archive", message, again)
    elif len(view.indexed) == 0:
        yield Finding("F16", "empty", Severity.ERROR, "archive", "it holds no certificate", again)
    for member in view.members:
        if member.skipped:
            message = "the device skips this table of long names and reads the members that use it; other tools may not"
            yield Finding("F16", "long-names", Severity.WARNING, member.name, message, again)


def _shadowed(anchor: Anchor, first: Anchor) -> Finding:
    message = f"it has the subject of '{first.name}' and another key: a device only ever finds the first of them"
    hint = "keep the one your server uses, or have the CA issued again under another name"
    return Finding("F17", "shadowed", Severity.ERROR, anchor.name, message, hint)


def _passed_over(names: Sequence[str]) -> list[Finding]:
    """Report which files among the certificates are left out: all of them, or many in one."""
    listed = names if len(names) <= MANY else [*names[: MANY - 1], f"{len(names) - MANY + 1} more files"]
    message = "it holds no certificate, and is passed over"
    hint = "move it away if it is not to be among them"
    return [Finding("F16", PASSED_OVER, Severity.DROPPED, name, message, hint) for name in listed]


class _AnchorSelection:
    """Takes certificates one by one and selects one anchor a subject, whatever their order."""

    def __init__(self, now: datetime, policy: Policy) -> None:
        self.findings: list[Finding] = []
        self._now = now
        self._policy = policy
        self._names: dict[bytes, str] = {}
        self._by_subject: dict[bytes, list[tuple[Anchor, Block, tuple[Finding, ...]]]] = {}

    def add(self, block: Block) -> None:
        """Judge one certificate by itself."""
        if block.der in self._names:
            message = f"it is the same certificate as '{self._names[block.der]}'"
            self._add_duplicate(block.name, message, "nothing to do; it is packed once")
            return
        self._names[block.der] = block.name
        anchor, findings = examine(block, self._now)
        if anchor is None:
            self._add_refused(findings, dropped=self._policy.drops(block))
        elif anchor.not_after < self._now and self._policy.expired != "keep":
            expired = tuple(finding for finding in findings if finding.code == "expired")
            self._add_refused(expired, dropped=self._policy.expired == "drop")
        else:
            self._by_subject.setdefault(anchor.dn, []).append((anchor, block, findings))

    def anchors(self) -> tuple[Anchor, ...]:
        """Return one anchor a subject, by member name, and add their findings: each lookup has one answer (F17)."""
        selected = []
        for rivals in self._by_subject.values():
            rivals.sort(key=lambda rival: (rival[0].not_after, rival[0].fingerprint), reverse=True)
            (best, best_block, warnings), *others = rivals
            selected.append(best)
            self.findings += warnings
            for anchor, block, _ in others:
                if anchor.public_key == best.public_key:
                    message = f"it has subject and key of '{best.name}', which is valid for longer"
                    self._add_duplicate(anchor.name, message, "nothing to do; to a device the two are one")
                else:
                    dropped = self._policy.drops(block) and self._policy.drops(best_block)
                    self._add_refused((_shadowed(anchor, best),), dropped=dropped)
        return tuple(sorted(selected, key=lambda anchor: anchor.member_name))

    def _add_duplicate(self, name: str, message: str, hint: str) -> None:
        self.findings.append(Finding("F17", "duplicate", Severity.DROPPED, name, message, hint))

    def _add_refused(self, findings: tuple[Finding, ...], *, dropped: bool) -> None:
        severity = Severity.DROPPED if dropped else Severity.ERROR
        self.findings += [replace(finding, severity=severity) for finding in findings]
