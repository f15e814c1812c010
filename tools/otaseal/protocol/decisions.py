"""How an update request is answered, for firmware by a table (F28-F30): a request in, a decision out.

The answer is the first row of the table that applies. A 200 carries only what this chip, as far as can be told, would
accept and start from: core and flash mode are known where the sketch MD5 is that of a known release. `sdk-version` is
no help: core 2.7.4 and 3.x send the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..chips.boot_image import FlashMode
from ..chips.esp8266 import sectors
from ..chips.esp8266_cores import core_by_name, signed_gzip_refusal
from ..chips.families import FAMILIES, FAMILY_OF
from ..chips.limits import MAX_IMAGE_SIZE
from ..release.records import Form, Release
from .answers import ANSWERED, Decision, Headers, PatchPair, file_headers, text_answer
from .request import UpdateRequest
from .running import Running, own_image, patch_pair

LOOP_LIMIT = 3
"""Deliveries of one release to one device, its MD5 unchanged, after which it gets no more of it."""
PATCHES = "patch1"
"""By this word among its capabilities a device says that it takes patches of format 1 (docs/delta-format.md)."""
VERSION_HEADER = "X-Otaseal-Version"
WAIT_HEADER = "X-Otaseal-Wait"
"""In how many seconds a device with the library asks again: when its window opens. Others know nothing of it."""

# What a chip can be switched to: never to more data lines than it is known to run with.
_MODES_BELOW = {
    FlashMode.QIO: frozenset(FlashMode),
    FlashMode.QOUT: frozenset({FlashMode.QOUT, FlashMode.DOUT}),
    FlashMode.DIO: frozenset({FlashMode.DIO, FlashMode.DOUT}),
    FlashMode.DOUT: frozenset({FlashMode.DOUT}),
}


@dataclass(frozen=True)
class State:
    """What the server knows beside the request: `known_images()` of the product, and of this device and release:

    `deliveries` in full since its sketch MD5 last changed; `held` while the rollout has not reached it; `missing` is
    what the URL names and does not exist ("product", "channel" or "release"); `unproven` where firmware is for devices
    that prove their names, and this one does not; `pinned` where an operator said that this one stays as it is;
    `behind` says why it is not to have the channel's release, and the one before in its place: one of `REASONS`;
    `closed` where it is held by its window.
    """

    known: Mapping[str, Running] = field(default_factory=dict)
    deliveries: int = 0
    held: bool = False
    missing: str = "release"
    unproven: bool = False
    pinned: bool = False
    behind: str = ""
    closed: bool = False

    @property
    def stays(self) -> bool:
        """Whether the device is to stay with what it runs."""
        return self.held or self.pinned


def patched(decision: Decision, patch: Form) -> Decision:
    """Return a decision that sends the form `patch` in place of the whole image."""
    version = next(header for header in decision.headers if header[0] == VERSION_HEADER)
    reason = f"{decision.reason}, as a patch"
    return replace(decision, headers=file_headers(patch, version), reason=reason, form=patch, blob=patch.blob)


def decide(request: UpdateRequest, release: Release | None, state: State) -> Decision:
    """Return the answer to `request` for the `release` that its URL and rollout lead to; never raises.

    The status is one that the device tells apart (F29): 200 to update, 304 for nothing new, 403 for an update that this
    chip would refuse or not survive, 404 for nothing there, 405 for anything but GET and HEAD.
    """
    case = _Case(request, release, state)
    row = next((row for row in _TABLE if row.applies(case)), None)
    decision = _delivery(case) if row is None else _answer(row, case)
    late = decision.code == "held" or (decision.code == "current" and not state.held)
    return replace(decision, answered=(state.behind if late else "") or ANSWERED.get(decision.code, ""))


@dataclass(frozen=True)
class _Case:
    """A request with what can be told from it; only rows behind that of the board may ask for `wanted`."""

    request: UpdateRequest
    release: Release | None
    state: State

    @cached_property
    def own(self) -> Release | None:
        """The image for this device, of a release with one for each board."""
        return None if self.release is None else own_image(self.request, self.release, self.state.known)

    @property
    def wanted(self) -> Release:
        assert self.own is not None
        return self.own

    @cached_property
    def running(self) -> Running | None:
        return self.state.known.get(self.request.runs or "")

    @property
    def own_version(self) -> str | None:
        return self.running.release.version if self.running else self.request.version

    @property
    def runs_wanted(self) -> bool:
        return self.request.runs in self.wanted.runs

    @property
    def told_by(self) -> str:
        """What told which release the device runs."""
        return "sketch MD5" if self.request.sketch_md5 else "version"

    @property
    def says_wanted(self) -> bool:
        """The version is the wanted one, and the MD5 does not tell that the sketch has a stale version in it."""
        return self.request.version == self.wanted.version and self.running is None

    @property
    def other_chip(self) -> str | None:
        """What the device is, where that is another family of chips or, by the firmware whose MD5 it says, chip."""
        if self.request.family in FAMILIES and self.request.family != FAMILY_OF[self.wanted.chip].name:
            return f"is of the {self.request.family} family"
        if self.running is None or self.request.sketch_md5 is None or self.running.release.chip == self.wanted.chip:
            return None
        return f"runs firmware for the {self.running.release.chip}"

    @property
    def chip_too_small(self) -> bool:
        return (self.request.chip_size or MAX_IMAGE_SIZE) < (self.wanted.flash_size or 0)

    @cached_property
    def objections(self) -> list[tuple[str | None, Form]]:
        """The forms in order of preference (gzip for a device: smaller), each with what speaks against it, or None."""
        first = "raw" if self.request.family == "plain" else "gzip"
        forms = sorted(self.wanted.forms, key=lambda form: form.kind != first)
        return [(_objection(form, self), form) for form in forms]

    @property
    def form(self) -> Form | None:
        return next((form for objection, form in self.objections if objection is None), None)

    @property
    def patch(self) -> PatchPair | None:
        """What a patch would be made of for this device."""
        md5, running = self.request.sketch_md5, self.running
        if md5 is None or running is None or PATCHES not in (self.request.capabilities or ()):
            return None
        fits = any(form.kind == "raw" and objection is None for objection, form in self.objections)
        return patch_pair(md5, running, self.wanted) if fits else None

    @property
    def objection(self) -> str | None:
        """Why no form can be sent, None if one can; what holds for the raw form says more."""
        return None if self.form else self.objections[-1][0]


def _objection(form: Form, case: _Case) -> str | None:
    """Return the code of the row that refuses `form` to this device, None if it would accept it and start from it."""
    if case.request.family == "plain":
        return None
    family, free = FAMILY_OF[case.wanted.chip], case.request.free_space
    if family.own_room:  # a device with the library has a core that starts from a gzip
        return "gzip_core" if form.kind == "gzip" and case.request.counter is None else None
    if family.slots:  # HTTPUpdate wants room for all of the file, the library writes the image alone (F88, F92)
        needed = form.size if case.request.counter is None else case.wanted.sketch_size
        return "space" if free is not None and needed > free else None
    image_mode, chip = case.wanted.flash_mode, case.running
    if form.kind == "gzip":
        if chip is None or signed_gzip_refusal(core_by_name(chip.release.core_release)) is not None or free is None:
            return "gzip_core"
        # Nothing is rewritten in a gzip (F7).
        if chip.flash_mode is None or image_mode not in _MODES_BELOW[chip.flash_mode]:
            return "flash_mode"
    elif image_mode is None or (chip is not None and image_mode != chip.flash_mode):
        return "flash_mode"
    if free is None:
        return None
    if free > MAX_IMAGE_SIZE:  # an unsigned difference below zero: the sketch reaches into the filesystem
        free = 0
    running_size = case.request.sketch_size or 0
    return None if form.fits(running_size, free + sectors(running_size)) else "space"


@dataclass(frozen=True)
class _Row:
    """One rule: when it applies, the status, its code and the sentence for logs and people."""

    applies: Callable[[_Case], bool]
    status: int
    code: str
    reason: Callable[[_Case], str]
    alarm: bool = False


_TABLE = (
    _Row(lambda c: c.request.method not in ("GET", "HEAD"), 405, "method", lambda c: "only GET and HEAD are answered"),
    _Row(lambda c: c.release is None, 404, "missing", lambda c: f"there is no such {c.state.missing}"),
    _Row(
        lambda c: c.request.mode == "filesystem",
        403,
        "filesystem",
        lambda c: "filesystems are not updated over the air: the old one is overwritten before it is verified",
    ),
    _Row(lambda c: c.own is None, 403, "board", lambda c: f"the release is for {_boards(c.release)}; {_asks(c)}"),
    _Row(
        lambda c: c.other_chip is not None,
        403,
        "platform",
        lambda c: f"the release is for the chip {c.wanted.chip}, the device {c.other_chip}",
    ),
    _Row(
        lambda c: c.request.mode == "version" and not (c.state.stays and c.own_version is None),
        200,
        "version",
        lambda c: f"the device asks which version there is, and has {c.own_version or 'none that it names'}",
    ),
    _Row(lambda c: c.runs_wanted, 304, "current", lambda c: f"the device runs {c.wanted.version}, by its {c.told_by}"),
    _Row(lambda c: c.says_wanted, 304, "current", lambda c: f"the device says it runs {c.wanted.version}"),
    _Row(
        lambda c: c.state.pinned,
        304,
        "pinned",
        lambda c: f"it is pinned: it stays with {c.own_version or 'what it runs'} until otaseal devices unpin",
    ),
    _Row(
        lambda c: c.state.closed,
        304,
        "window",
        lambda c: f"the rollout of {c.wanted.version} goes on when the window of its wave opens",
    ),
    _Row(lambda c: c.state.held, 304, "held", lambda c: f"the rollout of {c.wanted.version} has not reached it"),
    _Row(
        lambda c: c.state.unproven,
        403,
        "proof",
        lambda c: (
            "this server gives firmware to devices that prove their names, by a client certificate or by the key that "
            "the OtaSeal library makes; a new key waits for otaseal devices accept"
        ),
    ),
    _Row(
        lambda c: c.state.deliveries >= LOOP_LIMIT,
        304,
        "loop",
        lambda c: f"{c.wanted.version} was delivered {c.state.deliveries} times and its MD5 did not change",
        alarm=True,
    ),
    _Row(
        lambda c: c.chip_too_small,
        403,
        "chip_size",
        lambda c: f"the image is for {c.wanted.flash_size} bytes of flash, the chip has {c.request.chip_size}",
    ),
    _Row(
        lambda c: c.objection == "flash_mode",
        403,
        "flash_mode",
        lambda c: (
            f"the image is for flash mode {_mode(c.wanted.flash_mode)}, the chip runs in "
            f"{_mode(c.running.flash_mode if c.running else None)}"
        ),
    ),
    _Row(
        lambda c: c.objection == "gzip_core",
        403,
        "gzip_core",
        lambda c: "the release is gzip only, and the device's core is not known to start from one",
    ),
    _Row(
        lambda c: c.objection == "space",
        403,
        "space",
        lambda c: f"{min(f.size for f in c.wanted.forms)} bytes do not fit {c.request.free_space} of free space",
    ),
)


def _answer(row: _Row, case: _Case) -> Decision:
    reason = row.reason(case)
    if row.code == "version":
        version = case.own_version if case.state.stays and case.own_version else case.wanted.version
        headers: Headers = (("X-Version", version.encode("ascii", "replace").decode()),)
        return replace(text_answer(row.status, row.code, version, headers), reason=reason)
    allow: Headers = (("Allow", "GET, HEAD"),) if row.code == "method" else ()
    return replace(text_answer(row.status, row.code, reason, allow), alarm=row.alarm)


def _delivery(case: _Case) -> Decision:
    form = case.form
    assert form is not None
    headers = file_headers(form, (VERSION_HEADER, case.wanted.version))
    mode = f", chip in {_mode(case.running.flash_mode)}" if case.running else ", chip unknown"
    mode = "" if case.wanted.flash_mode is None else mode
    reason = f"{case.own_version or 'unknown'} to {case.wanted.version}, {form.kind}{mode}"
    return Decision(200, headers, "update", reason, form=form, blob=form.blob, patch=case.patch)


def _boards(release: Release | None) -> str:
    images = () if release is None else release.images
    return ", ".join(f"{image.board or image.board_key} ({image.chip})" for image in images)


def _asks(case: _Case) -> str:
    """Return who asks, where there is no image for it, or nothing tells which."""
    if case.running is not None and case.running.release.board_key is not None:
        return f"the device runs {case.own_version} of the board {case.running.release.board or 'with another id'}"
    if case.request.board is not None:
        return f"the device says that its board is {case.request.board}"
    return "nothing tells which of them this device is: the OtaSeal library would say so"


def _mode(mode: FlashMode | None) -> str:
    return "unknown" if mode is None else mode.name
