"""One device, as operators look at it: what is known of it and of its key, what others said in its name; for API and
page alike. Blocks, for threads.
"""

from __future__ import annotations

import time
from typing import Any

from ...release.evidence import UNPROVEN_PREFIX
from ...store.labels import NO_LABEL
from ...store.proof_key_rows import ProofKey, WaitingKey
from ...store.proof_keys import fingerprint
from ...store.selection import names_of
from . import device_changes, device_list, label_changes
from .fleet import Fleet


def show(fleet: Fleet, product: str, device: str) -> dict[str, Any]:
    """Return a device, by its name as `labels.chip_of` has it, as JSON; raises NotFoundError."""
    rows, now = fleet.named(product, names_of(device)), time.time()
    own = [row.device.device for row in rows if not row.device.device.startswith(UNPROVEN_PREFIX)]
    keys, label = fleet.keys, fleet.labels.get(product, device)
    key, waiting = keys.get(product, device), keys.waiting(product, device)
    if not rows and key is None and label == NO_LABEL:
        raise device_changes.unseen(product, device)
    return {
        "product": product,
        "device": device,
        "label": label_changes.as_json(label),
        "key": None if key is None else _shown(key, accepted=keys.accepts(key)),
        "waiting": None if waiting is None else _shown(waiting, accepted=False),
        "rows": [device_list.as_json(fleet, row, now) for row in rows],
        "history": device_list.history(fleet, product, own),
    }


def _shown(key: ProofKey | WaitingKey, *, accepted: bool) -> dict[str, Any]:
    """Return what people may see of a key."""
    if isinstance(key, WaitingKey):
        how, since, address = "shown in place of the known one", key.shown, key.address
    elif key.enrolled is not None:
        how, since, address = "enrolled", key.enrolled, ""
    else:
        how, since, address = "agreed at first contact", key.agreed or 0.0, ""
    return {"key": fingerprint(key.key), "how": how, "since": since, "accepted": accepted, "address": address}
