"""What became of a device, and why its polls are answered as they are, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ...protocol import answers
from ...release.device_errors import in_words

REASONS: Mapping[str, str] = {
    "offered": "it is offered the release",
    "current": "it has what it is to have",
    "not-included": "its turn has not come",
    "outside-window": "the window of its wave is shut",
    "pinned": "it is pinned to what it runs",
    "looping": "it took the release in vain too often",
    "no-room": "it has too little free space for the release",
    "small-chip": "its chip is too small for the release",
    "flash-mode": "the release has another flash mode than it",
    "gzip-core": "its core takes no compressed image",
    "other-board": "the release has no image for its board",
    "other-chip": "the release has no image for its chip",
    "unproven": "it does not prove its name",
    "filesystem": "it asked for a filesystem, and there is none",
    answers.HALTED: "the rollout was halted",
    answers.PAUSED: "the rollout is paused",
}
"""By `protocol.answers.REASONS`."""
STATES: Mapping[str, tuple[str, str]] = {
    "seen": ("Not offered", "idle"),
    "offered": ("Offered", "busy"),
    "updating": ("Updating", "busy"),
    "updated": ("Updated", "good"),
    "postponed": ("Put off", "idle"),
    "stuck": ("Failed", "bad"),
    "looping": ("Gave up", "bad"),
}
"""A device's state as a badge: its words and its kind; that of one that is offered nothing says why, if it can."""
CURRENT, WAITS, UNFIT = ("Up to date", "good"), ("Waits", "idle"), ("Does not fit", "warn")
_NOT_OFFERED: Mapping[str, tuple[str, str]] = {
    "current": CURRENT,
    **dict.fromkeys(("not-included", "outside-window", answers.HALTED, answers.PAUSED), WAITS),
    **dict.fromkeys(("no-room", "small-chip", "flash-mode", "gzip-core", "other-board", "other-chip"), UNFIT),
}
_SILENT = (
    "It told no error: a core's own updater tells the serial console alone. In the project's folder a rehearsal from "
    "the firmware that it runs says why:"
)
_REHEARSE = "otaseal rehearse --from OLD.bin"
ADVICE: Mapping[str, str] = {
    "no-room": "Compress the image (custom_otaseal_compress = gzip), choose a smaller filesystem "
    "(board_build.ldscript), or make the firmware smaller.",
    "small-chip": "Build for the flash size of the device: board_build.ldscript.",
    "flash-mode": "Build with the flash mode that the device runs in (board_build.flash_mode), or publish a gzip.",
    "gzip-core": "Publish the raw image, too: custom_otaseal_compress = no.",
    "other-board": "Publish a release with an image for its board: custom_otaseal_environments names all of them.",
    "other-chip": "Publish a release with an image for its chip, or let it ask for another product.",
}
"""What to do for a device that is offered nothing, by why."""


class Moment(NamedTuple):
    """Something that became of a device: when, in seconds since 1970, in words; `kind` is a badge's."""

    when: float
    words: str
    kind: str


def badge(device: Mapping[str, Any]) -> tuple[str, str]:
    """Return words and kind of the badge of a device, as `device_list` has it."""
    state = device["state"]
    return _NOT_OFFERED.get(device["answered"], STATES[state]) if state == "seen" else STATES[state]


def advice(device: Mapping[str, Any]) -> tuple[str, str]:
    """Return what to do for a device in words, and a command for it; "" for what there is not."""
    if device["state"] in ("stuck", "looping") and not device["error"]:
        return _SILENT, _REHEARSE
    return (ADVICE.get(device["answered"], ""), "") if device["state"] == "seen" else ("", "")


_WORDS: Mapping[str, tuple[str, str]] = {
    "first": ("seen for the first time, with {version}", "idle"),
    "runs": ("says that it runs {version}", "idle"),
    "offered": ("offered {version}", "busy"),
    "took": ("downloaded {version}", "busy"),
    "back": ("came back with {version}", "good"),
    "failed": ("came back without {version}{error}", "bad"),
    "error": ("tells an error{error}", "warn"),
    "answered": ("answer changed: {reason}", "idle"),
    "channel": ("asks for channel {detail}", "idle"),
}


def moment(event: Mapping[str, Any]) -> Moment:
    """Return an event of `device_list.history` in words."""
    detail = event["detail"]
    error = in_words(int(detail)) if detail.isdigit() else ""
    words, kind = _WORDS.get(event["event"], (event["event"], "idle"))
    said = {
        "version": event["version"] or "something unknown",
        "detail": detail,
        "error": f": {error}" if error else "",
        "reason": REASONS.get(detail, detail),
    }
    return Moment(event["at"], words.format(**said), kind)
