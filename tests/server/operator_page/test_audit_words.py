"""Lines of the audit log in words, each as the store writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otaseal.server.operator_api import audit_page
from otaseal.server.operator_api.audit_page import Place, Wanted
from otaseal.server.operator_page.audit_words import details, in_words
from otaseal.store.files import FileDocuments

DEVICE = "mac:5C:CF:7F:F0:04:CB"
WAVES = [{"tags": ["ours"], "answers": 3}, {"percent": 100, "window": "02:00-04:00", "zone": "Europe/Berlin"}]


def row(event: str, **values: object) -> dict[str, Any]:
    own = {"at": "2030-01-31T12:00:00+00:00", "version": "1.4.0", "channel": "stable", "count": 1}
    return {**own, "event": event, "details": values}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (row("support", ends="2031-12-31"), "said until when the product is supported: ends 2031-12-31"),
        (row("halted", evidence={"failed": 3}), "halted 1.4.0 in stable: too many failed: evidence failed 3"),
        (row("label", pinned=True), "pinned: "),
        (row("label", pinned=False), "unpinned: "),
        (row("label", name="kitchen"), "labelled: name kitchen"),
        (row("tag-rule", tag="old"), "changed a rule for tags: tag old"),
        (row("tag-rule", tag="old", rule={"version": "0.*"}), "changed a rule for tags: tag old, rule version 0.*"),
        (row("wave", wave=2, waves=3), "began the next wave of 1.4.0 in stable: wave 2 of 3"),
        (row("point", plan=WAVES, percent=0), "pointed stable at 1.4.0: plan tag ours; all others, percent 0"),
        (row("point", plan=[{"later": 1}]), "pointed stable at 1.4.0: plan later 1"),
        (row("seen"), "saw 1 device for the first time on 2030-01-31: "),
        (row("what a later version writes"), "what a later version writes: "),
    ],
)
def test_a_line_says_what_was_done(line: dict[str, Any], words: str) -> None:
    assert f"{in_words(line)}: {details(line)}" == words


def test_what_was_said_of_one_device_is_not_said_of_its_neighbours(tmp_path: Path) -> None:
    documents = FileDocuments.create(tmp_path / "store")
    with documents.change() as change:
        for name, device in (("kitchen", DEVICE), ("hall", DEVICE[:-1] + "C")):
            change.append({"event": "label", "product": "blink", "device": device, "tag": ["ours"], "name": name})
    (found,) = audit_page.read(documents, lambda product: [], Wanted("blink"), Place(), 10).rows
    assert found["count"] == 2
    assert found["details"] == {"tag": ["ours"]}
