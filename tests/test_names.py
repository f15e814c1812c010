"""One rule for the name of a product or channel, and every place that takes one goes by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from otaseal import names, settings
from otaseal.errors import InputError, OtasealError
from otaseal.pki.places import default_directory
from otaseal.pki.scope import parse_scope
from otaseal.pki.store import Store as PkiStore
from otaseal.release.records import Origin, describe
from otaseal.server.operator_api.openapi import description
from otaseal.server.process import run
from otaseal.store.store import Store

GOOD = ("blink", "b", "0", "a.b_c-d", "x" * 64, "console", "com", "com10", "nul-2")
BAD = ("Blink", "blink 2", "näher", ".blink", "-blink", "x" * 65, "a/b", "..", "\uff22link", "blink\nx")
BAD += ("con", "nul.1", "com1", "lpt9.x.y", "blink.")  # devices of Windows, which drops a dot at the end, too
NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)


def of_releases(name: str, folder: Path) -> object:
    return Store(folder).keys(name)


def of_interface(name: str, folder: Path) -> object:
    """What the interface's description tells programs that use it."""
    found = next(
        one["schema"]["pattern"]
        for methods in description()["paths"].values()
        for method in methods.values()
        for one in method.get("parameters", ())
        if one["name"] == "product"
    )
    if not re.fullmatch(found, name):
        raise InputError("no", "no")
    return name


PLACES: dict[str, Callable[[str, Path], object]] = {
    "product": lambda name, folder: settings.resolve({"custom_otaseal_product": name}, {}),
    "channel": lambda name, folder: settings.resolve({"custom_otaseal_channel": name}, {}),
    "serve": lambda name, folder: run.parse_product(f"{name}=signing.pub"),
    "scope": lambda name, folder: parse_scope(f"{name}/*"),
    "authorities": lambda name, folder: default_directory(folder, name),
    "releases": of_releases,
    "interface": of_interface,
}


@pytest.mark.parametrize("place", PLACES)
def test_every_place_has_the_same_rule(place: str, tmp_path: Path) -> None:
    for name in GOOD:
        assert names.check_name(name, "product") == name
        PLACES[place](name, tmp_path)
    for name in BAD:
        with pytest.raises(OtasealError):
            PLACES[place](name, tmp_path)


def test_authorities_and_releases_are_made_for_a_name_only(tmp_path: Path) -> None:
    with pytest.raises(OtasealError, match="product 'Blink' is not a valid name") as refused:
        PkiStore.create(tmp_path / "pki", "Blink", NOW)
    assert refused.value.hint.endswith("as in 'blink'")
    with pytest.raises(OtasealError, match="product 'Blink' is not a valid name"):
        describe([b""], Origin("Blink", "1", "2030-01-01T00:00:00Z"), [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Blink", "blink"),
        ("Blink Näher 2", "blink-naher-2"),
        ("Blink Na\u0308her 2", "blink-naher-2"),
        ("Straße_3.1", "strasse_3.1"),
        ("  (my) project!  ", "my-project"),
        (".hidden", "hidden"),
        ("лампа", ""),
        ("", ""),
        ("NUL", "my-nul"),
        ("con." + "x" * 80, "my-con." + "x" * 57),
        ("x" * 63 + " y", "x" * 63),
    ],
)
def test_what_a_text_is_mended_to(text: str, name: str) -> None:
    assert names.normalised(text) == name


@given(st.text(max_size=100))
def test_what_was_mended_is_a_name_or_nothing(text: str) -> None:
    name = names.normalised(text)
    assert not name or names.NAME.fullmatch(name)


@given(st.from_regex(names.NAME, fullmatch=True))
def test_what_is_a_name_needs_no_mending_but_at_its_end(name: str) -> None:
    assume(names.NAME.fullmatch(name.rstrip("-._")))
    assert names.normalised(name) == name.rstrip("-._")
