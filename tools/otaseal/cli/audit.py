"""`otaseal audit`: who did what on an update server."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from ..client.client import Client
from ..errors import counted, one_line
from . import common, remote

USUAL, PAGE = 50, 100
FILTERS = ("version", "by", "event", "since")


def register(subparsers: common.Subparsers) -> None:
    """Declare the command."""
    parser = remote.command(
        subparsers,
        "audit",
        _audit,
        example="otaseal audit --since 2030-01-31 --by token:ci --server https://update.local:8444 --product blink",
        channel=None,
    )
    parser.add_argument("--version", help="of the release that it was about")
    parser.add_argument("--by", metavar="WHO", help="as listed: token:ci, certificate:anna, local:root, server")
    parser.add_argument(
        "--event",
        help="what was done: publish, point, rollback, halted, forget, ..., seen",
    )
    parser.add_argument("--since", metavar="TIME", help="ISO 8601, UTC: 2030-01-31, or 2030-01-31T12:00")
    parser.add_argument(
        "--limit", type=common.number(1, 100_000, "is not a valid number of rows"), default=USUAL,
        help=f"rows at most, the latest ones; default: {USUAL}",
    )  # fmt: skip


def _audit(arguments: argparse.Namespace) -> int:
    connected, product, _ = remote.connect(arguments)
    given = {name: getattr(arguments, name) for name in FILTERS if getattr(arguments, name) is not None}
    rows = list(islice(_rows(connected, {"product": product, **given}), arguments.limit))
    return common.show(arguments, rows, *(map(_line, rows) if rows else ["nothing of that is in the log"]))


def _rows(connected: Client, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    after: str | None = ""
    while after is not None:
        page = connected.get(f"/v1/audit?{urlencode({**query, 'limit': PAGE, **({'after': after} if after else {})})}")
        yield from page["rows"]
        after = page["next"]


def _line(row: Mapping[str, Any]) -> str:
    what = [row[name] for name in ("channel", "version") if row[name]]
    if row["event"] == "seen":
        what.append(f"{counted(row['count'], 'device')} for the first time, since {row['first'][:16]}")
    elif row["count"] > 1:
        what.append(f"{row['count']} devices since {row['first'][:16]}: {', '.join(row['devices'])}, ...")
    else:
        what += row["devices"]
    details = [f"{name}={json.dumps(value)}" for name, value in row["details"].items()]
    who = row["by"] if " " not in row["by"] else json.dumps(row["by"])  # an issuer's subject may be anything
    return one_line("  ".join([row["at"][:19] + "Z", row["event"], who or "-", *what, *details]))
