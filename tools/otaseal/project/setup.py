"""What a project needs before its first build, each thing made where it is missing and never made twice.

A signing key, the authorities, a certificate for the server and one for the operator, and the roots among the project's
certificates. Each step looks at the disk whether it is done, so that a second run changes nothing and a run after a
kill goes on where the first one ended. Private keys never lie in the project.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from .. import files
from ..errors import ConfigError, KeyRefusedError, OtasealError
from ..keys import key_uri, signers
from ..keys import public as public_keys
from ..names import check_name
from ..pki import Role
from ..pki.authority import CERTIFICATE_FILE, KEY_FILE
from ..pki.certificate import Certificate, parse_certificates
from ..pki.profile import check_holder, subject_alternative_names
from ..pki.store import CHAIN_FILE, RETIRED, Slot, Store

SERVER = "main"
"""What the first server's certificate is called in the store."""
LOCAL = "localhost"
"""What operators call a server whose port for them is open to its own machine only, as it is until told otherwise."""
CERTIFICATE_LIMIT = 4 * 1024 * 1024
IGNORED = {
    ".pio/": {".pio", ".pio/", "/.pio", "/.pio/"},
    "*.key": {"*.key"},
    "data/certs.ar": {"data/certs.ar", "/data/certs.ar", "data", "data/", "/data", "/data/", "*.ar", "certs.ar"},
}
"""A line for .gitignore, and what does the same."""


@dataclass(frozen=True)
class Plan:
    """What is to exist; `signing_key` is None where the project names a key of its own.

    `asked_product` is what the product was to be called, where no product can have that name.
    """

    project: Path
    product: str
    signing_key: Path | None
    store: Path
    certs: Path
    server_names: tuple[str, ...]
    operator: str
    asked_product: str = ""

    def issued(self, role: Role, name: str) -> Path:
        """Return the folder of a certificate, made or not."""
        return Store(self.store, self.product).folder(role, name)

    def private_keys(self) -> tuple[Path, ...]:
        """Return where the keys are that a passphrase locks: the authorities', then the signing key."""
        authorities = tuple(self.store / slot.value / KEY_FILE for slot in Slot)
        return authorities if self.signing_key is None else (*authorities, self.signing_key)


@dataclass(frozen=True)
class Step:
    """One thing: what it is, where it goes, whether it `is_done`, and what makes it."""

    what: str
    path: Path
    is_done: Callable[[], bool] = field(repr=False)
    make: Callable[[], object] = field(repr=False)
    locked: bool = False  # making it takes the passphrase


def validate(plan: Plan) -> None:
    """Refuse what could not be finished before anything is made; raises ConfigError, KeyRefusedError."""
    check_name(plan.product, "product", ConfigError)
    check_holder(plan.operator)
    if not (plan.issued(Role.SERVER, SERVER) / CHAIN_FILE).exists():
        subject_alternative_names(_names(plan) if plan.server_names else [])
    for path in (plan.store, *([plan.signing_key] if plan.signing_key else [])):
        refuse_inside(path, plan.project)


def _names(plan: Plan) -> list[str]:
    return [*plan.server_names, LOCAL]


def refuse_inside(path: Path, project: Path) -> None:
    """Raise KeyRefusedError if `path`, which is for private keys, lies in the project."""
    if path.resolve().is_relative_to(project.resolve()):
        raise KeyRefusedError(
            f"private keys would lie in '{path}', inside the project",
            "name places outside of it with --signing-key and --store, or set XDG_CONFIG_HOME",
        )


def steps(plan: Plan, now: datetime, secret: bytes | None) -> Iterator[Step]:
    """Yield the steps in their order; `secret` locks what is new and unlocks what is there."""
    store = Store(plan.store, plan.product, secret)
    if plan.signing_key is not None:
        pair = (plan.signing_key, plan.signing_key.with_suffix(".pub"))
        yield Step("signing key", pair[0], partial(_all_exist, *pair), partial(_sign, pair[0], secret), locked=True)
    create = partial(Store.create, plan.store, plan.product, now, secret)
    authorities = partial(_all_exist, *(plan.store / slot.value / CERTIFICATE_FILE for slot in Slot))
    yield Step("authorities", plan.store, authorities, create, locked=True)
    server, operator = plan.issued(Role.SERVER, SERVER), plan.issued(Role.OPERATOR, plan.operator)
    issue = partial(store.issue_server, SERVER, _names(plan), now=now)
    yield Step("server certificate", server, partial(_all_exist, server / CHAIN_FILE), issue, locked=True)
    issue = partial(store.issue_operator, plan.operator, now=now)
    yield Step("operator certificate", operator, partial(_all_exist, operator / CHAIN_FILE), issue, locked=True)
    export = partial(export_roots, store, plan.certs, now)
    yield Step("CA certificates", plan.certs, lambda: authorities() and not any(_roots(store, plan.certs, now)), export)


