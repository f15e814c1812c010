"""Devices as lines of text: one line each in a list, and all that is known of one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from ..errors import counted, duration
from ..release.device_errors import POSTPONED, in_words
from ..release.evidence import Evidence, Proof, is_proven
from ..release.trial import GAVE_WAY

MEANINGS = {
    "seen": "",
    "offered": "offered {offered}, not downloaded yet",
    "updating": "has {offered}, to come back with it",
    "updated": "updated to {offered}",
    "postponed": "",
    "stuck": "STUCK: came back without {offered}, delivered {times}",
    "looping": "LOOPING: {offered} was delivered {times} in vain",
}
"""What a device's state is in words."""
PROOFS = {
    Proof.CERTIFICATE.value: "by certificate",
    Proof.ENROLLED.value: "by an enrolled key",
    Proof.AGREED.value: "by an agreed key",
    Proof.REFUSED.value: "says so without proof",
}
"""How a device proves its name, in words; an older server says nothing of it."""
EVENTS = {
    "first": "seen for the first time, runs {version}",
    "runs": "runs {version}",
    "offered": "offered {version}",
    "took": "took {version}",
    "back": "came back with {version}",
    "failed": "FAILED to come back with {version}",
    "error": "said error {detail}",
    "answered": "its polls are answered: {detail}",
    "channel": "asks for channel {detail}",
}
"""What became of a device, in words."""


def line(device: Mapping[str, Any], *, with_channel: bool) -> str:
    """Return one line on a device, as the server lists it; an older server says less."""
    ago = words_of(time.time() - device["last_seen"])
    name = f" ({device['name']})" if device.get("name") else ""
    text = f"{device['device']}{name}  runs {device['running'] or 'unknown'}  seen {ago} ago"
    if device.get("late"):
        text += "  LATE"
    if with_channel:
        text += f"  in {device['channel']}"
    if device["offered"] and (meaning := _meaning(device)):
        text += f"  {meaning}"
    if device["state"] == "looping":  # ADR 0019
        proven = is_proven(device["device"], device.get("enrolled"))
        text += ", and is not given any more" if proven else ", and is given once an hour"
    if device.get("evidence") in (Evidence.PROVEN.value, Evidence.NEWCOMER.value):
        text += f"  {device['evidence']}"
    if device.get("proof") in PROOFS:
        text += f"  {PROOFS[device['proof']]}"
    if device.get("pinned"):
        text += "  pinned"
    if device.get("tags"):
        text += f"  {tagged(device['tags'])}"
    if device.get("other_mac"):
        text += f"  CLONED: {device['other_mac']} showed its certificate or key, too"
    if device["error"] in GAVE_WAY:
        text += f"  its last update gave way to what ran before: {GAVE_WAY[device['error']]}"
    elif device["error"] in POSTPONED:
        text += f"  puts off its update: {POSTPONED[device['error']]}"
    elif device["error"]:
        text += f"  its last update ended with error {device['error']}"
    return text


def details(device: Mapping[str, Any]) -> Iterator[str]:
    """Yield what else is known of a device: what operators say, what its chip tells, how often it asks, and why not."""
    if device.get("note"):
        yield from (f"note  {part}" for part in device["note"].splitlines())
    chip = [device.get("board_name"), device.get("chip"), device.get("core") and f"core {device['core']}"]
    if told := [part for part in chip if part]:
        yield f"chip  {', '.join(told)}"
    sizes = {"sketch": "sketch_size", "free for an update": "free_space", "flash": "chip_size"}
    given = [f"{word} {device[key]:,} bytes" for word, key in sizes.items() if device.get(key) is not None]
    if given:
        yield f"room  {', '.join(given)}"
    if device.get("pace"):
        due = int(device["next_poll"] - time.time())
        when = f"in {words_of(due)}" if due > 0 else f"{words_of(-due)} ago"
        yield f"asks  every {words_of(device['pace'])}, next expected {when}"
    if device.get("answered"):
        yield f"told  {device['answered']}"


def event(happened: Mapping[str, Any]) -> str:
    """Return one line on what became of a device."""
    when = datetime.fromtimestamp(happened["at"], timezone.utc)
    version = happened["version"] or "what it does not name"
    words = EVENTS.get(happened["event"], happened["event"]).format(version=version, detail=happened["detail"])
    if happened["event"] in ("failed", "error") and happened["detail"]:
        words = f"{words}: {in_words(int(happened['detail']))}"
    return f"{when:%Y-%m-%d %H:%M:%S}Z  {words}"


def tagged(tags: Iterable[str]) -> str:
    """Return tags as the operators' page shows them."""
    return " ".join(f"#{tag}" for tag in tags)


def words_of(seconds: float) -> str:
    """Return so many seconds in words, none below 0, in the largest unit of which there are two."""
    return duration(max(0.0, seconds), 2)


def _meaning(device: Mapping[str, Any]) -> str:
    if device["state"] == "updated" and device["running"] == device["offered"]:
        return "updated"
    times = counted(device["deliveries"], "time")
    return MEANINGS[device["state"]].format(offered=device["offered"], times=times)
