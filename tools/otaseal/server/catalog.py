"""A cache of the store: releases, channels, known images and firmware, and which release a device is given.

Releases and blobs never change: each is read, and hashed, once. For what does change every request looks at one stamp,
that of the audit log: whoever changes the store, in whatever process, writes there before that is acknowledged. What is
damaged is noted, and only a request that needs it is refused.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import CorruptStoreError, InputError, LaterFormatError, NotFoundError, OtasealError
from ..keys.public import load_public_key
from ..protocol.running import Running, known_images
from ..release.archive_record import ArchiveRecord
from ..release.channels import Channel
from ..release.records import Release
from ..store.documents import PRODUCTS, channel_name, product_folder
from ..store.selection import Facts
from ..store.store import Store
from .choices import ChannelChoices, Choice, TagsOf, no_tags

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

DEFAULT_CHANNEL = "stable"
MAX_CACHED_BYTES = 128 * 1024 * 1024
TRUSTED_SECONDS = 0.1
"""How long the audit log is believed: what hands change, or a process that died before its line, shows after that."""


@dataclass(frozen=True)
class _KnownImages:
    """The images of a product's `versions`, when its directory had that stamp."""

    stamp: object | None
    versions: frozenset[str]
    images: Mapping[str, Running]


@dataclass
class Catalog:
    """A cached store; methods raise CorruptStoreError for damage, LaterFormatError for what a later otaseal wrote."""

    store: Store
    wall: Callable[[], float] = time.time
    """The clock by which windows open."""
    damage: dict[str, str] = field(default_factory=dict)
    """What could not be read when it was last tried, and why."""
    bodies: OrderedDict[str, bytes] = field(default_factory=OrderedDict, repr=False)
    """The blobs in memory, by SHA-256; `body` reads others."""
    _releases: dict[tuple[str, str], Release] = field(default_factory=dict, repr=False)
    _known: dict[str, _KnownImages] = field(default_factory=dict, repr=False)
    _facts: dict[str, tuple[Mapping[str, Running], Facts]] = field(default_factory=dict, repr=False)
    _channels: dict[tuple[str, str], tuple[object, Channel | None]] = field(default_factory=dict, repr=False)
    _products: tuple[object, tuple[str, ...]] | None = field(default=None, repr=False)
    _choices: dict[tuple[str | None, str | None], tuple[int, ChannelChoices]] = field(default_factory=dict, repr=False)
    _log_stamp: object | None = field(default=None, repr=False)
    _trusted_until: float = 0.0
    _generation: int = 0
    _cached: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def products(self) -> tuple[str, ...]:
        """Return the products' names, sorted."""
        stamp = self.store.documents.stamp(PRODUCTS)
        before = self._products
        if before is None or before[0] != stamp:
            before = (stamp, self.store.products())
            self._products = before if self.store.documents.is_settled(stamp) else None
        return before[1]

    def release(self, product: str, version: str) -> Release:
        """Return the release; raises NotFoundError."""
        if (product, version) not in self._releases:
            with self._recording_damage(f"{product} {version}"):
                self._releases[product, version] = self.store.release(product, version)
        return self._releases[product, version]

    def sound(self, product: str, version: str) -> Release | None:
        """Return the release; None where it cannot be read, or is gone."""
        try:
            return self.release(product, version)
        except (CorruptStoreError, LaterFormatError, NotFoundError):
            return None

    def releases(self, product: str) -> list[Release]:
        """Return all releases of a product that can be read, the latest made first."""
        releases = [self.sound(product, version) for version in self.store.releases(product)]
        return sorted(filter(None, releases), key=lambda release: release.created, reverse=True)

    def damage_of(self, product: str) -> list[str]:
        """Return what could not be read of one product."""
        of_product = re.compile(rf"{re.escape(product)}[ /]")
        return [message for what, message in list(self.damage.items()) if of_product.match(what)]

    def known(self, product: str) -> Mapping[str, Running]:
        """Return every sketch MD5 that a device of the product can report (F30b)."""
        stamp = self.store.documents.stamp(f"{product_folder(product)}/releases")
        cached = self._known.get(product)
        if cached is not None and cached.stamp == stamp:
            return cached.images
        versions = frozenset(self.store.releases(product))
        if cached is None or cached.versions != versions:
            for version in cached.versions - versions if cached else ():
                self._releases.pop((product, version), None)
            releases = self.releases(product)  # the earliest one last: of two with one image, that counts
            read = frozenset(release.version for release in releases)
            if cached is None or cached.versions != read:
                cached = _KnownImages(None, read, known_images(releases))
        # Without its stamp while another change may come within the same tick of the clock.
        self._known[product] = replace(cached, stamp=stamp if self.store.documents.is_settled(stamp) else None)
        return cached.images

    def facts(self, product: str) -> Facts:
        """Return what the releases of a product tell of the devices that name their sketch MD5, or their board."""
        known, before = self.known(product), self._facts.get(product)
        if before is None or before[0] is not known:
            before = self._facts[product] = known, _facts(known)
        return before[1]

    def warm(self) -> None:
        """Read all releases, and the firmware that channels give out, before devices ask; for a thread of its own."""
        for product in self.store.products():
            with contextlib.suppress(OtasealError):
                self.known(product)
                wanted = [version for state in self.channels(product).values() for version in state.given_out]
                for release in filter(None, (self.sound(product, version) for version in wanted)):
                    for form in release.files:
                        self.body(form.blob)

    def channel(self, product: str, channel: str) -> Channel | None:
        """Return the state of a channel, None when nothing was published there."""
        stamp = self.store.documents.stamp(channel_name(product, channel))
        before = self._channels.get((product, channel))
        if before is None or before[0] != stamp:
            with self._recording_damage(f"{product}/{channel}"):
                before = (stamp, self.store.current(product, channel))
            if before[1] is not None:  # names that nobody made are anyone's, and must not grow the memory
                self._channels[product, channel] = before
        return before[1]

    def channels(self, product: str) -> dict[str, Channel]:
        """Return the channels of a product that can be read, by name."""
        states: dict[str, Channel] = {}
        for name in self.store.channels(product):
            with contextlib.suppress(CorruptStoreError, LaterFormatError):
                state = self.channel(product, name)
                if state is not None:
                    states[name] = state
        return states

    def current(self, product: str, channel: str) -> Release | None:
        """Return the release that a channel points at, whoever is meant to get it; None where it cannot be read."""
        state = self.channel(product, channel)
        return None if state is None else self.sound(product, state.pointer.version)

    def keys(self, product: str) -> dict[str, RSAPublicKey]:
        """Return the public keys that releases of the product may be signed with, by name."""
        try:
            return {
                name: load_public_key(data, f"public key '{name}'") for name, data in self.store.keys(product).items()
            }
        except InputError as error:
            raise CorruptStoreError(
                f"the store of '{product}' is damaged: {error.message}", "put the key back that was there"
            ) from error

    def choose(
        self,
        product: str | None,
        channel: str | None,
        device: str | None,
        runs: str | None,
        tags_of: TagsOf = no_tags,
    ) -> Choice:
        """Return the release for a device: by its URL, its turn in the rollout, and what it `runs`.

        `tags_of` is called only where the rollout goes by tags.
        """
        choices = self._choices_of(product, channel)
        if isinstance(choices, Choice):
            return choices
        state, current = choices.state, choices.current
        assert current.release is not None
        if state.pointer.unconditional or (runs is not None and runs in current.release.runs):
            return current
        # Where changes are not heard of at once, it may have been halted since.
        is_current = self.store.documents.is_current()
        choice = choices.choose(device, tags_of, self.wall()) if is_current else choices.before()
        if choice is None:
            assert state.previous is not None
            release = self._needed(current.release.product, state.previous)
            choice = choices.previous = replace(current, release=release, behind=choices.behind)
        return choice

    def archive(self, product: str | None, channel: str | None) -> tuple[ArchiveRecord | None, str]:
        """Return which certificate archive a URL leads to, and what is missing where it leads to none."""
        product = self.product_of(product)
        if product is None:
            return None, "product"
        name = channel or DEFAULT_CHANNEL
        with self._recording_damage(f"{product}/{name} certs"):
            return self.store.archive(product, name), "archive"

    def body(self, blob: str) -> bytes:
        """Return the bytes with this SHA-256, hashed when they were read."""
        data = self.bodies.get(blob)
        if data is None:
            with self._recording_damage(blob):
                data = self.store.read_blob(blob)
        with self._lock:
            if blob not in self.bodies:
                self.bodies[blob] = data
                self._cached += len(data)
                while self._cached > MAX_CACHED_BYTES and len(self.bodies) > 1:
                    self._cached -= len(self.bodies.popitem(last=False)[1])
            else:
                self.bodies.move_to_end(blob)
        return data

    def _choices_of(self, product: str | None, channel: str | None) -> ChannelChoices | Choice:
        """Return the choices of a URL's channel, the same object while nothing changes; a Choice where it has none."""
        generation = self._generation_now()
        cached = self._choices.get((product, channel))
        if cached is not None and cached[0] == generation:
            return cached[1]
        resolved = self.product_of(product)
        if resolved is None:
            return Choice()
        name = channel or DEFAULT_CHANNEL
        state, known = self.channel(resolved, name), self.known(resolved)
        if state is None:  # names that nobody made are anyone's, and must not grow the memory
            return Choice(resolved, name, missing="channel" if channel else "release", known=known)
        choices = None if cached is None else cached[1]
        if choices is None or choices.state is not state or choices.current.known is not known:
            release = self._needed(resolved, state.pointer.version)
            choices = ChannelChoices(state, Choice(resolved, name, release, known=known))
        self._choices[product, channel] = generation, choices
        return choices

    def _needed(self, product: str, version: str) -> Release:
        """Return a release that a channel points at; raises CorruptStoreError where it is gone."""
        with self._recording_damage(f"{product} {version}"):
            try:
                return self.release(product, version)
            except NotFoundError as error:
                raise CorruptStoreError(error.message, "restore the store from a backup") from error

    @contextlib.contextmanager
    def _recording_damage(self, what: str) -> Iterator[None]:
        try:
            yield
        except (CorruptStoreError, LaterFormatError) as error:
            self.damage[what] = error.message
            raise
        self.damage.pop(what, None)

    def _generation_now(self) -> int:
        """Return a number that changes whenever the store may have changed."""
        log, now = self.store.documents.last_change(), time.monotonic()
        if log != self._log_stamp or now >= self._trusted_until:
            self._log_stamp, self._trusted_until = log, now + TRUSTED_SECONDS
            self._generation += 1
        return self._generation

    def product_of(self, product: str | None) -> str | None:
        """Return the product that a URL means: the one it names, or the only one; None where there is none such."""
        known = self._products
        if known is not None and product in known[1]:  # one that was there stays, and every poll asks
            return product
        products = self.products()
        if product is None and len(products) == 1:
            return products[0]
        return product if product in products else None


def _facts(known: Mapping[str, Running]) -> Facts:
    told = {md5: running.release for md5, running in known.items()}
    images = [image for release in told.values() for image in release.images]
    names = {image.board_key: image.board for image in images if image.board_key and image.board}
    one = {md5: release for md5, release in told.items() if not release.others}
    boards = {md5: release.board or release.board_key for md5, release in one.items()}
    versions = {md5: release.version for md5, release in told.items()}
    return Facts(versions, {md5: board for md5, board in boards.items() if board}, names)
