"""`otaseal pki import`: certificates that exist already, from a tutorial, Let's Encrypt or a company, in place of ours.

What is imported is the root that devices shall trust, and only if they accept the server's chain under it without
danger; what other stacks have against it is said. The server keeps its certificate and its key, which are of no concern
here.
"""

from __future__ import annotations

import argparse

from ..pki.chain import Stack
from ..pki.check import Report, examine
from ..project import setup
from . import common, pki_check, stores


def register(actions: common.Subparsers) -> None:
    """Declare `pki import`."""
    parser = common.command(
        actions,
        "import",
        _import,
        summary="check a server's existing chain, and put its root into the project's certificates",
        example="otaseal pki import fullchain.pem --ca root.pem",
    )
    parser.add_argument("target", help="a chain (PEM, the server's own first), or host:port of the running server")
    parser.add_argument(
        "--ca", action="append", default=[], metavar="PATH", help="the root; default: the one in the chain itself"
    )
    parser.add_argument(
        "--name", action="append", default=[], metavar="HOST", help="what devices connect to; default: all its names"
    )
    parser.add_argument(
        "--folder", type=common.path, default=common.path("certs"), metavar="DIR", help="default: the project's certs"
    )


def _import(arguments: argparse.Namespace) -> int:
    now = stores.now()
    subject = pki_check.from_target(arguments, lambda chain: pki_check.root_in_chain(chain, arguments.ca))
    reports = [(name, examine(subject.chain, subject.anchors, name, now)) for name in subject.names]
    bad = [(name, report) for name, report in reports if not _usable(report)]
    if not arguments.json:
        for name, report in reports:
            if not report.good:
                pki_check.print_report(subject, name, report)
    if bad:
        raise pki_check.verdict_error(subject, *bad[0], others=len(bad) - 1)
    written = setup.import_roots(subject.chain, subject.anchors, arguments.folder)
    if arguments.json:
        common.show(
            arguments, {"target": subject.title, "names": list(subject.names), "written": [str(x) for x in written]}
        )
        return 0
    print(f"devices accept {subject.title} for {', '.join(subject.names)}")
    for path in written:
        print(f"written  {path}")
    if not written:
        print(f"kept     {arguments.folder}")
    return 0


def _usable(report: Report) -> bool:
    return report.verdicts[Stack.BEARSSL].accepted and not any(finding.dangerous for finding in report.findings)
