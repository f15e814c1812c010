"""Getting ready to connect: the filesystem is mounted, `certs.ar` indexed, and the heap has to hold the buffers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .anchors import Trust
from .certstore import CertStore
from .error_numbers import OUT_OF_MEMORY
from .filesystem import Filesystem, mount, read_file, write_file
from .flash import Layout
from .report import Fault, Step
from .tls import TlsSettings

__all__ = ["ARCHIVE", "CLIENT_CHAIN", "CLIENT_KEY", "INDEX", "TrustState", "check_heap", "load_store"]

ARCHIVE, INDEX = "/certs.ar", "/certs.idx"
CLIENT_CHAIN, CLIENT_KEY = "/client.crt", "/client.key"
CONTEXTS = 5_200
"""Bytes that a connection takes beside its buffers, so that it is about 22 KB with those of the core (F27)."""


@dataclass(frozen=True)
class TrustState:
    """The chip after the start of a sketch, whom it trusts, and the SHA-256 (hex) of its archive, "" without one."""

    flash: bytes
    trust: Trust
    archive_hash: str
    steps: tuple[Step, ...]
    formatted: bool


def load_store(flash: bytes, layout: Layout, heap: int, *, auto_format: bool) -> TrustState:
    """Mount, read and index as `LittleFS.begin()` and `initCertStore()` do; raises SystemFaultError without littlefs.

    An archive that yields nothing is a step that failed, and the device goes on and finds nobody to trust.
    """
    found = mount(flash, layout, auto_format=auto_format)
    steps = [_mounting(found, layout)]
    archive = read_file(found.flash, layout, ARCHIVE) if found.mounted else None
    if archive is None:
        fault = Fault(
            0, f"there is no {ARCHIVE} in the filesystem: nobody is trusted", "F15" if found.formatted else "F16"
        )
        steps.append(Step.refused("certificates", ARCHIVE, fault))
        return TrustState(found.flash, CertStore(()), "", tuple(steps), found.formatted)
    store = CertStore.load(archive, heap)
    indexed = write_file(found.flash, layout, INDEX, store.index)
    digest = hashlib.sha256(archive).hexdigest()
    if indexed is None:
        fault = Fault(0, f"no room for {INDEX}, {len(store.index)} bytes", "F19")
        steps.append(Step.refused("certificates", ARCHIVE, fault))
        return TrustState(found.flash, CertStore(()), digest, tuple(steps), False)
    steps.append(_counting(store, len(archive)))
    return TrustState(indexed, store, digest, tuple(steps), False)


def check_heap(settings: TlsSettings, free: int) -> Step:
    """Return whether both buffers and BearSSL's contexts fit in the heap (F27)."""
    needed = settings.memory + CONTEXTS
    checked = f"{needed} bytes for a connection ({settings.receive_buffer} in, {settings.send_buffer} out), {free} free"
    if needed <= free:
        return Step("heap", checked, True, fact="F27")
    reason = "the buffers do not fit in the heap: negotiate shorter records"
    return Step.refused("heap", checked, Fault(OUT_OF_MEMORY, reason, "F27"))


def _mounting(found: Filesystem, layout: Layout) -> Step:
    checked = f"LittleFS of {layout.fs_size} bytes at 0x{layout.fs_start:x}, blocks of {layout.block}"
    if found.reason:
        return Step.refused("filesystem", checked, Fault(0, found.reason, found.fact))
    return Step("filesystem", checked, True, fact="F15b")


def _counting(store: CertStore, size: int) -> Step:
    verdicts = [entry.verdict for entry in store.entries]
    usable = sum(verdict in ("anchor", "pin") for verdict in verdicts)
    checked = f"{ARCHIVE}: {size} bytes, {store.count} counted, {usable} usable"
    if usable:
        return Step("certificates", checked, True, fact="F16")
    reason = "the device counts what it cannot use" if store.count else "nothing in it can be read"
    return Step.refused("certificates", checked, Fault(0, reason, "F16"))
