"""A verdict for a chain on each stack, rule by rule with the fix, and advice on what no stack refuses.

Pure: DER in, findings out. `predict` answers "who accepts this", `examine` adds advice and what expires within 90 days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from .advice import ADVICE, Chain
from .certificate import Certificate
from .chain import Stack, build_path
from .rules import RULES, Case

EXPIRY_WARNING = timedelta(days=90)


@dataclass(frozen=True)
class Finding:
    """What is wrong, by which rule and fact, and the fix; `stacks` refuse for it (none: advice only)."""

    rule: str
    fact: str
    message: str
    hint: str
    stacks: tuple[Stack, ...] = ()
    dangerous: bool = False  # nobody refuses, and a device would crash or take what it should not


@dataclass(frozen=True)
class Verdict:
    """Whether one stack accepts, and if not every reason."""

    stack: Stack
    findings: tuple[Finding, ...]

    @property
    def accepted(self) -> bool:
        """Whether the stack accepts the chain."""
        return not self.findings


@dataclass(frozen=True)
class Expiry:
    """A certificate that runs out: its subject and when (aware, UTC)."""

    title: str
    not_after: datetime


@dataclass(frozen=True)
class Report:
    """All about one chain: a verdict for each stack, each finding once, what expires soon."""

    verdicts: dict[Stack, Verdict]
    findings: tuple[Finding, ...]
    expiring: tuple[Expiry, ...]

    @property
    def good(self) -> bool:
        """Whether every stack accepts, and nothing is dangerous."""
        return all(verdict.accepted for verdict in self.verdicts.values()) and not any(
            x.dangerous for x in self.findings
        )


def predict(chain: Sequence[bytes], anchors: Sequence[bytes], name: str, now: datetime) -> dict[Stack, Verdict]:
    """Return what each stack says to `chain` (DER, as sent, leaf first) under `anchors` (DER) for `name` at `now`.

    `name` is a host name, or an address as text. Raises InputError for what is no certificate, and an empty chain.
    """
    return _predict([Certificate(der) for der in chain], [Certificate(der) for der in anchors], name, now)


def examine(chain: Sequence[bytes], anchors: Sequence[bytes], name: str, now: datetime) -> Report:
    """Return the verdicts of `predict`, each finding once with all who refuse for it, advice, and what expires soon."""
    sent, trusted = [Certificate(der) for der in chain], [Certificate(der) for der in anchors]
    verdicts = _predict(sent, trusted, name, now)
    merged: dict[tuple[str, str], Finding] = {}
    for finding in (finding for verdict in verdicts.values() for finding in verdict.findings):
        known = merged.get((finding.rule, finding.message))
        stacks = (*known.stacks, *finding.stacks) if known else finding.stacks
        merged[finding.rule, finding.message] = replace(finding, stacks=stacks)
    advice = [
        Finding(rule.id, rule.fact, message, rule.hint, dangerous=rule.dangerous)
        for rule in ADVICE
        for message in rule.find(Chain(tuple(sent), tuple(trusted)))
    ]
    return Report(verdicts, (*merged.values(), *advice), expiring([*chain, *anchors], now))


def expiring(certificates: Sequence[bytes], now: datetime) -> tuple[Expiry, ...]:
    """Return those of `certificates` (DER) that run out within 90 days, or have; the first to go comes first."""
    expiries = [Expiry(cert.title, cert.fields.not_after) for cert in dict.fromkeys(map(Certificate, certificates))]
    soon = [expiry for expiry in expiries if expiry.not_after - now <= EXPIRY_WARNING]
    return tuple(sorted(soon, key=lambda expiry: expiry.not_after))


def _predict(chain: list[Certificate], anchors: list[Certificate], name: str, now: datetime) -> dict[Stack, Verdict]:
    loaded = tuple(dict.fromkeys([*chain, *anchors]))
    verdicts = {}
    for stack in Stack:
        case = Case(stack, build_path(stack, chain, anchors, now), name, now, loaded)
        findings = [
            Finding(rule.id, rule.fact, message, rule.hint, (stack,))
            for rule in RULES
            if stack in rule.stacks
            for message in islice(rule.find(case), 1)
        ]
        verdicts[stack] = Verdict(stack, tuple(findings))
    return verdicts
