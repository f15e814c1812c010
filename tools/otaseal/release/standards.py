"""What two standards ask of updates, in our words, what otaseal does for it, and where that is seen. No legal claim.

ETSI EN 303 645 V2.1.1, clause 5.3, and EN 18031-1:2024, mechanism SUM. What is left to the
product's maker stands there, too: no tool fulfils a standard.
"""

from __future__ import annotations

from typing import NamedTuple

ETSI, RED = "EN 303 645", "EN 18031-1"


class Point(NamedTuple):
    """One requirement: of which standard, its number, what it asks, what there is for it, and where to look."""

    standard: str
    number: str
    asks: str
    does: str
    seen: str


POINTS = (
    Point(ETSI, "5.3-1", "all software can be updated securely",
          "firmware, certificates and keys are updated over the air, each signed", "otaseal rehearse"),
    Point(ETSI, "5.3-2", "there is a mechanism to install updates securely",
          "devices verify the signature before they install", "otaseal verify"),
    Point(ETSI, "5.3-3", "updates are simple to apply",
          "they install by themselves; the sketch may ask first", "docs: the device's library"),
    Point(ETSI, "5.3-4", "updates are automatic",
          "devices poll, and take what a rollout gives them", "otaseal devices"),
    Point(ETSI, "5.3-5", "the device looks for updates after its start, and then regularly",
          "the library polls after begin(), and at its interval", "otaseal devices show"),
    Point(ETSI, "5.3-6", "automatic updates are on at first, and can be switched off or put off",
          "the library's callback, window and opt-out; the maker gives the user a way to them",
          "docs: the device's library"),
    Point(ETSI, "5.3-7", "cryptography is state of the art",
          "RSA-2048 or longer with SHA-256, TLS 1.2 with ECDHE, P-256", "otaseal doctor"),
    Point(ETSI, "5.3-8", "security updates are timely",
          "how fast the last one reached the fleet is measured; making it is up to the maker", "this report"),
    Point(ETSI, "5.3-9", "the device verifies authenticity and integrity of updates",
          "signature over every byte, product, board and security counter in it", "otaseal inspect"),
    Point(ETSI, "5.3-10", "updates over a network are verified by a trust relationship",
          "the key is compiled in; TLS is verified against the maker's own authorities", "otaseal pki check"),
    Point(ETSI, "5.3-11", "users are told of security updates, and of the risk",
          "severity, notes and advisory of a release go to page, MQTT and device; the maker shows them",
          "otaseal releases"),
    Point(ETSI, "5.3-12", "users are told when an update interrupts the device",
          "the callback is called before an update begins", "docs: the device's library"),
    Point(ETSI, "5.3-13", "the support period is published",
          "kept for each product, and in this report; publishing it is up to the maker", "otaseal report"),
    Point(ETSI, "5.3-14, 5.3-15", "what cannot be updated is explained, isolated or replaced",
          "not needed, since every chip here can be updated", ""),
    Point(ETSI, "5.3-16", "the model can be recognised",
          "product and board are in the signed manifest; the label is up to the maker", "otaseal inspect"),
    Point(RED, "SUM-1", "there is a mechanism to update software that matters for security",
          "as 5.3-1", "otaseal rehearse"),
    Point(RED, "SUM-2", "updates are installed only if they are authentic and whole",
          "as 5.3-9, 5.3-10", "otaseal verify"),
    Point(RED, "SUM-3", "updates are automatic, or need one consent", "as 5.3-4, 5.3-6", "otaseal rollout"),
)  # fmt: skip
