"""`otaseal config`, and what holds for every command: help with an example, two-line errors, streams that go away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otaseal import __version__, cli
from otaseal.settings import OPTIONS, resolve
from support.command import TOOLS, Command, otaseal, process

__all__ = ["otaseal"]

COMMANDS = [[], ["key"], ["key", "new"], ["key", "show"], ["certs"], ["certs", "pack"], ["certs", "list"]]
COMMANDS += [["certs", "check"], ["sign"], ["verify"], ["inspect"], ["config"], ["init"], ["pki"]]
COMMANDS += [["pki", action] for action in ("server", "device", "operator", "list", "check")]
COMMANDS += [["pki", action] for action in ("renew", "revoke", "rotate", "export", "import")]
COMMANDS += [["serve"], ["deploy"], ["releases"], ["promote"], ["rollback"], ["devices"], ["token"], ["store"]]
COMMANDS += [
    ["rehearse"],
    ["doctor"],
    ["completion"],
    ["provenance"],
    ["report"],
    ["audit"],
    ["notes"],
    ["delete"],
    ["support"],
    ["reproduce"],
    ["log"],
    *(["log", action] for action in ("list", "verify")),
    ["delta"],
    *(["delta", verb] for verb in ("make", "apply", "inspect")),
]
COMMANDS += [
    ["claim"],
    ["pki", "enroll"],
    *([of, verb] for of in ("token", "claim") for verb in ("new", "list", "revoke")),
    ["rollout"],
    ["sbom"],
    ["lock"],
    ["trust"],
    *(["trust", verb] for verb in ("add", "list", "remove")),
]


def test_every_option_is_shown_with_its_default(otaseal: Command) -> None:
    rows = otaseal("config", "--json").succeeded().json
    assert [row["option"] for row in rows] == [option.ini_name for option in OPTIONS.values()]
    text = otaseal("config").succeeded().out
    assert all(row["option"] in text and row["environment"] in text and row["help"] in text for row in rows)
    given = {row["option"]: row["default"] for row in rows if row["default"] is not None}
    assert resolve({k: "\n".join(v) if isinstance(v, list) else v for k, v in given.items()}, {}) == resolve({}, {})


def test_the_hook_lines_name_files_that_are_there(otaseal: Command) -> None:
    lines = otaseal("config", "--extra-scripts", "--json").succeeded().json["extra_scripts"]
    assert [line.partition(":")[0] for line in lines] == ["pre", "post", "post", "post"]
    assert all(Path(line.partition(":")[2]).is_file() for line in lines)
    text = otaseal("config", "--extra-scripts").succeeded().out
    assert text == "extra_scripts =\n" + "".join(f"  {line}\n" for line in lines)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_the_command_understands(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"usage: {' '.join(['otaseal', *command])}" in shown
    example = shown.partition("example: otaseal ")[2].replace("\\\n", "").partition(" > ")[0].split()
    assert example[: len(command)] == command
    assert cli.parser("").parse_args(example).run


def test_no_command_is_missing_here() -> None:
    text = subprocess.run(
        [sys.executable, "-m", "otaseal", "--help"],
        env={**os.environ, "PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = {line.split()[0] for line in text.splitlines() if line.startswith("    ") and line[4] != " "}
    assert {command[0] for command in COMMANDS if command} == listed


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"otaseal {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["key"],
        ["certs"],
        ["nonsense"],
        ["config", "--nonsense"],
        ["sign"],
        ["config", "extra"],
        ["certs", "pack", "x"],
    ],
)
def test_wrong_arguments_are_two_lines_and_code_2(arguments: list[str], otaseal: Command) -> None:
    done = otaseal(*arguments).failed(2, "")
    assert "--help" in done.err
    assert not done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("devices", "--limit", "x"), "argument --limit: 'x' is not a valid number of devices"),
        (("deploy", "a.signed", "--percent", "101"), "argument --percent: '101' is not a percentage"),
        (("promote", "beta", "--patience", "0"), "argument --patience: '0' is not a valid number of minutes"),
        (("doctor", "--project", "~nobody-has-this-name/x"), "argument --project: '~nobody-has-this-name/x' names"),
        (("sign", "~nobody-has-this-name/x"), "argument firmware: '~nobody-has-this-name/x' names"),
        (("serve", "--product", "x"), "argument --product: 'x' names no product and key"),
        (("serve", "--require-provenance", "ci"), "argument --require-provenance: 'ci' is no builder"),
        (("serve", "--store", "mysql://me:secret@db/x"), "argument --store: 'mysql://' is no address of a store"),
        (("serve", "--workers", "2"), "argument --workers: '2' processes are no longer possible: one answers devices"),
        (("rehearse", "--repeat", "x"), "argument --repeat: invalid int value: 'x'"),
    ],
)
def test_an_error_in_a_value_names_its_option(arguments: tuple[str, ...], message: str, otaseal: Command) -> None:
    otaseal(*arguments).failed(2, message)


def test_a_wrong_variable_is_an_error_too(otaseal: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTASEAL_EXPIRED_CERTS", "sometimes")
    otaseal("certs", "check", ".").failed(2, "OTASEAL_EXPIRED_CERTS is 'sometimes'")


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    assert process("config", cwd=tmp_path).succeeded().out.startswith("custom_otaseal_")
    process("verify", "x", "--key", "y", cwd=tmp_path).failed(1, "public key 'y' is not a file")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TOOLS), "OTASEAL": f"{sys.executable} -m otaseal"}
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1"])
def test_a_reader_that_goes_away_is_no_traceback(unbuffered: str, tmp_path: Path) -> None:
    done = shell(f"{unbuffered} $OTASEAL config | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.stderr == ""
    assert done.returncode in (0, 1)  # 0 where all was written before the reader had gone


@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1"])
def test_a_full_standard_output_is_an_error_in_two_lines(unbuffered: str, tmp_path: Path) -> None:
    done = shell(f"{unbuffered} $OTASEAL config > /dev/full", tmp_path)
    assert done.returncode == 3
    assert "otaseal: error: standard output cannot be used: No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_an_error_is_told_even_where_standard_output_is_full_or_closed(tmp_path: Path) -> None:
    for redirection in ("> /dev/full", ">&-"):
        done = shell(f"$OTASEAL verify x --key y {redirection}", tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("otaseal: error: public key 'y' is not a file\notaseal: hint: ")


def test_a_closed_standard_output_is_nothing_to_complain_of(tmp_path: Path) -> None:
    done = shell("$OTASEAL config >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
