"""Patches for devices that can apply one: each is made once, beside the event loop, and kept; none is promised.

Nobody waits for a patch: until it is there, a device gets the whole image. What is kept can be made again, so that a
folder of it may be lost, or belong to a server that is one of several.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .. import files
from ..delta import header
from ..errors import OtasealError, from_checkout
from ..protocol.answers import PatchPair
from ..protocol.running import patch_pair
from ..release.records import Form
from ..store.device_table import DeviceTable
from .catalog import Catalog

MAX_BYTES = 64 * 1024 * 1024
"""Of patches in memory, and of those in the folder: those made first go first."""
MAX_KNOWN = 10_000
MAX_WANTED = 32
"""Patches that wait to be made: what is wanted beyond that is wanted again by the next device."""
SECONDS = 60.0
"""How long a patch may take: two images of 1.8 MB take three seconds, and one full of repetitions takes for ever."""
MAX_ADDRESSES = 2 << 30
"""Bytes of address space for making one: of memory two images of 450 KB take less than 64 MB."""
SUFFIX = ".patch"
KIND = "patch"
"""Of a form that is made, and stands in no record."""

Key = tuple[str, str]
"""The MD5 of the base, and the SHA-256 of the target."""


class Patch(NamedTuple):
    """A patch, as it is sent."""

    form: Form
    data: bytes

    @classmethod
    def of(cls, data: bytes, image_size: int) -> Patch:
        """Return the patch with these bytes, which makes a signed image of `image_size`."""
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return cls(Form(KIND, hashlib.sha256(data).hexdigest(), len(data), md5, image_size), data)


class Made(NamedTuple):
    """How many bytes a patch from one version to another has, for a `board` of a release with several, else None."""

    before: str
    version: str
    board: str | None
    size: int


class Patches:
    """The patches between releases of a `catalog`, also in `folder` if there is one; `report` is told what fails."""

    def __init__(self, catalog: Catalog, folder: Path | None, report: Callable[[str], None]) -> None:
        self._catalog, self._folder, self._report = catalog, folder, report
        self._made: OrderedDict[Key, Patch | None] = OrderedDict()
        self._size = 0
        self._wanted: set[Key] = set()
        self._prepared: dict[tuple[str, str], tuple[object, object]] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "patches")
        self._load()

    @staticmethod
    def missing() -> str:
        """Return in words why none can be made, "" where they can."""
        if find_spec("bsdiff4") is not None:
            return ""
        return f"devices get whole images: the package bsdiff4 makes patches; {from_checkout('delta')}"

    def find(self, pair: PatchPair) -> Patch | None:
        """Return a patch, None where there is none or none yet: then it is made."""
        key = _key(pair)
        if key in self._made:
            return self._made[key]
        self._want(key, pair)
        return None

    def made(self, product: str) -> list[Made]:
        """Return the patches of a product, of each two versions and board the largest."""
        found: dict[tuple[str, str, str | None], int] = {}
        known = self._catalog.known(product)
        for release in self._catalog.releases(product):
            for image in release.images:
                board = (image.board or image.board_key) if release.others else None
                for md5, running in known.items():
                    pair = patch_pair(md5, running, image)
                    patch = pair and self._made.get(_key(pair))
                    if patch:
                        key = running.release.version, release.version, board
                        found[key] = max(patch.form.size, found.get(key, 0))
        return [Made(*key, size) for key, size in found.items()]

    def prepare(self, devices: DeviceTable) -> None:
        """Make the patches from what devices run to what their channels give out, where either has changed."""
        for product in self._catalog.store.products():
            for name, state in self._catalog.channels(product).items():
                known = self._catalog.known(product)
                before = self._prepared.get((product, name))
                if before is not None and before[0] is state and before[1] is known:
                    continue
                release = self._catalog.sound(product, state.pointer.version)
                running = sorted(devices.running(product, name), key=lambda row: -row[2])
                for md5, _, _ in running[:MAX_WANTED]:
                    own = known.get(md5)
                    wanted = own and release and release.for_board(own.release.board_key)
                    pair = own and wanted and patch_pair(md5, own, wanted)
                    if pair:
                        self.find(pair)
                self._prepared[product, name] = (state, known)

    def close(self) -> None:
        """Make no more, and end what is being made."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._child is not None:
            self._child.kill()

    def _want(self, key: Key, pair: PatchPair) -> None:
        with self._lock:
            if self._closed or key in self._wanted or len(self._wanted) >= MAX_WANTED:
                return
            self._wanted.add(key)
        self._thread.submit(self._make, key, pair)

    def _make(self, key: Key, pair: PatchPair) -> None:
        """Make a patch; where there is none, because it would be no smaller or cannot be made, that is kept, too."""
        patch: Patch | None = None
        try:
            data = self._run(*map(self._catalog.store.read_blob, (pair.base, pair.target.blob)))
            if len(data) < pair.target.size:
                patch = Patch.of(data, pair.target.image_size)
                self._save(key, data)
        except subprocess.TimeoutExpired:
            self._report(f"a patch from {key[0]} to {key[1][:16]} took longer than {SECONDS:.0f} s: it is not offered")
        except (OtasealError, OSError, subprocess.SubprocessError) as error:
            if not self._closed:
                self._report(f"no patch from {key[0]} to {key[1][:16]}: {error}")
        self._keep(key, patch)
        self._wanted.discard(key)

    def _run(self, base: bytes, target: bytes) -> bytes:
        """Return what `otaseal delta make` makes, in a process of its own: the memory that it takes goes with it."""
        with tempfile.TemporaryDirectory(prefix="otaseal-") as name:
            folder = Path(name)
            source, wanted, patch = folder / "base", folder / "target", folder / "patch"
            source.write_bytes(base)
            wanted.write_bytes(target)
            command = [sys.executable, "-m", "otaseal", "delta", "make", *map(str, (source, wanted, "--output", patch))]
            package = Path(__file__).resolve().parents[2]
            with subprocess.Popen(
                command, cwd=package, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as child:
                self._child = child
                if self._closed:  # it was not there to be ended
                    child.kill()
                _restrict(child.pid)
                try:
                    _, said = child.communicate(timeout=SECONDS)
                except BaseException:
                    child.kill()
                    raise
            if child.returncode:
                raise subprocess.SubprocessError((said.decode(errors="replace").splitlines() or ["it was ended"])[0])
            return patch.read_bytes()

    def _keep(self, key: Key, patch: Patch | None) -> None:
        with self._lock:
            self._made[key] = patch
            self._size += 0 if patch is None else len(patch.data)
            while self._size > MAX_BYTES or len(self._made) > MAX_KNOWN:
                _, gone = self._made.popitem(last=False)
                self._size -= 0 if gone is None else len(gone.data)

    def _save(self, key: Key, data: bytes) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(0o700, exist_ok=True)
            files.write_atomic(self._folder / f"{'-'.join(key)}{SUFFIX}", hashlib.sha256(data).digest() + data)
        except (OtasealError, OSError) as error:
            self._report(f"a patch cannot be kept, and is made again after a restart: {error}")

    def _load(self) -> None:
        """Read the patches in the folder; remove those that are damaged, and the oldest where there are too many."""
        found = [] if self._folder is None else list(self._folder.glob(f"*{SUFFIX}"))
        with contextlib.suppress(OSError):  # what cannot be read is made again
            for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True):
                data = path.read_bytes() if self._size < MAX_BYTES else b""
                if hashlib.sha256(data[32:]).digest() != data[:32]:
                    path.unlink()
                    continue
                with contextlib.suppress(OtasealError):  # of a later format
                    head = header.parse(data[32:])
                    self._keep((head.base_md5.hex(), head.target_sha256.hex()), Patch.of(data[32:], head.target_size))
        self._made = OrderedDict(reversed(self._made.items()))


def _restrict(process: int) -> None:
    """Let a process take no more than it needs, and after all others, where the system can do that and allows it."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        os.setpriority(os.PRIO_PROCESS, process, 10)
        resource.prlimit(process, resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))


def _key(pair: PatchPair) -> Key:
    return pair.base_md5, pair.target.blob
