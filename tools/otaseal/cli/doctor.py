"""`otaseal doctor`: everything at once about a project and its server, and the one thing to do next."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

from .. import doctor
from ..doctor import Report, Status, Subject
from ..errors import one_line
from ..project import project
from . import common

__all__ = ["register"]

COLOURS = {Status.OK: "32", Status.ADVICE: "36", Status.WARNING: "33", Status.PROBLEM: "31;1", Status.SKIPPED: "2"}
NAME_WIDTH = 14


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = common.command(
        subparsers,
        "doctor",
        _doctor,
        "examine a project and its update server, and say what to do next",
        "otaseal doctor --project ~/blink",
    )
    parser.add_argument("--project", type=common.path, default=Path(), metavar="DIR", help="default: this folder")
    parser.add_argument("-e", "--env", metavar="NAME", help="of platformio.ini; default: what 'pio run' builds first")
    parser.add_argument("--offline", action="store_true", help="leave the server alone")
    parser.add_argument("--token-file", type=common.path, metavar="FILE", help="else as the project says")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _doctor(arguments: argparse.Namespace) -> int:
    examined = project.load(arguments.project, arguments.env, os.environ)
    subject = Subject(examined, datetime.now(timezone.utc), not arguments.offline, arguments.token_file)
    report = doctor.examine(subject)
    if arguments.json:
        common.print_json(report.as_dict())
    else:
        _print(report)
    return 0 if report.good else 1


def _print(report: Report) -> None:
    previous = ""
    for check in report.checks:
        name = "" if check.name == previous else check.name
        previous = check.name
        print(f"{_painted(check.status)} {name:<{NAME_WIDTH}} {one_line(check.message)}")
        if check.hint:
            print(f"{'':<{8 + NAME_WIDTH}}  -> {one_line(check.hint)}")
    counts = ", ".join(f"{report.count(status)} {status.value}" for status in Status if report.count(status))
    print(f"\n{counts}")
    step = report.next_step
    if step is None:
        print("next: nothing stands in the way of 'pio run -t deploy'")
    else:
        print(f"next: {step.name}: {one_line(step.hint)}")


def _painted(status: Status) -> str:
    text = f"{status.value:<8}"
    return f"\033[{COLOURS[status]}m{text}\033[0m" if common.colours(sys.stdout) else text
