"""What a publisher says of a release beside its images: JSON documents that come with the upload and stay with it.

The first of a kind stays, as the release's record does: who sends the same release once more changes neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import InputError

SBOM, PROVENANCE, LOG = "sbom", "provenance", "log"
LIMITS: Mapping[str, int] = {SBOM: 4 * 1024 * 1024, PROVENANCE: 256 * 1024, LOG: 16 * 1024}
"""Bytes of a document of each kind."""


def check_kind(kind: str) -> str:
    """Return `kind` if there are such attachments; raises InputError."""
    if kind not in LIMITS:
        raise InputError(f"'{kind[:32]}' is no attachment of a release", f"there are: {', '.join(LIMITS)}")
    return kind


def parse(kind: str, data: bytes) -> dict[str, Any]:
    """Return the JSON object of an attachment; raises InputError."""
    if len(data) > LIMITS[check_kind(kind)]:
        raise InputError(f"the {kind} has {len(data)} bytes", f"{LIMITS[kind]} are the most")
    try:
        value = json.loads(data.decode())  # of bytes it would take UTF-16, which answers could not quote
    except (ValueError, RecursionError) as error:
        raise InputError(f"the {kind} is not JSON", "give it as otaseal has written it") from error
    if not isinstance(value, dict):
        raise InputError(f"the {kind} is not a JSON object", "give it as otaseal has written it")
    return value
