"""Which devices have too little free space for the release of their channel, whether they have asked for it or not.

Asked of the table that answers devices (`protocol.decisions`), once for all that say the same of their flash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...chips.families import FAMILIES
from ...protocol.decisions import State, decide
from ...protocol.request import UpdateRequest
from ...protocol.running import Running
from ...store.device_table import Flash

if TYPE_CHECKING:
    from ...release.records import Release
    from ..catalog import Catalog

MAX_KINDS = 5000
"""Kinds of flash that are asked about; of more, which somebody has invented, those behind the others are not."""
_MD5 = re.compile("[0-9a-f]{32}")


@dataclass
class _Verdicts:
    """What was found for a channel, as long as it points at the same release, and the same ones are known."""

    release: Release | None
    known: Mapping[str, Running]
    short: dict[Flash, bool] = field(default_factory=dict)


@dataclass
class Room:
    """Asks, and remembers what was found."""

    catalog: Catalog
    _verdicts: dict[tuple[str, str], _Verdicts] = field(default_factory=dict, repr=False)

    def short(self, product: str, kinds: Iterable[Flash]) -> set[Flash]:
        """Return the kinds of flash of a product's devices that have no room for the release of their channel."""
        asked = sorted(kinds, key=lambda kind: kind.text)[:MAX_KINDS]
        return {kind for kind in asked if self._is_short(product, kind)}

    def _is_short(self, product: str, kind: Flash) -> bool:
        release, known = self.catalog.current(product, kind.channel), self.catalog.known(product)
        found = self._verdicts.get((product, kind.channel))
        if found is None or found.release is not release or found.known is not known or len(found.short) > MAX_KINDS:
            found = self._verdicts[product, kind.channel] = _Verdicts(release, known)
        if kind not in found.short:
            found.short[kind] = decide(_request(kind), release, State(known)).code == "space"
        return found.short[kind]


def _request(kind: Flash) -> UpdateRequest:
    """Return what such a device asks."""
    return UpdateRequest(
        "GET",
        family=kind.chip if kind.chip in FAMILIES else "plain",
        version=kind.version or None,
        sketch_md5=kind.md5 if _MD5.fullmatch(kind.md5) else None,
        sketch_size=kind.sketch_size,
        free_space=kind.free_space,
        chip_size=kind.chip_size,
        counter=kind.counter,
        board=kind.board or None,
    )
