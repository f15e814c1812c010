"""A product's authorities and certificates in a directory outside the project: issued, renewed and revoked.

    server-ca/  server-ca-next/  device-ca/  operator-ca/     key.pem (0600) and certificate.pem; crl.pem once revoked
    server-ca-retired-<serial>/                               after a rotation
    issued/<role>/<name>/                                     key.pem (0600) and chain.pem
    issued/device/AA-BB-CC-DD-EE-FF/                          chain.pem of a device that keeps its key (`enroll`)
    index.json  revoked.json                                  what was issued; what a server has to refuse

The key is written first, then the certificate, then the index. A kill in between leaves whole files only, and the next
call goes on from there: with the key that is there, or by entering what the index lacks. No key is ever replaced:
renewal keeps it, so that one file changes, and key and certificate never disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from .. import directories, files
from ..errors import ConfigError, InputError, SystemFaultError
from ..keys.signers import private_key_pem
from ..names import check_name
from .authority import (
    AUTHORITY_KEYS,
    CERTIFICATE_FILE,
    DEFAULT_SERVER_KEY,
    KEY_FILE,
    MAX_FILE_BYTES,
    Authority,
    Issued,
    load_private_key,
)
from .certificate import Certificate, parse_certificate, parse_certificates
from .enrolment import Request
from .index import MAX_INDEX_BYTES, Entry, check_revoked, entry_of, make_crl, parse_index, revoked_json, serialize_index
from .profile import KeyType, Role, check_device, check_holder, make_key, subject_alternative_names
from .scope import Scope, of_uris

if TYPE_CHECKING:
    from .profile import PrivateKey

CHAIN_FILE, CRL_FILE, INDEX_FILE, REVOKED_FILE = "chain.pem", "crl.pem", "index.json", "revoked.json"
RETIRED = "server-ca-retired-"


class Slot(Enum):
    """Where an authority stands; the server's has a successor from the first day, which devices trust too."""

    SERVER = "server-ca"
    SERVER_NEXT = "server-ca-next"
    DEVICE = "device-ca"
    OPERATOR = "operator-ca"

    @property
    def role(self) -> Role:
        """Whom the authority in this place vouches for."""
        return Role.SERVER if self is Slot.SERVER_NEXT else Role(self.value.removesuffix("-ca"))


SLOTS = {Role.SERVER: Slot.SERVER, Role.DEVICE: Slot.DEVICE, Role.OPERATOR: Slot.OPERATOR}


