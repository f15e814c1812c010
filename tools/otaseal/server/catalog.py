"""What the store holds, in memory and ready to answer with: releases, channels, known images, firmware.

Releases and blobs never change, so that each is read, and hashed, once. Channels are looked at for every request, by
the stamp of one small file. Whose turn it is in a rollout is decided here, from the pure rules in `rollout`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import protocol, rollout
from ..archive_record import ArchiveRecord
from ..channels import Channel
from ..public_keys import load_public_key
from ..release import Release
from ..store import PRODUCTS, Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["DEFAULT_CHANNEL", "Catalog", "Choice"]

DEFAULT_CHANNEL = "stable"
MAX_CACHED_BYTES = 128 * 1024 * 1024
SETTLED_NANOSECONDS = 1_000_000_000

Stamp = tuple[int, int, int]
"""By which a change of a file or directory shows: when it was written, which it is, its size."""


@dataclass(frozen=True)
class Choice:
    """The release that a URL and the channel's rollout lead one device to, and what of it is missing if None."""

    product: str | None = None
    channel: str | None = None
    release: Release | None = None
    held: bool = False
    missing: str = "product"


@dataclass
class Catalog:
    """The store, cached. Every method raises CorruptStoreError for what is damaged, and nothing else of its own."""

    store: Store
    _releases: dict[tuple[str, str], Release] = field(default_factory=dict, repr=False)
    _known: dict[str, tuple[object, Mapping[str, protocol.Running]]] = field(default_factory=dict, repr=False)
    _channels: dict[tuple[str, str], tuple[object, Channel | None]] = field(default_factory=dict, repr=False)
    _bodies: OrderedDict[str, bytes] = field(default_factory=OrderedDict, repr=False)
    _products: tuple[object, tuple[str, ...]] | None = field(default=None, repr=False)
    _cached: int = 0

    def products(self) -> tuple[str, ...]:
        """Return the products' names, sorted."""
        stamp = self._stamp(PRODUCTS)
        before = self._products
        if before is None or before[0] != stamp:
            before = (stamp, self.store.products())
            self._products = before if _settled(stamp) else None
        return before[1]

    def release(self, product: str, version: str) -> Release:
        """Return the release; raises NotFoundError."""
        if (product, version) not in self._releases:
            self._releases[product, version] = self.store.release(product, version)
        return self._releases[product, version]

    def releases(self, product: str) -> list[Release]:
        """Return all releases of a product, the latest made first."""
        found = [self.release(product, version) for version in self.store.releases(product)]
        return sorted(found, key=lambda one: one.created, reverse=True)

    def known(self, product: str) -> Mapping[str, protocol.Running]:
        """Return every sketch MD5 that a device of the product can report (F30b)."""
        stamp = self._stamp(f"products/{product}/releases")
        before = self._known.get(product)
        if before is None or before[0] != stamp:
            before = (stamp, protocol.known_images(self.releases(product)))
            self._known[product] = before
        return before[1]

    def channel(self, product: str, channel: str) -> Channel | None:
        """Return the state of a channel, None when nothing was published there."""
        stamp = self._stamp(f"products/{product}/channels/{channel}.json")
        before = self._channels.get((product, channel))
        if before is None or before[0] != stamp:
            before = (stamp, self.store.current(product, channel))
            if before[1] is not None:  # names that nobody made are anyone's, and must not grow the memory
                self._channels[product, channel] = before
        return before[1]

    def current(self, product: str, channel: str) -> Release | None:
        """Return the release that a channel points at, whoever is meant to get it."""
        state = self.channel(product, channel)
        return None if state is None else self.release(product, state.pointer.version)

    def keys(self, product: str) -> list[RSAPublicKey]:
        """Return the public keys that releases of the product may be signed with."""
        return [load_public_key(pem, f"public key '{name}'") for name, pem in self.store.keys(product).items()]

    def choose(self, product: str | None, channel: str | None, device: str | None, sketch_md5: str | None) -> Choice:
        """Return what a device is led to by its URL, its place in the rollout and what it runs already."""
        product = self._meant(product)
        if product is None:
            return Choice()
        name = channel or DEFAULT_CHANNEL
        state = self.channel(product, name)
        if state is None:
            return Choice(product, name, missing="channel" if channel else "release")
        current = self.release(product, state.pointer.version)
        if self._is_meant(state, device) or (sketch_md5 is not None and sketch_md5 in current.sketch_md5):
            return Choice(product, name, current)
        if state.previous is None:
            return Choice(product, name, current, held=True)
        return Choice(product, name, self.release(product, state.previous))

    def archive(self, product: str | None, channel: str | None) -> tuple[ArchiveRecord | None, str]:
        """Return which certificate archive a URL leads to, and what is missing where it leads to none."""
        product = self._meant(product)
        if product is None:
            return None, "product"
        return self.store.archive(product, channel or DEFAULT_CHANNEL), "archive"

    def body(self, blob: str) -> bytes:
        """Return the bytes with this SHA-256, hashed when they were read."""
        data = self._bodies.get(blob)
        if data is None:
            data = self.store.read_blob(blob)
            self._bodies[blob] = data
            self._cached += len(data)
            while self._cached > MAX_CACHED_BYTES and len(self._bodies) > 1:
                self._cached -= len(self._bodies.popitem(last=False)[1])
        else:
            self._bodies.move_to_end(blob)
        return data

    def _meant(self, product: str | None) -> str | None:
        """Return the product that a URL means: the one it names, or the only one; None where there is none such."""
        products = self.products()
        if product is None and len(products) == 1:
            return products[0]
        return product if product in products else None

    def _is_meant(self, state: Channel, device: str | None) -> bool:
        pointer = state.pointer
        if pointer.complete:
            return True
        return device is not None and not pointer.halted and rollout.includes(device, pointer.salt, pointer.percent)

    def _stamp(self, name: str) -> Stamp | None:
        with contextlib.suppress(OSError):
            status = os.stat(f"{self.store.directory}/{name}")  # noqa: PTH116 - for every request, and Path costs as much again
            return status.st_mtime_ns, status.st_ino, status.st_size
        return None


def _settled(stamp: Stamp | None) -> bool:
    """Tell whether another change of a directory would show: a clock's tick may have room for two."""
    return stamp is not None and time.time_ns() - stamp[0] > SETTLED_NANOSECONDS
