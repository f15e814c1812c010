"""The kept vectors: what each patch makes, or the cause for which it is refused, whoever decodes it.

Other decoders read `vectors.json`, too. A row is never changed while format 1 is read: this writes only what is new.

    PYTHONPATH=tools:tests python tests/delta/test_vectors.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otaseal.delta import applying, errors, header, layout, making
from otaseal.delta.alignment import Copy
from otaseal.delta.instructions import RISCV, THUMB
from otaseal.delta.making import Stream
from otaseal.delta.relocation import AddressMap, Code, Shift
from otaseal.errors import LaterFormatError
from support import patches

FILE = Path(__file__).with_name("vectors.json")
CAUSES = {name: getattr(errors, name) for name in vars(errors) if name.endswith("Error")} | {
    "LaterFormatError": LaterFormatError
}
KEPT = json.loads(FILE.read_text()) if FILE.exists() else []


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row["name"])
def test_a_vector(row: dict[str, Any]) -> None:
    base, patch = bytes.fromhex(row["base"]), bytes.fromhex(row["patch"])
    if "error" in row:
        with pytest.raises(CAUSES[row["error"]]) as refused:
            applying.apply(base, patch)
        assert type(refused.value) is CAUSES[row["error"]]
    else:
        assert applying.apply(base, patch).hex() == row["target"]


def test_every_cause_has_a_vector() -> None:
    causes = {row["error"] for row in KEPT if "error" in row}
    assert causes == {name for name, error in CAUSES.items() if error not in (errors.PatchError, errors.InputError)}


def test_the_page_shows_one_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "delta-format.md").read_text()
    shown = next(row for row in KEPT if row["name"] == "a byte differs, one is new")
    assert shown["patch"] in "".join(page.split())


def _made() -> list[dict[str, str]]:
    """Return the rows: each way to code something, and each cause."""
    base, target = b"a base of 24 bytes, all ", b"a base of 25 bytes, all!!"
    rows = [("a byte differs, one is new", base, target, making.make(base, target))]
    functions = patches.program(12)
    old = patches.linked(functions)
    new = patches.linked([*functions[:5], functions[0], *functions[5:]])
    cut = 5 * functions[0].size
    copies = [Copy(0, 0, cut, functions[0].size), Copy(cut, cut + functions[0].size, len(old) - cut, 0)]
    shifts = AddressMap((Shift(patches.AT, 0), Shift(patches.AT + cut, functions[0].size)))
    code = (Code(0, len(old), patches.AT, 0),)
    for name, some, mapped in (
        ("code has moved", code, shifts),
        ("words have moved", (), shifts),
        ("a map that is wrong everywhere", code, AddressMap((Shift(patches.AT, 1), Shift(patches.AT + 40, -7)))),
        ("no map", (), AddressMap()),
    ):
        stream = Stream(old, new, some, mapped).coded(copies)
        head = patches.patch(old, new, [], shifts=len(mapped.shifts), code=len(some))[: header.SIZE]
        rows.append((name, old, new, head + stream))
    more = [*functions[:5], functions[0], *functions[5:]]
    for kind, known, linked, at in (
        ("Thumb", THUMB, patches.thumb, 0x1000_3000),
        ("RISC-V", RISCV, patches.riscv, 0x4200_0020),
    ):
        old, new, cut = linked(functions, at), linked(more, at), len(linked(functions[:5], at))
        size = len(new) - len(old)
        copies = [Copy(0, 0, cut, size), Copy(cut, cut + size, len(old) - cut, 0)]
        moves = AddressMap((Shift(at, 0), Shift(at + cut, size)))
        wrong = AddressMap((Shift(at, 2), Shift(at + 40, -6)))
        for name, mapped in (
            (f"{kind} code has moved", moves),
            (f"a map of {kind} code that is wrong everywhere", wrong),
        ):
            stream = Stream(old, new, (Code(0, len(old), at, 0, known),), mapped).coded(copies)
            head = patches.patch(old, new, [], shifts=2, code=1, instructions=known.number)[: header.SIZE]
            rows.append((name, old, new, head + stream))
    assert layout.of(old) == layout.Layout()
    refused = _refused(base, target, rows[0][3])
    return [
        {"name": name, "base": old.hex(), "patch": patch.hex(), "target": new.hex()} for name, old, new, patch in rows
    ] + [{"name": name, "base": old.hex(), "patch": patch.hex(), "error": error} for name, old, patch, error in refused]


def _refused(base: bytes, target: bytes, patch: bytes) -> list[tuple[str, bytes, bytes, str]]:
    return [
        ("another file", base, b"\xe9" + patch[1:], "DamagedPatchError"),
        ("a later format", base, patch[:8] + b"\2" + patch[9:], "LaterFormatError"),
        ("cut short", base, patch[:-1], "PatchTooShortError"),
        ("trailing byte", base, patch + b"\0", "TrailingBytesError"),
        ("another base", base[::-1], patch, "WrongBaseError"),
        ("other bytes than announced", base, patch[:36] + bytes(32) + patch[68:], "WrongTargetError"),
        ("copies behind the base", base, patches.patch(base, target, [("copied", 25)]), "OutsideBaseError"),
        ("makes too much", base, patches.patch(base, target, [("copied", 26)]), "TargetTooLongError"),
        ("makes nothing", base, patches.patch(base, target, [("copied", 0), ("added", 0)]), "DamagedPatchError"),
    ]


if __name__ == "__main__":
    names = {row["name"] for row in KEPT}
    FILE.write_text(json.dumps(KEPT + [row for row in _made() if row["name"] not in names], indent=1) + "\n")
