"""What `otaseal init` writes into platformio.ini, and the commands that it says come next."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from otaseal.keys import signers
from support.command import TOOLS, Command, otaseal, process
from support.fresh_project import INI, OPEN, blink, config, home

__all__ = ["blink", "home", "otaseal"]


def test_what_the_project_says_already_stays(blink: Path, otaseal: Command) -> None:
    (blink / ".gitignore").write_bytes(b"/.pio\r\n\xff\n*.key")
    lines = "board_build.filesystem = spiffs\ncustom_otaseal_ca_certs =\n  my cas\n  more/*.pem\n"
    (blink / "platformio.ini").write_text(INI + lines)
    (blink / "platformio.ini").chmod(0o640)
    done = otaseal(*OPEN).succeeded()
    assert (blink / ".gitignore").read_bytes() == b"/.pio\r\n\xff\n*.key\ndata/certs.ar\n"
    assert (blink / "platformio.ini").read_text().startswith(INI + lines)
    assert stat.S_IMODE((blink / "platformio.ini").stat().st_mode) == 0o640
    assert len(list((blink / "my cas").iterdir())) == 2
    assert "is 'spiffs'" in done.err
    assert "is not for 'new.local'" in otaseal("init", "--server-name", "new.local").succeeded().err


def test_lines_that_cannot_be_added_are_shown(blink: Path, home: Path, otaseal: Command) -> None:
    text = INI + "[platformio]\nextra_configs = more.ini\n"
    (blink / "platformio.ini").write_text(text)
    done = otaseal(*OPEN).failed(1, "cannot be edited safely: it reads more files")
    assert (blink / "platformio.ini").read_text() == text
    assert "  custom_otaseal_ca_certs = certs\n" in done.out
    assert (config(home) / "keys/blink/signing.key").exists()
    lines = otaseal("init", "--json").failed(1, "safely").json["lines_to_add"]
    (blink / "platformio.ini").write_text(INI + "\n".join(lines) + "\n[platformio]\nextra_configs = more.ini\n")
    otaseal("init").succeeded()


def ini_after(project: Path, home: Path, text: str = INI, tools: Path = TOOLS) -> tuple[str, str]:
    """Run init on a platformio.ini with this text; return what it became, and the notes."""
    (project / "platformio.ini").write_text(text)
    done = process(*OPEN, cwd=project, HOME=str(home), PYTHONPATH=str(tools)).succeeded()
    return (project / "platformio.ini").read_text(), done.err


def test_hooks_are_named_so_that_others_find_them(blink: Path, tmp_path: Path, home: Path) -> None:
    copy = tmp_path / "otaseal"
    copy.mkdir()
    for part in ("tools", "extra_scripts"):
        subprocess.run(["cp", "-r", str(TOOLS.parent / part), str(copy)], check=True)
    library = "pre:$PROJECT_LIBDEPS_DIR/$PIOENV/otaseal/extra_scripts/verify_updates.py"
    for place, expected in (
        ("vendor/otaseal", "pre:vendor/otaseal/extra_scripts/verify_updates.py"),
        (".pio/libdeps/nodemcuv2/otaseal", library),
        ("otaseal", "pre:otaseal/extra_scripts/verify_updates.py"),
        ("signed-updates", "pre:signed-updates/extra_scripts/verify_updates.py"),
    ):
        (blink / place).parent.mkdir(parents=True, exist_ok=True)
        copy.rename(blink / place)
        for tools in (blink / place / "tools", TOOLS):  # run from there, or from an installation elsewhere
            text, notes = ini_after(blink, home, tools=tools)
            assert f"  {expected}\n" in text
            assert "git submodule" not in text + notes
        (blink / place).rename(copy)
    for named in ("otaseal", "ada/otaseal @ ^0.1", "https://example.org/ada/otaseal.git#v1", "file:///srv/otaseal"):
        text, _ = ini_after(blink, home, f"{INI}lib_deps =\n  Servo\n  {named}\n")
        assert f"  {library}\n" in text


def test_hooks_that_nobody_else_has_are_said_to_be(blink: Path, home: Path) -> None:
    for text in (INI, f"{INI}lib_deps = symlink:///srv/otaseal\n", f"{INI}extra_scripts = a.py, post:b.py\n"):
        changed, notes = ini_after(blink, home, text)
        assert f"{TOOLS.parent}/extra_scripts/verify_updates.py" in changed
        assert changed.count("\n; otaseal is installed on this computer only: before others build this, add it") == 1
        assert "git submodule" in notes
    again = process("init", cwd=blink, HOME=str(home)).succeeded()
    assert (blink / "platformio.ini").read_text() == changed
    assert "git submodule" not in again.err


def test_a_server_that_the_project_names_is_kept(blink: Path, home: Path, otaseal: Command) -> None:
    ini = blink / "platformio.ini"
    ini.write_text(f"{INI}custom_otaseal_server = https://update.example.org:8444\n")
    done = otaseal(*OPEN).succeeded()
    assert not [line for line in ini.read_text().splitlines() if "_operator_" in line or "_server_ca" in line]
    assert "--operator-ca" not in done.out
    assert "pio run -t deploy" in done.out
    ini.write_text(f"{INI}custom_otaseal_token_file = ~/token\n")
    otaseal("init").succeeded()
    assert "custom_otaseal_server_ca" in ini.read_text()
    assert "_operator_" not in ini.read_text()


def test_a_version_is_written_only_where_git_says_none(blink: Path, otaseal: Command) -> None:
    assert "git knows no version" in otaseal(*OPEN).succeeded().err
    assert "custom_otaseal_version = 0.1.0\n" in (blink / "platformio.ini").read_text()
    git = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (("init", "-q"), ("add", "platformio.ini"), (*who, "commit", "-q", "-m", "x")):
        subprocess.run(["git", *command], cwd=blink, env=git, check=True)
    (blink / "platformio.ini").write_text(INI)
    assert "git knows no version" not in otaseal("init").succeeded().err
    assert "custom_otaseal_version" not in (blink / "platformio.ini").read_text()


def test_a_key_without_a_file_of_its_public_half_gets_one_by_a_command(
    blink: Path, home: Path, otaseal: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    signers.write_key_pair(home / "my key", signers.new_signing_key(), None)
    (home / "my key.pub").unlink()
    (blink / "platformio.ini").write_text(f"{INI}custom_otaseal_signing_key = file:~/my key\n")
    done = otaseal(*OPEN).succeeded()
    assert f" key show '{home}/my key' --pem > signing.pub\n" in done.out
    assert "--product blink=signing.pub" in done.out


def test_several_boards_make_one_release(blink: Path, otaseal: Command) -> None:
    """Each environment names all of them, and a later one is named to those that are there."""
    others = (
        "[env:d1]\nplatform = espressif8266\nboard = d1_mini\n[env:esp]\nplatform = espressif32\nboard = esp32dev\n"
    )
    (blink / "platformio.ini").write_text(INI + others + "[env:native]\nplatform = native\n")
    done = otaseal(*OPEN, "-e", "nodemcuv2", "-e", "d1").succeeded()
    written = (blink / "platformio.ini").read_text()
    assert written.count("custom_otaseal_environments = nodemcuv2, d1\n") == 2
    assert "pio run -e nodemcuv2 -t uploadall\n" in done.out
    assert "pio run -e d1 -t uploadall\n" in done.out
    assert "pio run -e nodemcuv2 -e d1 -t deploy\n" in done.out

    later = otaseal(*OPEN, "-e", "esp").succeeded()
    assert "custom_otaseal_environments = nodemcuv2, d1, esp\n" in (blink / "platformio.ini").read_text()
    for name in ("nodemcuv2", "d1"):
        assert f"custom_otaseal_environments of '{name}' lacks 'esp': add it there" in later.err


def test_one_that_was_alone_learns_of_the_others(blink: Path, otaseal: Command) -> None:
    otaseal(*OPEN).succeeded()
    alone = (blink / "platformio.ini").read_text()
    assert "custom_otaseal_environments" not in alone
    (blink / "platformio.ini").write_text(alone + "[env:d1]\nplatform = espressif8266\nboard = d1_mini\n")
    done = otaseal(*OPEN, "-e", "d1").succeeded()
    assert (blink / "platformio.ini").read_text().count("custom_otaseal_environments = nodemcuv2, d1\n") == 2
    assert "pio run -e d1 -t uploadall\n" in done.out
    before = (blink / "platformio.ini").read_text()
    otaseal(*OPEN, "-e", "d1", "-e", "nodemcuv2").succeeded()
    assert (blink / "platformio.ini").read_text() == before


def test_two_environments_for_one_board_make_no_release(blink: Path, otaseal: Command) -> None:
    (blink / "platformio.ini").write_text(INI + "[env:debug]\nextends = env:nodemcuv2\nbuild_type = debug\n")
    done = otaseal(*OPEN, "-e", "nodemcuv2", "-e", "debug").succeeded()
    assert "custom_otaseal_environments" not in (blink / "platformio.ini").read_text()
    assert "pio run -e nodemcuv2 -t deploy\n" in done.out
