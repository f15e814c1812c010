"""Getting ready to connect: the filesystem is mounted, and `certs.ar` indexed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .anchors import Trust
from .certstore import CertStore
from .filesystem import mount, read_file, write_file
from .flash import Layout
from .report import Fault, Step

__all__ = ["ARCHIVE", "CLIENT_CHAIN", "CLIENT_KEY", "INDEX", "TrustState", "load_store"]

ARCHIVE, INDEX = "/certs.ar", "/certs.idx"
CLIENT_CHAIN, CLIENT_KEY = "/client.crt", "/client.key"


@dataclass(frozen=True)
class TrustState:
    """The chip after the start of a sketch, whom it trusts, and the SHA-256 (hex) of its archive, "" without one."""

    flash: bytes
    trust: Trust
    archive_hash: str
    steps: tuple[Step, ...]


def load_store(flash: bytes, layout: Layout, heap: int, *, auto_format: bool) -> TrustState:
    """Mount, read and index as `LittleFS.begin()` and `initCertStore()` do; raises SystemFaultError without littlefs.

    An archive that yields nothing is a step that failed, and the device goes on and finds nobody to trust.
    """
    mounted = mount(flash, layout, auto_format=auto_format)
    checked = f"LittleFS of {layout.fs_size} bytes at 0x{layout.fs_start:x}, blocks of {layout.block}"
    if mounted.reason:
        step = Step.refused("filesystem", checked, Fault(0, mounted.reason, mounted.fact))
    else:
        step = Step("filesystem", checked, fact="F15b")
    flash, store, digest = mounted.flash, CertStore(()), ""
    archive = read_file(flash, layout, ARCHIVE) if mounted.mounted else None
    if archive is None:
        reason = f"there is no {ARCHIVE} in the filesystem: nobody is trusted"
        indexed = Step.refused("certificates", ARCHIVE, Fault(0, reason, "F15" if mounted.formatted else "F16"))
    else:
        digest, loaded = hashlib.sha256(archive).hexdigest(), CertStore.load(archive, heap)
        written = write_file(flash, layout, INDEX, loaded.index)
        if written is None:
            fault = Fault(0, f"no room for {INDEX}, {len(loaded.index)} bytes", "F19")
            indexed = Step.refused("certificates", ARCHIVE, fault)
        else:
            flash, store, indexed = written, loaded, _counting(loaded, len(archive))
    return TrustState(flash, store, digest, (step, indexed))


def _counting(store: CertStore, size: int) -> Step:
    usable = sum(entry.is_usable for entry in store.entries)
    checked = f"{ARCHIVE}: {size} bytes, {store.count} counted, {usable} usable"
    if usable:
        return Step("certificates", checked, fact="F16")
    reason = "the device counts what it cannot use" if store.count else "nothing in it can be read"
    return Step.refused("certificates", checked, Fault(0, reason, "F16"))
