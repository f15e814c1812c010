"""Plays a store's whole life again and again, killed (SIGKILL) one file-system call later each time.

    python killed_at.py <empty directory>

Each round has a directory of its own, named by the number of the call it was killed before; `done` is the one that was
not. The keys are P-256, for speed.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from otaseal.pki import KeyType, Role, store
from otaseal.pki.enrolment import Request, check_request
from otaseal.pki.store import Store

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
EVENTS = {"open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.chmod"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MAX_ROUNDS = 400


def request() -> Request:
    """Return a device's request, for a key that stays in it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "5C:CF:7F:00:00:01")])
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    )
    return check_request(signed.public_bytes(Encoding.DER))


def live(directory: Path) -> None:
    """Make, issue, enrol, renew, revoke, rotate."""
    made = Store.create(directory, "blink", NOW)
    made.issue_server("main", ["192.0.2.7", "update.local"], now=NOW, key=KeyType.P_256)
    made.issue_device("esp-1", now=NOW)
    for _ in range(2):
        enrolled = made.enroll(request(), now=NOW, days=90)
    made.revoke(Role.DEVICE, "5C:CF:7F:00:00:01", now=NOW, serial=enrolled.serial)
    made.renew(Role.SERVER, "main", now=NOW + timedelta(days=300))
    made.revoke(Role.DEVICE, "esp-1", now=NOW + timedelta(days=301))
    made.rotate(NOW + timedelta(days=302))


def live_until(directory: Path, last: int) -> None:
    """Play it and die before call number `last` that touches `directory`."""
    count = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        here = event == "os.link" or any(str(one).startswith(str(directory)) for one in arguments[:2])
        reading = event == "open" and not int(str(arguments[2])) & WRITING
        if event in EVENTS and here and not reading:
            count += 1
            if count > last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    live(directory)


def main(folder: Path) -> None:
    store.AUTHORITY_KEYS = dict.fromkeys(Role, KeyType.P_256)
    live(folder / "warm-up")
    for last in range(MAX_ROUNDS):
        child = os.fork()
        if child == 0:
            live_until(folder / str(last), last)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            (folder / str(last)).rename(folder / "done")
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError("it never ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
