"""What has changed in the store, whoever changed it: this server, another one, or a command beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import OtasealError
from ..catalog import Catalog
from ..changes import Change, Changes


@dataclass
class StoreWatch:
    """Compares channels and releases with what they were, and tells listeners; `look` is for threads."""

    catalog: Catalog
    changes: Changes
    _before: dict[Change, object] | None = field(default=None, repr=False)

    def look(self) -> None:
        """Tell what has changed since the last call; nothing at the first."""
        now: dict[Change, object] = {}
        with contextlib.suppress(OtasealError):  # a store that cannot be read is reported by who checks it
            now = dict(self._states())
            before, self._before = self._before, now
            for change in {} if before is None else before.keys() | now.keys():
                if before is not None and before.get(change) != now.get(change):
                    self.changes.tell(*change)

    def _states(self) -> Iterator[tuple[Change, object]]:
        store = self.catalog.store
        for product in store.products():
            yield Change("releases", product), store.releases(product)
            for channel, state in self.catalog.channels(product).items():
                yield Change("channel", product, channel), state