def export_roots(store: Store, folder: Path, now: datetime) -> tuple[list[Path], list[Path]]:
    """Put the roots that devices need into `folder`; return the files written and those removed.

    A root that is there under any name stays. One that was retired and that no server uses any more is removed, if the
    file is the one that was written here. Raises InputError, SystemFaultError.
    """
    written, removed = [], []
    for path, root, wanted in _roots(store, folder, now):
        if wanted:
            files.write_new(path, _pem(root))
            written.append(path)
        else:
            files.remove(path)
            removed.append(path)
    return written, removed


def import_roots(chain: Sequence[bytes], anchors: Sequence[bytes], folder: Path) -> list[Path]:
    """Put those of `anchors` (DER) that issued a certificate of `chain` into `folder`; return the files written.

    A root that is there under any name stays as it is. Raises InputError, SystemFaultError.
    """
    issuers = {Certificate(der).issuer for der in chain}
    present = {certificate for path in _certificate_files(folder) for certificate in _certificates(path)}
    written = []
    for root in map(Certificate, anchors):
        if root.subject in issuers and root not in present:
            path = folder / _file_name(root)
            if path.exists():  # another root of the same name: its fingerprint tells them apart
                path = path.with_name(f"{path.stem}-{hashlib.sha256(root.der).hexdigest()[:8]}.pem")
            files.write_new(path, _pem(root))
            written.append(path)
    return written


def ignore_lines(text: str) -> str:
    """Return the .gitignore `text` with the lines that are missing at its end."""
    present = {line.strip() for line in text.splitlines()}
    missing = [line for line, same in IGNORED.items() if not same & present]
    gap = "" if not text or text.endswith("\n") or not missing else "\n"
    return text + gap + "".join(f"{line}\n" for line in missing)


def _all_exist(*paths: Path) -> bool:
    return all(path.exists() for path in paths)


def _sign(path: Path, secret: bytes | None) -> None:
    """Make the pair of signing keys, or the public half that a kill prevented."""
    if not path.exists():
        signers.write_key_pair(path, signers.new_signing_key(), secret)
        return
    data = files.read_bounded(path, key_uri.MAX_KEY_FILE_SIZE, "signing key")
    key = signers.load_private_key(data, f"signing key '{path}'", lambda _: secret or b"")
    files.write_new(path.with_suffix(".pub"), public_keys.public_pem(key.public_key()))


def _roots(store: Store, folder: Path, now: datetime) -> Iterator[tuple[Path, Certificate, bool]]:
    """Yield what has to change in `folder`: the file, the root, and whether it is to be there."""
    wanted = [Certificate(der) for der in store.roots_to_pack(now)]
    present = {certificate for path in _certificate_files(folder) for certificate in _certificates(path)}
    for root in wanted:
        if root not in present:
            yield folder / _file_name(root), root, True
    for retired in sorted(store.directory.glob(f"{RETIRED}*/{CERTIFICATE_FILE}")):
        for root in _certificates(retired):
            path = folder / _file_name(root)
            if root not in wanted and _certificates(path) == (root,):
                yield path, root, False


def _certificate_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _certificates(path: Path) -> tuple[Certificate, ...]:
    try:
        return parse_certificates(files.read_bounded(path, CERTIFICATE_LIMIT, "certificate"))
    except OtasealError:
        return ()  # not there, or none that can be read: packing them says what is wrong


def _file_name(root: Certificate) -> str:
    """Return a file name by the subject, which for roots of ours ends in random digits."""
    title = next(iter(root.common_names), root.title)
    return re.sub(r"[^a-z0-9._-]+", "-", title.lower()) + ".pem"


def _pem(root: Certificate) -> bytes:
    return ssl.DER_cert_to_PEM_cert(root.der).encode()
