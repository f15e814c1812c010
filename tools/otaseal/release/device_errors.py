"""What the OtaSeal library reports to its server (X-Otaseal-Error), in words for who reads a list of devices.

The numbers are those of firmware/OtaSeal/src/otaseal/errors.h; they never change their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

from .trial import GAVE_WAY

POSTPONED: Mapping[int, str] = {
    80: "its user said later",
    81: "it is in use",
    82: "its power is low",
    83: "it is not the hour for it",
    84: "updates are switched off",
}
"""Why an update is put off (ADR 0038), which is no failure; numbers without gaps."""
ERRORS: Mapping[int, str] = {
    1: "its server, port or product is missing or too long, or the product is not that of the build",
    2: "its LittleFS does not mount",
    3: "it has no /certs.ar, or none of its certificates can be used",
    4: "its /certs.ar is damaged",
    5: "its client certificate or key cannot be read",
    10: "too little memory for a TLS connection",
    11: "no answer from the server, or one that ended in its headers",
    12: "TLS failed",
    13: "the server's certificate is for another name",
    14: "a certificate is not valid at the time of its clock",
    15: "it does not trust the authority of the server's certificate",
    16: "another update was running",
    20: "an answer of the server made no sense to it",
    21: "the server had nothing there (404)",
    22: "the server refused (403)",
    23: "the server wanted other credentials (401)",
    24: "an answer had no length",
    25: "the download ended too early, or stood still",
    26: "the image is larger than its free space",
    27: "what came is no firmware for its chip",
    28: "its flash could not be written or read",
    30: "the image is not signed by a key that it knows",
    31: "the image has no manifest",
    32: "the image has a manifest that its firmware is too old for",
    33: "what came is certificates, or firmware in their place",
    34: "the image is for another product",
    35: "the image is for another board",
    36: "the image has a lower security counter than what it runs",
    37: "it tried this release three times",
    40: "the certificates have a wrong size",
    41: "the certificates cannot be used",
    42: "the certificates are older than those in use",
    43: "with the certificates it would not trust the server any more",
    44: "the certificates could not be written",
    50: "the server did not take its claim code",
    51: "the certificate that came is not for its key",
    60: "the patch was made for another sketch",
    61: "the patch is damaged, or of a format that its firmware is too old for",
    **{number: f"the release was on trial and gave way: {why}" for number, why in GAVE_WAY.items()},
    **{number: f"it puts its update off: {why}" for number, why in POSTPONED.items()},
}


def in_words(error: int | None) -> str:
    """Return what a device's last error was, "" where it said none."""
    if not error:
        return ""
    return ERRORS.get(error, f"error {error}, which this otaseal does not know")
