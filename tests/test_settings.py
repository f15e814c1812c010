"""Where an option's value comes from, and that none is misspelt in silence."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from otaseal.errors import ConfigError, describe
from otaseal.settings import MAX_VALUE_LENGTH, OPTIONS, Settings, resolve

DEFAULTS = Settings()

# option: three texts that differ, and what they mean
SAMPLES: dict[str, tuple[tuple[str, Any], tuple[str, Any], tuple[str, Any]]] = {
    "signing_key": (("file:a", "file:a"), ("env:KEY", "env:KEY"), ("file:~/my keys/c", "file:~/my keys/c")),
    "public_key": (("a.pub", "a.pub"), ("b.pub", "b.pub"), ("my keys/c.pub", "my keys/c.pub")),
    "next_public_key": (("a.pub", "a.pub"), ("b.pub", "b.pub"), ("my keys/c.pub", "my keys/c.pub")),
    "passphrase_file": (("a", "a"), ("b", "b"), ("c", "c")),
    "environments": (("a b", ("a", "b")), ("a,b", ("a", "b")), ("\na,\n  b c\n", ("a", "b", "c"))),
    "ca_certs": (("a", ("a",)), ("b\nb *.pem", ("b", "b *.pem")), ("\nc/**/*.der\n  d", ("c/**/*.der", "d"))),
    "expired_certs": (("keep", "keep"), ("refuse", "refuse"), ("drop", "drop")),
    "unusable_certs": (("refuse", "refuse"), ("drop", "drop"), ("auto", "auto")),
    "uploadfs": (("on-change", "on-change"), ("notify", "notify"), ("on-change", "on-change")),
    "server": (("https://a", "https://a"), ("https://b:1", "https://b:1"), ("https://[::1]:2", "https://[::1]:2")),
    "server_ca": (("a.pem", "a.pem"), ("b.pem", "b.pem"), ("my cas/c.pem", "my cas/c.pem")),
    "product": (("a", "a"), ("b", "b"), ("c", "c")),
    "channel": (("a", "a"), ("b", "b"), ("c", "c")),
    "rollout": (("a.toml", "a.toml"), ("b.toml", "b.toml"), ("my plans/c.toml", "my plans/c.toml")),
    "version": (("1.0", "1.0"), ("v2-dirty", "v2-dirty"), ("3", "3")),
    "security_counter": (("1", 1), ("4294967295", 2**32 - 1), ("007", 7)),
    "compress": (("gzip", "gzip"), ("zopfli", "zopfli"), ("gzip", "gzip")),
    "token_file": (("a", "a"), ("b", "b"), ("~/my tokens/c", "~/my tokens/c")),
    "sbom": (("yes", "yes"), ("no", "no"), ("yes", "yes")),
    "lock": (("yes", "yes"), ("no", "no"), ("yes", "yes")),
    "oidc": (("github", "github"), ("github", "github"), ("github", "github")),
    "operator_cert": (("a.pem", "a.pem"), ("b.pem", "b.pem"), ("~/my c.pem", "~/my c.pem")),
    "operator_key": (("a.pem", "a.pem"), ("b.pem", "b.pem"), ("~/my c.pem", "~/my c.pem")),
    "unverified_updates": (("allow", "allow"), ("refuse", "refuse"), ("allow", "allow")),
    "enroll": (("key", "key"), ("certificate", "certificate"), ("key", "key")),
    "pki": (("a", "a"), ("b", "b"), ("~/my pki/c", "~/my pki/c")),
    "provenance": (("yes", "yes"), ("no", "no"), ("yes", "yes")),
    "log": (("yes", "yes"), ("no", "no"), ("yes", "yes")),
    "builder": (("https://a", "https://a"), ("urn:b", "urn:b"), ("https://c/d", "https://c/d")),
    "rehearse": (("yes", "yes"), ("no", "no"), ("yes", "yes")),
}


def test_every_option_has_samples_and_a_field() -> None:
    assert set(SAMPLES) == set(OPTIONS) == {field.name for field in fields(Settings)}


def test_nothing_given_is_the_defaults() -> None:
    assert resolve({}, {}) == resolve({}, {}, {}) == DEFAULTS


@pytest.mark.parametrize("name", OPTIONS)
def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(name: str) -> None:
    option = OPTIONS[name]
    (flag, from_flag), (variable, from_variable), (line, from_line) = SAMPLES[name]
    ini, environment, flags = {option.ini_name: line}, {option.environment_name: variable}, {name: flag}
    for given, expected in (
        ((ini, environment, flags), from_flag),
        ((ini, environment, {}), from_variable),
        ((ini, environment, {name: None}), from_variable),
        ((ini, {}, flags), from_flag),
        ((ini, {}, None), from_line),
        (({}, environment, None), from_variable),
        (({}, {}, None), getattr(DEFAULTS, name)),
    ):
        found = resolve(*given)
        assert getattr(found, name) == expected
        assert all(getattr(found, other) == getattr(DEFAULTS, other) for other in OPTIONS if other != name)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("empty", ["", " ", "\n", "\n  \n\t"])
def test_an_empty_value_is_unset_wherever_it_stands(name: str, empty: str) -> None:
    option, (text, expected) = OPTIONS[name], SAMPLES[name][0]
    ini, environment = {option.ini_name: text}, {option.environment_name: empty}
    assert getattr(resolve(ini, environment, {name: empty}), name) == expected
    assert resolve({option.ini_name: empty}, environment, {name: empty}) == DEFAULTS


def test_a_list_is_one_entry_a_line_as_platformio_gives_it() -> None:
    value = "\ncerts\n  my certs/*.pem  \n\n~/more\r\n"
    assert resolve({"custom_otaseal_ca_certs": value}, {}).ca_certs == ("certs", "my certs/*.pem", "~/more")


@pytest.mark.parametrize("name", ["signing_key", "public_key", "passphrase_file"])
def test_a_single_value_may_stand_on_its_own_line_and_only_there(name: str) -> None:
    ini_name = OPTIONS[name].ini_name
    assert getattr(resolve({ini_name: "\nfile:a b"}, {}), name) == "file:a b"
    with pytest.raises(ConfigError, match="has 2 lines, 'file:a' the first"):
        resolve({ini_name: "\nfile:a\nfile:b"}, {})


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("custom_otaseal_signing_kye", "did you mean 'custom_otaseal_signing_key'?"),
        ("custom_otaseal_ca_cert", "did you mean 'custom_otaseal_ca_certs'?"),
        ("custom_otaseal_upload_fs", "did you mean 'custom_otaseal_uploadfs'?"),
        ("CUSTOM_OTASEAL_UPLOADFS", "did you mean 'custom_otaseal_uploadfs'?"),
        ("custom_otaseal-uploadfs", "did you mean 'custom_otaseal_uploadfs'?"),
        ("custom_otaseal_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "custom_otaseal_signing_key, "),
        ("custom_otaseal", ""),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(name: str, suggestion: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown option '{name}'") as caught:
        resolve({name: "", "board": "nodemcuv2"}, {})
    assert suggestion in caught.value.hint


def test_other_peoples_options_are_left_alone() -> None:
    assert (
        resolve({"custom_otherplugin_key": "x", "upload_port": "COM3", "custom_ota": "1"}, {"OTASEAL": "1"}) == DEFAULTS
    )


@pytest.mark.parametrize("name", ["expired_certs", "unusable_certs", "uploadfs"])
@pytest.mark.parametrize("wrong", ["Drop", "yes", "drop keep", "drop\nkeep", "on_change"])
def test_a_choice_takes_its_own_words_only(name: str, wrong: str) -> None:
    option = OPTIONS[name]
    for given, shown in (
        (({option.ini_name: wrong}, {}), option.ini_name),
        (({}, {option.environment_name: wrong}), option.environment_name),
    ):
        with pytest.raises(ConfigError, match=f"^{shown} is ") as caught:
            resolve(*given)
        assert len(describe(caught.value).splitlines()) == 2
        assert all(word in caught.value.hint for word, _ in SAMPLES[name])


def test_values_have_a_limit() -> None:
    longest = "a" * MAX_VALUE_LENGTH
    assert resolve({"custom_otaseal_ca_certs": longest}, {}).ca_certs == (longest,)
    with pytest.raises(ConfigError, match=f"OTASEAL_CA_CERTS has {MAX_VALUE_LENGTH + 1} characters"):
        resolve({}, {"OTASEAL_CA_CERTS": longest + "a"})
