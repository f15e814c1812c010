"""`otaseal pki check`: who accepts a chain, from a file, a live server or the store, and what to do for the others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .. import files
from ..certs import ar
from ..certs.sources import SUFFIXES, collect
from ..commands import runnable
from ..errors import ConfigError, InputError, OtasealError, VerificationError
from ..pki import Role
from ..pki.certificate import Certificate, parse_certificates
from ..pki.chain import Stack
from ..pki.check import Expiry, Report, examine, expiring
from ..pki.live import LiveServer, parse_target, probe
from ..pki.store import CHAIN_FILE, Slot, Store
from . import common, stores

CHAIN_LIMIT = 4 * 1024 * 1024
"""Bytes of a file with a chain: the largest public bundles have some 300,000."""
ARCHIVE_START = b"!<arch>"
PROJECT_CERTS = "certs"
AnchorsOf = Callable[[Sequence[bytes]], tuple[tuple[bytes, ...], str]]
"""From a chain (DER) to what is trusted (DER), and how to call that."""
TITLES = {
    Stack.BEARSSL: "BearSSL (ESP8266, Pico)",
    Stack.MBEDTLS: "mbedTLS (ESP32)",
    Stack.OPENSSL: "OpenSSL strict (Python)",
    Stack.CURL: "curl",
}
RECORD_ADVICE = (
    "the server does not agree to short records: each connection takes a buffer of 16 KB on the device;"
    " OpenSSL servers agree, many proxies do not"
)


@dataclass(frozen=True)
class Subject:
    """What is checked: a chain (DER, as sent) under anchors for names; `server` is what a live one answered."""

    title: str
    chain: tuple[bytes, ...]
    anchors: tuple[bytes, ...]
    names: tuple[str, ...]
    trusted: str
    server: LiveServer | None = None


def register(actions: common.Subparsers) -> None:
    """Declare `pki check`."""
    checking = common.command(
        actions,
        "check",
        _check,
        summary="tell which TLS stacks accept a server's chain, and what expires",
        example="otaseal pki check update.local:8443 --ca certs",
    )
    checking.add_argument(
        "target", nargs="?", help="a chain (PEM, the server's own first), or host:port; default: what the store issued"
    )
    checking.add_argument(
        "--ca", action="append", default=[], metavar="PATH", help="what devices trust: file, folder or certs.ar"
    )
    checking.add_argument(
        "--name", action="append", default=[], metavar="HOST", help="what devices connect to; default: all its names"
    )
    stores.add_options(checking)


def _check(arguments: argparse.Namespace) -> int:
    now = stores.now()
    rest: list[dict[str, str]] = []
    if arguments.target:
        subjects = [from_target(arguments, lambda chain: _anchors(arguments, now, chain))]
    else:
        subjects, rest = _from_store(arguments, now)
    results = [
        (subject, name, examine(subject.chain, subject.anchors, name, now))
        for subject in subjects
        for name in subject.names
    ]
    if not arguments.json:
        for result in results:
            print_report(*result)
    common.show(
        arguments,
        {"checks": [_as_dict(*result) for result in results], "expiring": rest},
        *(f"expires    {expiry['not_after'][:10]}  {expiry['subject']}" for expiry in rest),
    )
    bad = [(subject, name, report) for subject, name, report in results if not report.good]
    if bad:
        raise verdict_error(*bad[0], others=len(bad) - 1)
    return 0


def verdict_error(subject: Subject, name: str, report: Report, others: int) -> OtasealError:
    """Return the error that says who refuses a chain and why; `others` more checks failed."""
    refusing = [TITLES[verdict.stack] for verdict in report.verdicts.values() if not verdict.accepted]
    first = next(finding for finding in report.findings if finding.stacks or finding.dangerous)
    what = f"refused by {', '.join(refusing)}" if refusing else "accepted by all, and dangerous"
    more = f"; {others} more checks fail" if others else ""
    return VerificationError(f"'{subject.title}' for '{name}' is {what}: {first.message}{more}", first.hint)


def from_target(arguments: argparse.Namespace, anchors_of: AnchorsOf) -> Subject:
    """Return what the argument `target` names, a file or a live server, under the anchors that `anchors_of` chooses.

    Raises InputError for what is neither, SystemFaultError where no server answers.
    """
    path = common.path(arguments.target)
    if path.is_file():
        chain = _read_chain(path)
        anchors, trusted = anchors_of(chain)
        return Subject(
            title=str(path),
            chain=chain,
            anchors=anchors,
            names=tuple(arguments.name) or _names(chain[0]),
            trusted=trusted,
        )
    if path.exists() or (len(path.parts) > 1 and "//" not in arguments.target) or path.suffix in SUFFIXES:
        raise InputError(f"chain '{path}' is not a file", "name a file with certificates, or a server as host:port")
    host, port = parse_target(arguments.target)
    names = tuple(arguments.name) or (host,)
    server = probe(host, port, names[0])
    anchors, trusted = anchors_of(server.chain)
    return Subject(
        title=f"{host}:{port}", chain=server.chain, anchors=anchors, names=names, trusted=trusted, server=server
    )


def _read_chain(path: Path) -> tuple[bytes, ...]:
    return tuple(cert.der for cert in parse_certificates(files.read_bounded(path, CHAIN_LIMIT, "chain")))


def _from_store(arguments: argparse.Namespace, now: datetime) -> tuple[list[Subject], list[dict[str, str]]]:
    """Return what the store issued to servers, and what runs out in it beside their chains."""
    if arguments.ca:
        raise ConfigError("--ca is given, and nothing to check", "name a chain or a server: otaseal pki check <target>")
    store = stores.opened(stores.choose(arguments))
    holders = dict.fromkeys((entry.role, entry.name) for entry in store.list() if entry.revoked is None)
    paths = {holder: store.folder(Role(holder[0]), holder[1]) / CHAIN_FILE for holder in holders}
    anchors, trusted = _roots_of(store, now)
    subjects = []
    for path in (path for (role, _), path in paths.items() if role == Role.SERVER.value):
        chain = _read_chain(path)
        names = tuple(arguments.name) or _names(chain[0])
        subjects.append(Subject(title=str(path), chain=chain, anchors=anchors, names=names, trusted=trusted))
    if not subjects:
        raise InputError(f"'{store.directory}' has issued no server certificate", "otaseal pki server issues one")
    others = [_read_chain(path)[0] for (role, _), path in paths.items() if role != Role.SERVER.value]
    roots = [store.certificate(slot).der for slot in (Slot.DEVICE, Slot.OPERATOR)]
    return subjects, _expiries(expiring([*others, *roots], now))


def _anchors(arguments: argparse.Namespace, now: datetime, chain: Sequence[bytes]) -> tuple[tuple[bytes, ...], str]:
    """Return what is trusted (DER), and how to call it: by option, from the project, the store or itself."""
    if arguments.ca:
        return root_in_chain(chain, arguments.ca)
    if arguments.store or arguments.product:
        return _roots_of(stores.opened(stores.choose(arguments)), now)
    if Path(PROJECT_CERTS).is_dir():
        return _read_anchors([PROJECT_CERTS]), PROJECT_CERTS
    if len(stores.available()) == 1 and not any(certificate.self_issued for certificate in map(Certificate, chain)):
        return _roots_of(stores.opened(stores.choose(arguments)), now)
    return root_in_chain(chain, [])


def root_in_chain(chain: Sequence[bytes], paths: Sequence[str]) -> tuple[tuple[bytes, ...], str]:
    """Return the certificates in `paths`, else the roots that the chain itself brings, and how to call them."""
    if paths:
        return _read_anchors(paths), ", ".join(paths)
    signers = tuple(certificate.der for certificate in map(Certificate, chain) if certificate.self_issued)
    return signers, "the root in the chain itself" if signers else "nothing: name the root with --ca"


def _roots_of(store: Store, now: datetime) -> tuple[tuple[bytes, ...], str]:
    return store.roots_to_pack(now), f"the roots of '{store.product}'"


def _read_anchors(paths: Iterable[str]) -> tuple[bytes, ...]:
    anchors: list[bytes] = []
    for text in paths:
        path = common.path(text)
        data = files.read_bounded(path, ar.ARCHIVE_LIMIT, "CA certificates") if path.is_file() else b""
        if data.startswith(ARCHIVE_START):
            anchors += [member.data for member in ar.device_view(data).indexed]
        else:
            sources = [source for source in collect([text], Path.cwd()) if not source.passed_over]
            anchors += [cert.der for source in sources for cert in parse_certificates(source.data)]
    return tuple(dict.fromkeys(anchors))


def _names(leaf: bytes) -> tuple[str, ...]:
    """Return the names that the certificate is meant for, else its common name; `*` is tried as `any`."""
    certificate = Certificate(leaf)
    names = certificate.names or certificate.common_names
    if not names:
        raise InputError(f"'{certificate.title}' is for no name", "say what devices connect to with --name")
    return tuple(dict.fromkeys(name.replace("*", "any", 1) for name in names))


def _expiries(expiries: Iterable[Expiry]) -> list[dict[str, str]]:
    return [{"subject": expiry.title, "not_after": expiry.not_after.isoformat()} for expiry in expiries]


def print_report(subject: Subject, name: str, report: Report) -> None:
    """Print each stack's verdict, the rules that a chain breaks with their fixes, and what expires."""
    print(f"{subject.title} for '{name}', trusting {subject.trusted}")
    for verdict in report.verdicts.values():
        rules = ", ".join(dict.fromkeys(cause.rule for cause in verdict.findings))
        print(f"  {TITLES[verdict.stack]:<24} {'accepts' if verdict.accepted else f'refuses: {rules}'}")
    for finding in report.findings:
        weight = "refused" if finding.stacks else "danger" if finding.dangerous else "advice"
        print(f"  {weight:<8} {finding.rule}: {finding.message}\n           fix: {runnable(finding.hint)}")
    for expiry in report.expiring:
        print(f"  expires  {expiry.not_after:%Y-%m-%d}  {expiry.title}")
    if subject.server is not None:
        print(f"  TLS      version 0x{subject.server.version:04x}, suite 0x{subject.server.suite:04x}")
        if subject.server.fragment is None:
            print(f"otaseal: note: {RECORD_ADVICE}", file=sys.stderr)


def _as_dict(subject: Subject, name: str, report: Report) -> dict[str, object]:
    server = subject.server
    live = None if server is None else {name: getattr(server, name) for name in ("version", "suite", "fragment")}
    return {
        "target": subject.title,
        "name": name,
        "trusting": subject.trusted,
        "good": report.good,
        "verdicts": {stack.value: verdict.accepted for stack, verdict in report.verdicts.items()},
        "findings": [
            {
                "rule": finding.rule,
                "fact": finding.fact,
                "message": finding.message,
                "hint": finding.hint,
                "refused_by": [stack.value for stack in finding.stacks],
                "dangerous": finding.dangerous,
            }
            for finding in report.findings
        ],
        "expiring": _expiries(report.expiring),
        "server": live,
    }
