"""Any options, variables and flags resolve to settings that resolve to themselves, or raise our error."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from otaseal.errors import ConfigError, describe
from otaseal.settings import OPTIONS, Settings, resolve

words = st.sampled_from(
    ["", " ", "\n", "certs", "drop", "keep", "refuse", "auto", "notify", "on-change", "file:a b.key"]
)
values = st.one_of(words, st.text(max_size=40), st.lists(words, max_size=4).map("\n".join))
ini_names = st.one_of(
    st.sampled_from([option.ini_name for option in OPTIONS.values()]),
    st.sampled_from(["custom_otaseal", "custom_otaseal_", "CUSTOM_OTASEAL_UPLOADFS", "custom_ota", "board"]),
    st.text(max_size=8).map("custom_otaseal_".__add__),
)
inis = st.dictionaries(ini_names, values, max_size=4)
environments = st.dictionaries(st.sampled_from([o.environment_name for o in OPTIONS.values()]), values, max_size=4)
flag_sets = st.dictionaries(st.sampled_from(list(OPTIONS)), st.none() | values, max_size=4)


def resolved_or_refused(
    ini: dict[str, str], environment: dict[str, str], flags: dict[str, str | None]
) -> Settings | ConfigError:
    try:
        return resolve(ini, environment, flags)
    except ConfigError as error:
        return error


def as_ini(settings: Settings) -> dict[str, str]:
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    return {
        OPTIONS[name].ini_name: "\n" + "\n".join(value) if isinstance(value, tuple) else str(value)
        for name, value in given.items()
    }


@limits(max_examples=300, deadline=None)
@given(inis, environments, flag_sets)
def test_anything_resolves_or_is_refused(
    ini: dict[str, str], environment: dict[str, str], flags: dict[str, str | None]
) -> None:
    found = resolved_or_refused(ini, environment, flags)
    if isinstance(found, ConfigError):
        assert len(describe(found).splitlines()) == 2
        return
    assert not [name for name in ini if name.startswith("custom_otaseal") and name[15:] not in OPTIONS]
    assert all(found.ca_certs)
    assert resolve(as_ini(found), {}) == found


@limits(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=4))
def test_what_is_not_ours_changes_nothing(other: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        assert resolve(other, {name: value for name, value in other.items() if "OTASEAL" not in name}) == Settings()
