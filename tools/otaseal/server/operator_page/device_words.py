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


class Moment(NamedTuple):
    """Something that became of a device: when, in seconds since 1970, in words; `kind` is a badge's."""

    when: float
    words: str
    kind: str


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
