"""Certificates in, `certs.ar` out; and an archive in, what a device would do with it out.

What one certificate is worth is decided in `anchors`; here live the rules of the set: a subject is looked up by hash
and the first match wins (F17), what has expired is dropped (F20), one without certificates is refused. The
same set gives the same bytes in any order. Bytes and a time come in, values go out; nothing reads a file or a clock.

A project's own certificate that breaks a rule is an error. Of a public bundle (`pem.BUNDLE` certificates or more in one
file) what breaks a rule is left out and said. A private key is always an error, and nothing is packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ..errors import ConfigError, InputError, counted
from . import ar
from .anchors import Anchor, Finding, Severity, examine
from .pem import Block, Source, blocks

__all__ = ["CERTIFICATE_LIMIT", "PASSED_OVER", "Packed", "Policy", "Report", "check", "judge", "pack"]

CERTIFICATE_LIMIT = 2000
MANY = 10
PASSED_OVER = "passed-over"
"""The code of the finding for a file that is none of the certificates among which it lies."""

_EXPIRED = ("drop", "keep", "refuse")
_UNUSABLE = ("auto", "drop", "refuse")


@dataclass(frozen=True)
class Policy:
    """What to do with certificates that have `expired`, and with those that no device can use.

    `unusable="auto"` refuses, except for what comes from a bundle, which is dropped. Raises ConfigError for others.
    """

    expired: Literal["drop", "keep", "refuse"] = "drop"
    unusable: Literal["auto", "drop", "refuse"] = "auto"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("expired", self.expired, _EXPIRED),
            ("unusable", self.unusable, _UNUSABLE),
        ):
            if value not in allowed:
                raise ConfigError(
                    f"'{value}' is not a policy for {name} certificates", f"use one of {', '.join(allowed)}"
                )

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
class Packed:
    """The bytes of `certs.ar`, its anchors in the order of its members, and what was dropped or deserves a warning."""

    archive: bytes
    anchors: tuple[Anchor, ...]
    findings: tuple[Finding, ...]


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
    return Packed(ar.serialise(members), report.anchors, report.findings)


def judge(sources: Iterable[Source], now: datetime, policy: Policy | None = None) -> Report:
    """Return what `pack` would pack and everything it would say, errors included.

    Raises as `pack` does for private keys, torn files and an empty result, since there is nothing to report then.
    """
    policy, sources = policy or Policy(), list(sources)
    found = [block for source in sources if not source.passed_over for block in blocks(source)]
    if not found:
        raise InputError("there is no certificate to pack", "name a file, a folder or a pattern with CA certificates")
    if len(found) > CERTIFICATE_LIMIT:
        raise InputError(f"there are {len(found)} certificates, more than {CERTIFICATE_LIMIT}", "pack those you need")
    sifter = _AnchorSelection(now, policy)
    sifter.pass_over([source.name for source in sources if source.passed_over])
    for block in found:
        sifter.take(block)
    anchors, findings = sifter.settle()
    report = Report(anchors, _sorted(findings))
    if not anchors and not report.errors:
        why = next(finding for finding in report.findings if finding.code != PASSED_OVER)
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
        anchor, said = examine(Block(member.name, member.data), now)
        findings += said
        if anchor is None:
            continue
        first = anchors.setdefault(anchor.dn_hash, anchor)
        if first is not anchor:
            findings.append(_shadowed_in_archive(anchor, first))
    return Report(tuple(anchors.values()), tuple(findings))


def _container_findings(view: ar.DeviceView) -> Iterator[Finding]:
    again = "pack it again with `otaseal certs pack`"
    if view.ending is not ar.Ending.COMPLETE:
        read = counted(view.count, "certificate")
        message = f"{view.ending.value} (offset {view.stopped_at}); the device has read {read} by then"
        yield Finding("F16", "unreadable", Severity.ERROR, "archive", message, again)
    elif view.count == 0:
        yield Finding("F16", "empty", Severity.ERROR, "archive", "it holds no certificate", again)
    for member in view.members:
        if member.skipped:
            message = "the device skips this table of long names and reads the members that use it; other tools may not"
            yield Finding("F16", "long-names", Severity.WARNING, member.name, message, again)


def _shadowed_in_archive(anchor: Anchor, first: Anchor) -> Finding:
    if anchor.public_key == first.public_key:
        message = f"it has subject and key of '{first.name}': a device never reaches it, and misses nothing"
        return Finding("F17", "duplicate", Severity.WARNING, anchor.name, message, "leave it out")
    return _shadowed(anchor, first, Severity.ERROR)


def _shadowed(anchor: Anchor, first: Anchor, severity: Severity) -> Finding:
    message = f"it has the subject of '{first.name}' and another key: a device only ever finds the first of them"
    hint = "keep the one your server uses, or have the CA issued again under another name"
    return Finding("F17", "shadowed", severity, anchor.name, message, hint)


class _AnchorSelection:
    """Takes certificates one by one and settles which become anchors, whatever their order."""

    def __init__(self, now: datetime, policy: Policy) -> None:
        self._now = now
        self._policy = policy
        self._findings: list[Finding] = []
        self._seen: dict[bytes, str] = {}
        self._same_subject: dict[bytes, list[tuple[Anchor, Block, tuple[Finding, ...]]]] = {}

    def pass_over(self, names: Sequence[str]) -> None:
        """Say which files among the certificates are left out, all of them, or many in one."""
        text = "it holds no certificate, and is passed over", "move it away if it is not to be among them"
        shown = names if len(names) <= MANY else [*names[: MANY - 1], f"{len(names) - MANY + 1} more files"]
        for name in shown:
            self._drop("F16", PASSED_OVER, name, text)

    def take(self, block: Block) -> None:
        """Judge one certificate by itself."""
        if block.der in self._seen:
            message = f"it is the same certificate as '{self._seen[block.der]}'"
            self._drop("F17", "duplicate", block.name, (message, "nothing to do; it is packed once"))
            return
        self._seen[block.der] = block.name
        anchor, said = examine(block, self._now)
        if anchor is None:
            dropped = Severity.DROPPED if self._policy.drops(block) else Severity.ERROR
            self._findings += [replace(finding, severity=dropped) for finding in said]
        elif anchor.not_after < self._now and self._policy.expired != "keep":
            dropped = Severity.DROPPED if self._policy.expired == "drop" else Severity.ERROR
            self._findings += [replace(finding, severity=dropped) for finding in said if finding.code == "expired"]
        else:
            self._same_subject.setdefault(anchor.dn, []).append((anchor, block, said))

    def settle(self) -> tuple[tuple[Anchor, ...], list[Finding]]:
        """Return one anchor a subject, by member name, and all findings: each lookup then has one answer (F17)."""
        kept = []
        for rivals in self._same_subject.values():
            rivals.sort(key=lambda rival: (rival[0].not_after, rival[0].fingerprint), reverse=True)
            (winner, winners_block, said), *losers = rivals
            kept.append(winner)
            self._findings += said
            for anchor, block, _ in losers:
                self._lose(anchor, winner, self._policy.drops(block) and self._policy.drops(winners_block))
        return tuple(sorted(kept, key=lambda anchor: anchor.member_name)), self._findings

    def _lose(self, anchor: Anchor, winner: Anchor, may_drop: bool) -> None:
        if anchor.public_key == winner.public_key:
            message = f"it has subject and key of '{winner.name}', which is valid for longer"
            self._drop("F17", "duplicate", anchor.name, (message, "nothing to do; to a device the two are one"))
        else:
            self._findings.append(_shadowed(anchor, winner, Severity.DROPPED if may_drop else Severity.ERROR))

    def _drop(self, rule: str, code: str, name: str, text: tuple[str, str]) -> None:
        self._findings.append(Finding(rule, code, Severity.DROPPED, name, *text))


_ORDER: Sequence[Severity] = tuple(Severity)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (_ORDER.index(finding.severity), finding.name, finding.code)))
