"""The examination of a project and its server, everything at once: `examine` asks all, and raises for nothing it finds.

A check says what it saw in one line and never stops the next one. It changes nothing, asks for no passphrase and shows
no secret. The checks stand in the order in which a person repairs: the first problem is the one to begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..errors import OtasealError
from . import build, certificates, keys, online, partition_table, tools
from .report import AT_THE_SERVER, Check, CheckResult, Report, Status, Subject, skipped

__all__ = ["Check", "Report", "Status", "Subject", "examine"]

CHECKS: Sequence[tuple[str, Callable[[Subject], Iterator[CheckResult]]]] = (
    ("options", build.options),
    ("hooks", build.hooks),
    ("python", tools.python),
    ("packages", tools.packages),
    ("platformio", tools.platformio),
    ("signing key", keys.signing_key),
    ("public key", keys.public_key),
    ("filesystem", build.filesystem),
    ("partitions", partition_table.built),
    ("certificates", certificates.trusted),
    ("archive", certificates.packed),
    ("firmware", build.firmware),
    ("signed image", build.signed),
    ("manifest", build.manifest),
    ("server", online.reachable),
    ("TLS", online.tls),
    ("server chain", online.chain),
    ("publishing", online.published),
)


def examine(subject: Subject) -> Report:
    """Return all checks of the project and, unless `subject` says otherwise, of its server."""
    checks: list[Check] = []
    for name, check in CHECKS:
        try:
            outcome = online.not_asked(subject, name) if name in AT_THE_SERVER else None
            checks += [Check(name, *result) for result in ([outcome] if outcome else check(subject))]
        except OtasealError as error:
            checks.append(Check(name, Status.PROBLEM, error.message, error.hint))
        except ModuleNotFoundError as error:
            checks.append(Check(name, *skipped(f"it needs the package '{error.name}'")))
    return Report(tuple(checks))
