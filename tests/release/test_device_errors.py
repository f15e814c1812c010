"""Every number that the library reports has words."""

from __future__ import annotations

import re
from pathlib import Path

from otaseal.release.device_errors import ERRORS, in_words

HEADER = Path(__file__).resolve().parents[2] / "firmware" / "OtaSeal" / "src" / "otaseal" / "errors.h"


def test_every_error_of_the_library_has_words() -> None:
    numbers = re.findall(r"^  [A-Z]\w+ = (\d+),", HEADER.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(numbers) > 30
    assert set(map(int, numbers)) - {0} == set(ERRORS)


def test_what_a_device_said() -> None:
    assert in_words(35) == "the image is for another board"
    assert in_words(None) == in_words(0) == ""
    assert in_words(999) == "error 999, which this otaseal does not know"
