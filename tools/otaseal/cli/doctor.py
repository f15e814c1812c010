"""`otaseal doctor`: everything at once about a project and its server, and the one thing to do next."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime, timezone

from .. import doctor
from ..commands import runnable
from ..doctor import Report, Status, Subject
from ..errors import counted, one_line
from ..project import project
from . import common

COLOURS = {Status.OK: "32", Status.ADVICE: "36", Status.WARNING: "33", Status.PROBLEM: "31;1", Status.SKIPPED: "2"}
NAME_WIDTH = 14


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = common.command(subparsers, "doctor", _doctor, example="otaseal doctor --project ~/blink")
    common.add_project(parser)
    parser.add_argument("--offline", action="store_true", help="leave the server alone")
    parser.add_argument("--token-file", type=common.path, metavar="FILE", help="else as the project says")


def _doctor(arguments: argparse.Namespace) -> int:
    examined = project.load(arguments.project, arguments.env, os.environ)
    subject = Subject(
        examined, datetime.now(timezone.utc), server=not arguments.offline, token_file=arguments.token_file
    )
    report = doctor.examine(subject)
    if arguments.json:
        common.show(arguments, report.as_dict())
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
            print(f"{'':<{8 + NAME_WIDTH}}  -> {runnable(one_line(check.hint))}")
    counts = ", ".join(_counted(status, number) for status in Status if (number := report.count(status)))
    print(f"\n{counts}")
    step = report.next_step
    if step is None:
        print("next: nothing stands in the way of 'pio run -t deploy'")
    else:
        print(f"next: {step.name}: {runnable(one_line(step.hint))}")


def _counted(status: Status, number: int) -> str:
    has_plural = status in (Status.WARNING, Status.PROBLEM)
    return counted(number, status.value, "" if has_plural else status.value)


def _painted(status: Status) -> str:
    text = f"{status.value:<8}"
    return f"\033[{COLOURS[status]}m{text}\033[0m" if common.colours(sys.stdout) else text
