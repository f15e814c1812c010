"""`otaseal report`: what an owner, an auditor or an authority asks of a product's updates; `otaseal support`."""

from __future__ import annotations

import argparse
import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .. import files
from ..client.client import product_path
from ..errors import counted, duration
from . import common, remote

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#1c2733;background:#fff}table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem;border-bottom:1px solid #d7dee6}
th{font-weight:600}h2{margin-top:2.5rem}.big{font-size:1.25rem}
@media(prefers-color-scheme:dark){body{color:#dfe7ef;background:#12181f}th,td{border-color:#2c3946}}"""


def register(subparsers: common.Subparsers) -> None:
    """Declare the commands."""
    report = remote.command(
        subparsers,
        "report",
        _report,
        example="otaseal report --html report.html --server https://update.local:8444 --product blink",
        channel=None,
    )
    report.add_argument("--html", type=common.path, metavar="FILE", help="write it as a page that needs nothing else")
    support = remote.command(
        subparsers,
        "support",
        _support,
        example="otaseal support 2031-12-31 --server https://update.local:8444 --product blink",
        channel=None,
    )
    support.add_argument("ends", help="the last day on which the product gets security updates, as in 2031-12-31")


def _support(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    answer = connected.put(product_path(product, "support"), {"ends": arguments.ends})
    return common.show(arguments, answer, f"'{product}' is supported until {answer['ends']}")


def _report(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    report = connected.get(product_path(product, "report"))
    lines = [*_state(report), *(f"  {'  '.join(filter(None, row))}" for row in _versions(report)), *_security(report)]
    if arguments.html is not None:
        path: Path = arguments.html
        files.write_atomic(path, page(report).encode())
        lines.append(f"written to '{path}'")
    return common.show(arguments, report, *lines)


def page(report: dict[str, Any]) -> str:
    """Return the report as one HTML page."""
    releases = [
        (one["version"], one["created"][:10], one["severity"], one["cves"], one["advisory"] or one["notes"])
        for one in report["releases"]
    ]
    points = [(p["standard"], p["number"], p["asks"], p["does"], p["seen"]) for p in report["points"]]
    title = f"Updates of {report['product']}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        *(f"<p class=big>{html.escape(line)}</p>" for line in (*_state(report), *_security(report))),
        "<h2>What runs</h2>",
        _table(("Version", "Devices", "Age", "Severity"), _versions(report)),
        "<h2>Releases</h2>",
        _table(("Version", "Created", "Severity", "CVE", "What it is for"), releases),
        "<h2>What standards ask</h2>",
        "<p>In our words, and no legal claim: what otaseal does for a point, and where that is seen.</p>",
        _table(("Standard", "Point", "Asks that", "otaseal", "Seen in"), points),
        f"<p>Made {html.escape(report['made'])} by otaseal.</p>",
    ]
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    head += '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
    return f"{head}<style>{STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th scope=col>{html.escape(name)}" for name in names)
    cells = ("".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return f"<table><tr>{head}" + "".join(f"\n<tr>{row}" for row in cells) + "</table>"


def _state(report: dict[str, Any]) -> list[str]:
    seen, active = report["devices"]["seen"], report["devices"]["active"]
    ends = report["support"]["ends"]
    period = "until when it is supported is not said: otaseal support 2031-12-31"
    if ends is not None:
        period = f"the support ended on {ends}" if report["support"]["over"] else f"supported until {ends}"
    silent = f", {seen - active} of them silent for 30 days" if seen > active else ""
    return [f"{report['product']}: {counted(seen, 'device')} seen{silent}; {period}"]


def _versions(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (row["version"], counted(row["devices"], "device"), _age(row["days"]), row["severity"])
        for row in report["versions"]
    ]


def _age(days: int | None) -> str:
    return "no release of this server" if days is None else f"{counted(days, 'day')} old"


def _security(report: dict[str, Any]) -> list[str]:
    last = report["security"]
    if last is None:
        return ["no release is marked as one for security: otaseal notes VERSION --severity security"]
    reached = f"{last['reached']} of {counted(last['devices'], 'device')} have it"
    shares = [
        f"{share} % after {duration(seconds)}" for share, seconds in last["seconds"].items() if seconds is not None
    ]
    cves = f" ({last['cves']})" if last["cves"] else ""
    return [
        f"last security release {last['version']}{cves}, of {last['created'][:10]}: {'; '.join([reached, *shares])}"
    ]
