"""A rehearsal and the hostile table as lines for people. Pure; colours where the caller's terminal has them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import counted, one_line
from ..simulator.report import Step
from .flash_map import bars
from .hostile import LIBRARY, STOCK, Row
from .report import Report

GREEN, RED, YELLOW, BOLD = "32", "31;1", "33", "1"
NAME = 18
CASE = 28


def report_lines(report: Report, colours: bool = False) -> list[str]:
    """Return every step of every phase, the flash map, what was not checked, and the verdict."""
    shown = []
    for phase in report.phases:
        shown.append(_painted(phase.title, BOLD, colours))
        for step in phase.steps:
            shown += _step(step, colours)
    shown += ["", *bars(report.maps, colours), ""]
    shown += [f"not checked: {one_line(note)}" for note in (*report.lacking, *report.unchecked)]
    return [*shown, "", _verdict(report, colours)]


def summary(report: Report) -> list[str]:
    """Return a line about a rehearsal that went well, and one about each thing that this one could not tell."""
    count = sum(len(phase.steps) for phase in report.phases)
    omissions = [f"not rehearsed: {one_line(note)}" for note in report.lacking]
    return [f"rehearsed on a virtual {report.device}: {counted(count, 'step')}, all good", *omissions]


def table_lines(rows: Sequence[Row], colours: bool = False) -> list[str]:
    """Return the hostile table: what was tried, what became of it, the device's error and the reason."""
    shown = []
    for row in rows:
        colour = GREEN if row.verdict == "refused" else YELLOW if row.ok else RED
        error = f", error {row.error}" if row.error else ""
        where = f"{error} at {row.step}" if row.step else ""
        verdict = _painted(row.verdict, colour, colours)
        shown.append(f"{row.name:<{CASE}}  {verdict}{where}: {one_line(row.reason)}")
    bad = sum(not row.ok for row in rows)
    totals = [f"{sum(row.verdict == 'refused' for row in rows)} of {len(rows)} refused as they have to be"]
    for verdict, meaning in (
        (STOCK, "taken by a stock device, which the OtaSeal library refuses"),
        (LIBRARY, "taken by the OtaSeal library, whose clock begins with its build"),
    ):
        count = sum(row.verdict == verdict for row in rows)
        totals += [f"{count} {meaning}"] if count else []
    shown += ["", ", ".join(totals)]
    if bad:
        shown.append(_painted(f"{bad} NOT as they have to be", RED, colours))
    return shown


def _step(step: Step, colours: bool) -> list[str]:
    checked = f"{step.name:<{NAME}} {one_line(step.checked)}"
    if step.ok:
        return [f"  {_painted('ok', GREEN, colours)}      {checked}"]
    number = f"device error {step.error}: " if step.error else ""
    indent = " " * (NAME + 11)
    shown = [f"  {_painted('FAILED', RED, colours)}  {checked}", f"{indent}{number}{one_line(step.reason)}"]
    return [*shown, *([f"{indent}fix: {one_line(step.fix)}"] if step.fix else [])]


def _verdict(report: Report, colours: bool) -> str:
    failed = report.failed
    if failed is None:
        extent = ", as far as it could be rehearsed" if report.partly else ""
        return _painted(f"a device would take this update{extent}", GREEN, colours)
    return _painted(f"a device would NOT take this update: it fails at '{failed.name}'", RED, colours)


def _painted(text: str, colour: str, colours: bool) -> str:
    return f"\033[{colour}m{text}\033[0m" if colours else text
