"""The chips of the ESP32's family, by the id in the header of an image, at offset 12 (F47)."""

from __future__ import annotations

from collections.abc import Mapping

CHIPS: Mapping[int, str] = {
    0: "ESP32",
    2: "ESP32-S2",
    5: "ESP32-C3",
    9: "ESP32-S3",
    12: "ESP32-C2",
    13: "ESP32-C6",
    16: "ESP32-H2",
    18: "ESP32-P4",
    20: "ESP32-C61",
    23: "ESP32-C5",
    25: "ESP32-H21",
    28: "ESP32-H4",
    31: "ESP32-E22",
    32: "ESP32-S31",
}
"""The id in the header, at offset 12, to the chip's name."""