@dataclass(frozen=True)
class Store:
    """A directory of authorities for `product`; `passphrase` locks the authorities' keys, None leaves them open."""

    directory: Path
    product: str
    passphrase: bytes | None = field(default=None, repr=False)

    @classmethod
    def create(cls, directory: Path, product: str, now: datetime, passphrase: bytes | None = None) -> Store:
        """Return the store at `directory` with all four authorities, making those that are missing and no other.

        Raises ConfigError for a product's name that cannot be one, SystemFaultError when the disk refuses.
        """
        store = cls(directory, check_name(product, "product", ConfigError), passphrase)
        directories.make_private_directory(directory)
        with directories.locked(directory):
            store._recover()
            for slot in Slot:
                store._ensure_authority(slot, now)
        return store

    def authority(self, slot: Slot) -> Authority:
        """Return the authority in `slot` with its key; raises InputError, KeyRefusedError."""
        return Authority.load(self.directory / slot.value, self.passphrase)

    def certificate(self, slot: Slot) -> Certificate:
        """Return the root certificate in `slot`, which needs no passphrase; raises InputError."""
        return _read_certificate(self.directory / slot.value / CERTIFICATE_FILE)

    def folder(self, role: Role, name: str) -> Path:
        """Return where the key and the chain of `name` are; the colons of a device's MAC address are dashes there."""
        check = check_device if role is Role.DEVICE else check_holder
        return self.directory / "issued" / role.value / _folder_name(check(name))

    def issue_server(self, name: str, names: list[str], *, now: datetime, key: KeyType = DEFAULT_SERVER_KEY) -> Path:
        """Issue a certificate for host names and addresses and return its folder; `name` is what it is called here.

        Raises ConfigError for a name that cannot be one, InputError when there is such a certificate already.
        """
        subject_alternative_names(names)  # refused before a key is made
        return self._issue(Role.SERVER, name, key, lambda by, pair: by.issue_server(names, now=now, key=pair))

    def issue_device(self, name: str, *, now: datetime) -> Path:
        """Issue a client certificate for a device and return its folder; raises as `issue_server`."""
        return self._issue(Role.DEVICE, name, KeyType.P_256, lambda by, pair: by.issue_device(name, now=now, key=pair))

    def issue_operator(self, name: str, *, now: datetime, scopes: Sequence[Scope] = ()) -> Path:
        """Issue a client certificate for `scopes`, else everything, and return its folder; raises as `issue_server`."""
        return self._issue(
            Role.OPERATOR,
            name,
            KeyType.P_256,
            lambda by, pair: by.issue_operator(name, now=now, key=pair, scopes=scopes),
        )

    def enroll(self, request: Request, *, now: datetime, days: int) -> Certificate:
        """Return a certificate for the key of `request`, valid for at most `days`; whatever it replaces stays valid.

        It is in the index before anybody has it. For the same key it is the same certificate until a renewal is due, so
        that an answer that was lost can be sent again. Raises InputError for a device whose key was made here.
        """
        folder = self.folder(Role.DEVICE, request.device)
        with directories.locked(self.directory):
            entries = self._recover()
            if (folder / KEY_FILE).exists():
                raise InputError(
                    f"the key of '{request.device}' was made here, and its request is for another one",
                    f"if the device is to keep its own key: otaseal pki revoke {request.device}, then enroll it",
                )
            authority = self.authority(Slot.DEVICE)
            last = self.last(request.device)
            valid = {entry.serial for entry in entries if entry.valid_at(now) and not entry.renewal_due(now)}
            if last is not None and last.key == request.public_key and last.serial in valid:
                return last
            pem = authority.enroll_device(request.device, request.public_key, now=now, days=days)
            directories.make_private_directory(folder)
            files.write_atomic(folder / CHAIN_FILE, pem)
            certificate = parse_certificate(pem)
            self._write_index((*entries, entry_of(certificate, Role.DEVICE, request.device)))
        return certificate

    def last(self, device: str) -> Certificate | None:
        """Return the certificate of a device that was issued last, None where none was; raises InputError."""
        path = self.folder(Role.DEVICE, device) / CHAIN_FILE
        return _read_certificate(path) if path.exists() else None

    def list(self) -> tuple[Entry, ...]:
        """Return all that was issued, oldest first; raises InputError for a damaged index."""
        with directories.locked(self.directory):
            return self._recover()

    def due(self, now: datetime) -> tuple[Entry, ...]:
        """Return what has to be renewed: two thirds of its life are over, or its authority has been retired."""
        current = {_key_identifier(self.certificate(slot)) for slot in SLOTS.values()}
        latest = {(entry.role, entry.name): entry for entry in self.list() if entry.revoked is None}
        return tuple(entry for entry in latest.values() if entry.renewal_due(now) or entry.issuer not in current)

    def is_enrolled(self, role: Role, name: str) -> bool:
        """Tell whether the key of `name` never was here: only its device can ask for another certificate."""
        folder = self.folder(role, name)
        return role is Role.DEVICE and folder.exists() and not (folder / KEY_FILE).exists()

    def renew(self, role: Role, name: str, *, now: datetime) -> Path:
        """Replace a certificate by one of the current authority for the same names and key, and return its folder.

        Raises InputError when there is none of that name, or its key is not here but in the device.
        """
        folder = self.folder(role, name)
        if self.is_enrolled(role, name):
            raise InputError(
                f"'{name}' has its key in the device, which asks for the next certificate itself",
                "otaseal pki enroll signs what devices ask for",
            )
        with directories.locked(self.directory):
            entries = self._recover()
            old = _read_certificate(folder / CHAIN_FILE)
            key = _read_key(folder / KEY_FILE)
            issued = _issue_again(self.authority(SLOTS[role]), old, name, now, key)
            files.write_atomic(folder / CHAIN_FILE, issued.chain_pem)
            self._write_index((*entries, entry_of(parse_certificate(issued.chain_pem), role, name)))
        return folder

    def revoke(self, role: Role, name: str, *, now: datetime, serial: str | None = None) -> tuple[Entry, ...]:
        """Revoke every certificate of `name`, or that of the number `serial` alone, and write both lists.

        Returns the entries. Without any other certificate the name is free again.

        Devices ask no list (F26): revoking a server's certificate does not stop a device from trusting it. Raises
        InputError when nothing was issued under that name.
        """
        with directories.locked(self.directory):
            entries = self._recover()
            named = [entry for entry in entries if (entry.role, entry.name, entry.revoked) == (role.value, name, None)]
            valid = [entry for entry in named if serial in (None, entry.serial)]
            if not valid:
                raise InputError(f"nothing is issued to the {role.value} '{name}'", "otaseal pki list shows what is")
            authority = self.authority(SLOTS[role])  # before anything changes: the passphrase may be wrong
            entries = tuple(entry.revoked_at(now) if entry in valid else entry for entry in entries)
            # The lists before the index: killed in between, `revoke` is called again.
            files.write_atomic(self.directory / REVOKED_FILE, revoked_json(entries))
            files.write_atomic(self.directory / SLOTS[role].value / CRL_FILE, make_crl(authority, entries, now))
            self._write_index(entries)
            self._set_aside_revoked(entries)
        return tuple(entry.revoked_at(now) for entry in valid)

    def rotate(self, now: datetime) -> None:
        """Make the server's next authority the current one, retire the old one, and make a new successor.

        Devices that carry both roots take the renewed server certificate at once; `due` names what to renew. Those
        that do not yet carry today's successor are locked out by a second rotation. Called again after a kill, this
        finishes the rotation that was begun and starts no other.
        """
        with directories.locked(self.directory):
            self._recover()
            if not (self.directory / Slot.SERVER_NEXT.value / CERTIFICATE_FILE).exists():
                self._ensure_authority(Slot.SERVER_NEXT, now)
                return
            serial = self.certificate(Slot.SERVER).serial[:16]
            _rename(self.directory / Slot.SERVER.value, self.directory / (RETIRED + serial))
            self._finish_rotation()
            self._ensure_authority(Slot.SERVER_NEXT, now)

    def roots_to_pack(self, now: datetime) -> tuple[bytes, ...]:
        """Return the roots (DER) that devices need: current, next, and a retired one while a server still uses it."""
        latest = {entry.name: entry for entry in self.list() if entry.role == Role.SERVER.value}
        in_use = {entry.issuer for entry in latest.values() if entry.valid_at(now)}
        retired = [_read_certificate(path / CERTIFICATE_FILE) for path in sorted(self.directory.glob(RETIRED + "*"))]
        kept = [cert for cert in retired if _key_identifier(cert) in in_use]
        roots = [self.certificate(Slot.SERVER), self.certificate(Slot.SERVER_NEXT), *kept]
        return tuple(cert.der for cert in roots if cert.valid_at(now))

    def _ensure_authority(self, slot: Slot, now: datetime) -> None:
        folder = self.directory / slot.value
        if (folder / CERTIFICATE_FILE).exists():
            return
        directories.make_private_directory(folder)
        key = self._ensure_key(folder, AUTHORITY_KEYS[slot.role], self.passphrase)
        authority = Authority.create(role=slot.role, product=self.product, now=now, key=key)
        files.write_new(folder / CERTIFICATE_FILE, authority.certificate_pem)

    def _ensure_key(self, folder: Path, kind: KeyType, passphrase: bytes | None) -> PrivateKey:
        """Make the key, or take the one that stands there without a certificate: its maker was interrupted."""
        path = folder / KEY_FILE
        if path.exists():
            return _read_key(path, passphrase)
        key = make_key(kind)
        files.write_new(path, private_key_pem(key, passphrase), files.PRIVATE_MODE)
        return key

    def _issue(self, role: Role, name: str, kind: KeyType, issue: Callable[[Authority, PrivateKey], Issued]) -> Path:
        folder = self.folder(role, name)
        with directories.locked(self.directory):
            entries = self._recover()
            files.refuse_existing(folder / CHAIN_FILE, "renew it, or revoke it first")
            authority = self.authority(SLOTS[role])
            directories.make_private_directory(folder)
            issued = issue(authority, self._ensure_key(folder, kind, None))
            files.write_new(folder / CHAIN_FILE, issued.chain_pem)
            self._write_index((*entries, entry_of(parse_certificate(issued.chain_pem), role, name)))
        return folder

    def _recover(self) -> tuple[Entry, ...]:
        """Finish what a kill interrupted, and return the entries; the lock is held."""
        index, revoked = self.directory / INDEX_FILE, self.directory / REVOKED_FILE
        entries = parse_index(files.read_bounded(index, MAX_INDEX_BYTES, "index")) if index.exists() else ()
        if revoked.exists():
            check_revoked(files.read_bounded(revoked, MAX_INDEX_BYTES, "revocations"))
        directories.sweep(self.directory)  # from here on it is known that no later otaseal has been here
        self._finish_rotation()
        known = {entry.serial for entry in entries}
        issued = [
            _entry_in(chain, role)
            for role in Role
            for chain in sorted((self.directory / "issued" / role.value).glob(f"*/{CHAIN_FILE}"))
        ]
        missing = tuple(entry for entry in issued if entry.serial not in known)
        if missing:
            entries = (*entries, *missing)
            self._write_index(entries)
        self._set_aside_revoked(entries)
        if not revoked.exists():  # a server that finds no list lets nobody in
            files.write_atomic(revoked, revoked_json(entries))
        return entries

    def _finish_rotation(self) -> None:
        current, successor = self.directory / Slot.SERVER.value, self.directory / Slot.SERVER_NEXT.value
        if not current.exists() and (successor / CERTIFICATE_FILE).exists() and any(self.directory.glob(RETIRED + "*")):
            _rename(successor, current)

    def _set_aside_revoked(self, entries: tuple[Entry, ...]) -> None:
        revoked = {(entry.role, entry.name): entry for entry in entries if entry.revoked}
        live = {(entry.role, entry.name) for entry in entries if not entry.revoked}
        for (role, name), entry in revoked.items():
            folder = self.directory / "issued" / role / _folder_name(name)
            if (role, name) not in live and (folder / CHAIN_FILE).exists():
                aside = self.directory / "revoked" / role / f"{folder.name}-{entry.serial[:16]}"
                directories.make_private_directory(aside.parent)
                _rename(folder, aside)

    def _write_index(self, entries: tuple[Entry, ...]) -> None:
        files.write_atomic(self.directory / INDEX_FILE, serialize_index(entries), files.PRIVATE_MODE)


