"""A rehearsal and the hostile table as lines for people. Pure; colours where the caller's terminal has them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import counted, one_line
from .hostile import LIBRARY, STOCK, Row
from .picture import bars
from .report import Line, Report

__all__ = ["report_lines", "summary", "table_lines"]

GREEN, RED, YELLOW, BOLD = "32", "31;1", "33", "1"
NAME = 18
CASE = 30


def report_lines(report: Report, colours: bool = False) -> list[str]:
    """Return every step of every act, the flash map, what was not checked, and the verdict."""
    shown = []
    for act in report.acts:
        shown.append(_painted(act.title, BOLD, colours))
        for line in act.lines:
            shown += _step(line, colours)
    shown += ["", *bars(report.maps, colours), ""]
    shown += [f"not checked: {one_line(note)}" for note in (*report.lacking, *report.unchecked)]
    return [*shown, "", _verdict(report, colours)]


def summary(report: Report) -> list[str]:
    """Return a line about a rehearsal that went well, and one about each thing that this one could not tell."""
    count = sum(len(act.lines) for act in report.acts)
    said = [f"not rehearsed: {one_line(note)}" for note in report.lacking]
    return [f"rehearsed on a virtual ESP8266: {counted(count, 'step')}, all good", *said]


def table_lines(rows: Sequence[Row], colours: bool = False) -> list[str]:
    """Return the hostile table: what was tried, what became of it, the device's error and the reason."""
    shown = []
    for row in rows:
        colour = GREEN if row.verdict == "refused" else YELLOW if row.ok else RED
        number = str(row.error) if row.error else "-"
        verdict = _painted(f"{row.verdict:<16}", colour, colours)
        where = f"{row.step or '-':<18}"
        shown.append(f"{row.name:<{CASE}} {verdict} {where} {number:>5}  {one_line(row.reason)}".rstrip())
    bad = sum(not row.ok for row in rows)
    said = [f"{sum(row.verdict == 'refused' for row in rows)} of {len(rows)} refused as they have to be"]
    for verdict, meaning in (
        (STOCK, "taken by a stock device, which the OtaSeal library refuses"),
        (LIBRARY, "taken by the OtaSeal library, whose clock begins with its build"),
    ):
        count = sum(row.verdict == verdict for row in rows)
        said += [f"{count} {meaning}"] if count else []
    shown += ["", ", ".join(said)]
    if bad:
        shown.append(_painted(f"{bad} NOT as they have to be", RED, colours))
    return shown


def _step(line: Line, colours: bool) -> list[str]:
    if line.ok:
        return [f"  {_painted('ok', GREEN, colours)}      {line.name:<{NAME}} {one_line(line.checked)}"]
    number = f"device error {line.error}: " if line.error else ""
    shown = [f"  {_painted('FAILED', RED, colours)}  {line.name:<{NAME}} {one_line(line.checked)}"]
    shown.append(f"          {'':<{NAME}} {number}{one_line(line.reason)}")
    return [*shown, *([f"          {'':<{NAME}} fix: {one_line(line.fix)}"] if line.fix else [])]


def _verdict(report: Report, colours: bool) -> str:
    failed = report.failed
    if failed is None:
        extent = ", as far as it could be rehearsed" if report.partly else ""
        return _painted(f"a device would take this update{extent}", GREEN, colours)
    return _painted(f"a device would NOT take this update: it fails at '{failed.name}'", RED, colours)


def _painted(text: str, colour: str, colours: bool) -> str:
    return f"\033[{colour}m{text}\033[0m" if colours else text
