"""What a release is for, shown to who gives it to a channel before that is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..release.notes import Notes, from_json, lines
from .client import Client, product_path
from .deployment import Admitted


class Purpose(NamedTuple):
    """What is said of a release."""

    version: str
    notes: Notes

    def lines(self) -> list[str]:
        """Return it for a terminal, nothing where nothing is said."""
        return lines(f"release  {self.version}", self.notes) if any(self.notes) else []

    def as_json(self) -> dict[str, str]:
        """Return it as `otaseal releases --json` has it."""
        return self.notes._asdict()


def of_release(connected: Client, product: str, source: str | None, version: str | None) -> Purpose:
    """Return what is said of a `version`, or of that which the channel `source` gives out; raises as `Client.get`.

    Nothing is said of one that does not exist: that is refused when it is promoted.
    """
    listed = connected.get(product_path(product, "releases"))
    chosen = version or listed["channels"].get(source, {}).get("version", "")
    return _purpose(chosen, listed, {})


def of_deployment(connected: Client, admitted: Admitted, said: Mapping[str, str]) -> Purpose:
    """Return what is `said` of a deployment, and was of the release where a channel has it; raises as `Client.get`."""
    product, version = admitted.origin.product, admitted.origin.version
    is_there = any(channel["version"] == version for channel in admitted.state["channels"].values())
    listed = connected.get(product_path(product, "releases")) if is_there else {}
    return _purpose(version, listed, said)


def _purpose(version: str, listed: Mapping[str, Any], said: Mapping[str, str]) -> Purpose:
    return Purpose(version, from_json({**listed.get("notes", {}).get(version, {}), **said}))