def _rename(old: Path, new: Path) -> None:
    try:
        old.rename(new)
    except OSError as error:
        raise SystemFaultError(f"'{old}' cannot be renamed: {error.strerror}", "check the permissions") from error


def _folder_name(holder: str) -> str:
    return holder.replace(":", "-")  # which Windows has for something else


def _entry_in(chain: Path, role: Role) -> Entry:
    """Return the entry of what was issued and did not get into the index."""
    certificate, name = _read_certificate(chain), chain.parent.name
    if role is Role.DEVICE and certificate.common_names:
        name = certificate.common_names[-1]
    return entry_of(certificate, role, name)


def _issue_again(by: Authority, old: Certificate, name: str, now: datetime, key: PrivateKey) -> Issued:
    if by.role is Role.DEVICE:
        return by.issue_device(name, now=now, key=key)
    if by.role is Role.OPERATOR:
        uris = old.alternatives.uris if old.alternatives else ()
        return by.issue_operator(name, now=now, key=key, scopes=of_uris(uris) if uris else ())
    return by.issue_server(list(old.names), now=now, key=key)


def _read_certificate(path: Path) -> Certificate:
    return parse_certificates(files.read_bounded(path, MAX_FILE_BYTES, "certificate"))[0]


def _read_key(path: Path, passphrase: bytes | None = None) -> PrivateKey:
    return load_private_key(files.read_bounded(path, MAX_FILE_BYTES, "private key"), passphrase)


def _key_identifier(certificate: Certificate) -> str:
    return (certificate.subject_key or b"").hex()
