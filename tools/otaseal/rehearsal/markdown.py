"""A rehearsal in Markdown, as code hosts show it beside a pull request. Pure."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from ..errors import counted, one_line
from ..release.records import Origin
from ..simulator.report import Step
from .comparison import Row
from .report import Report

_MARKUP = re.compile(r"([\\`*_{}\[\]|~#!@])")


def summary(origin: Origin, report: Report, rows: Sequence[Row], changes: Sequence[str] = ()) -> str:
    """Return the report: verdict, what changes, and every step; `changes` are commits, a line each."""
    failed = report.failed
    verdict = "would take this update" if failed is None else "would **not** take this update"
    board = f" on `{_code(origin.board)}`" if origin.board else ""
    steps = counted(sum(len(phase.steps) for phase in report.phases), "step")
    what = f"{_text(origin.product)} {_text(origin.version)} on {_text(report.device)}"
    lines = [
        f"### {'✅' if failed is None else '❌'} {what}: devices {verdict}",
        "",
        f"Rehearsed on a virtual {_text(report.device)}{board}: {steps}, "
        + ("all good." if failed is None else f"failed at *{_text(failed.name)}*: {_text(failed.reason)}"),
    ]
    if failed is not None and failed.fix:
        lines += ["", f"What to do: {_text(failed.fix)}"]
    lines += ["", *_ways(report), *_table(rows)]
    if changes:
        lines += ["", f"{counted(len(changes), 'commit')} since:", "", *(f"- {_text(line)}" for line in changes)]
    lines += ["", "<details><summary>Every step</summary>", "", "| | step | |", "|---|---|---|"]
    lines += [_step(step) for phase in report.phases for step in phase.steps]
    lines += ["", *(f"- not checked: {_text(note)}" for note in (*report.lacking, *report.unchecked)), "", "</details>"]
    return "\n".join([*lines, "", ""])


def _ways(report: Report) -> list[str]:
    """Return a table of how the device got the update: as a whole image, by a patch, from the live server."""
    rows = [f"| {_found(phase.steps, _text(phase.way))} |" for phase in report.phases if phase.way]
    return ["| | update by | |", "|---|---|---|", *rows, ""] if rows else []


def _found(steps: Sequence[Step], way: str) -> str:
    failed = next((step for step in steps if not step.ok), None)
    refused = next((step for step in steps if step.ok and step.error), None)
    if failed is not None:
        return f"❌ | {way} | fails at *{_text(failed.name)}*: {_text(failed.reason)}"
    if refused is not None:
        return f"⚠️ | {way} | refused at *{_text(refused.name)}*: {_text(refused.reason)}; then the whole image is taken"
    return f"✅ | {way} | taken, and started"


def _table(rows: Sequence[Row]) -> list[str]:
    compared = any(row.before for row in rows)
    head = "| | release before | this build | |" if compared else "| | | this build | |"
    return [head, "|---|---|---|---|", *(f"| {' | '.join(map(_text, row))} |" for row in rows)]


def _step(step: Step) -> str:
    reason = "" if step.ok else f": **{_text(step.reason)}**"
    return f"| {'✅' if step.ok else '❌'} | {_text(step.name)} | {_text(step.checked)}{reason} |"


def _text(text: str) -> str:
    """Return text that is no markup, whatever it comes from: commits and versions are other people's words."""
    return html.escape(_MARKUP.sub(r"\\\1", one_line(text)), quote=False)


def _code(text: str) -> str:
    return one_line(text).replace("`", "'")
