"""What a device says of an update that it had on trial, and that gave way to the firmware before it (ADR 0032)."""

from __future__ import annotations

from collections.abc import Mapping

GAVE_WAY: Mapping[int, str] = {
    70: "the server did not answer it in time",
    71: "it restarted too often, or never came so far as to count",
}
"""Why, by the number of the error that the device tells (firmware/OtaSeal/src/otaseal/errors.h)."""
