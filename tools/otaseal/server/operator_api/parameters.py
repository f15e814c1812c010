"""What may stand in paths and queries of the operators' interface: as JSON schemas, and as handlers check it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...names import NAME, TAG
from ...protocol.answers import REASONS
from ...release import attachments
from ...release.record_fields import VERSION
from ...release.waves import MAX_PATIENCE
from ...store.device_rows import MAX_CLAIM, STATES
from ...store.labels import MAX_TAGS
from ...store.proof_keys import FINGERPRINT
from .rollout_options import WAVES_TEXT
from .schema_parts import PERCENT, Schema, pattern

BOARD = re.compile("[0-9A-Za-z._-]{1,64}")
SINCE = "[0-9]{1,12}([.][0-9]{1,9})?"
MAX_TEXT = 64
MAX_DEVICES = 500
"""Devices that one answer lists."""
MAX_DEVICE = MAX_CLAIM
"""Characters of a device's name."""
DEVICE_NAME = "(mac:)?[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"
"""Of a device that may have a key."""
PROOF_KEY = "[0-9A-Fa-f]{64}"
KEY_FINGERPRINT = f"[0-9a-f]{{{FINGERPRINT}}}"
LOGGED_SINCE = "[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{0,12}([+]00:00|Z)?)?"
"""A time as the audit log has it, or the beginning of one."""
REHEARSALS = ("passed", "partly", "skipped")

TAG_NAME: Schema = pattern(TAG.pattern)
FLAG: Schema = {"type": "string", "enum": ["0", "1"]}
LIMITS: Mapping[str, Schema] = {
    "max_failed": PERCENT,
    "patience": {"type": "integer", "minimum": 1, "maximum": MAX_PATIENCE, "description": "minutes"},
}

QUERY: Mapping[str, Schema] = {
    "product": pattern(NAME.pattern, description="this one, and what is of none; without it all are meant"),
    "channel": pattern(NAME.pattern, default="stable"),
    "percent": {**PERCENT, "default": 100},
    **LIMITS,
    "waves": pattern(WAVES_TEXT, description="the waves of a plan, as JSON"),
    "created": pattern("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", examples=["2030-01-31T12:00:00Z"]),
    "board": pattern("[0-9A-Za-z._,-]{0,1040}", description="the name of the board, or of each, separated by commas"),
    "board_id": pattern("[0-9a-f]{16}"),
    "commit": pattern("([0-9a-f]{7,64})?"),
    "dirty": {**FLAG, "default": "0"},
    "downgrade": {**FLAG, "default": "0"},
    "rehearsal": {"type": "string", "enum": list(REHEARSALS)},
    "raise_counter": {**FLAG, "default": "0"},
    "strand_devices": {**FLAG, "default": "0"},
    "even_if_run": {**FLAG, "default": "0"},
    "by": {"type": "string", "maxLength": 1024, "description": "who, as a line has it: token:ci"},
    "event": {"type": "string", "maxLength": 64, "examples": ["publish", "point", "rollback", "halted"]},
    "since": pattern(LOGGED_SINCE, examples=["2030-01-31"]),
    "state": {"type": "string", "enum": list(STATES)},
    "version": pattern(VERSION.pattern, description="what devices run"),
    "tag": pattern(
        f"{TAG.pattern}(,{TAG.pattern}){{0,{MAX_TAGS - 1}}}", description="a tag, or several with commas between: all"
    ),
    "answered": {"type": "string", "enum": list(REASONS), "description": "why their polls are answered as they are"},
    "text": {"type": "string", "maxLength": MAX_TEXT, "description": "in name, note, device or MAC address"},
    "late": {**FLAG, "description": "1 for those that should have asked long ago, 0 for the others"},
    "no_room": {**FLAG, "description": "with too little free space for the release of their channel, or not"},
    "pinned": FLAG,
    "after": {"type": "string", "maxLength": MAX_DEVICE, "description": "the `next` of the page before"},
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_DEVICES, "default": MAX_DEVICES},
}
OF_DEVICES: Mapping[str, Schema] = {
    "channel": pattern(NAME.pattern),
    "board": pattern(BOARD.pattern, description="the name of a board, or its id"),
    "since": pattern(SINCE, description="with news since then, in seconds since 1970"),
}
"""In place of parameters in QUERY, where devices are listed; without a channel all are meant."""
IN_PATH: Mapping[str, Schema] = {
    "product": pattern(NAME.pattern),
    "channel": pattern(NAME.pattern),
    "version": pattern(VERSION.pattern),
    "device": pattern(DEVICE_NAME),
    "kind": {"type": "string", "enum": list(attachments.LIMITS)},
}
