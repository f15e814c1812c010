"""What a project says outside of a build: what `pio project config` prints, read without PlatformIO."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otaseal.errors import ConfigError, InputError
from otaseal.project import config, project

MAIN = """
[platformio]
default_envs = ${sysenv.CHOSEN}
extra_configs =
  more/*.ini
  ; nothing
  ${platformio.boards_dir}/**/base.ini
data_dir = ${platformio.src_dir}/files
workspace_dir = ${sysenv.PLACE}/${PROJECT_HASH}
shared_dir = ~/shared
description = of ${platformio.name}, 100%% ours

[common]
root = $PROJECT_HASH/root
flags =
  -D ROOT=${this.root}
  -D EMPTY=${sysenv.NOT_SET_ANYWHERE}
Scripts =
  pre:a/one.py ; the first
  # a comment
  post:b/two.py
key = ${sysenv.PLACE}/keys/%(name)s.key
name = blink

[more]
extends = common, deepest
flags = -D MORE ${common.flags}

[env]
framework = arduino
monitor_speed = 115200
custom_otaseal_channel = beta

[env:main]
extends = more
board = nodemcuv2 ; mine
board_build.filesystem = littlefs
board_build.ldscript = eagle.flash.4m2m.ld
build_flags = ${more.flags} -D ENV=${this.__env__}
extra_scripts = ${common.Scripts}
custom_otaseal_signing_key = file:${common.key}
custom_otaseal_passphrase_file = ${this.name}-${platformio.name}
custom_otaseal_server = https://${this.upload_port}:8444
custom_otaseal_version = ${UNIX_TIME}
custom_data = ${platformio.data_dir} ${platformio.build_cache_dir} ${PROJECT_DIR} ${PIOENV} $BUILD_DIR
lib_use = Servo, ArduinoJson ; both
custom_lists = ${this.lib_deps}/${this.extra_scripts}/${this.framework}

[env:old]
extends = env:main
extra_script = old.py, older.py
"""
MORE = "[env:elsewhere]\nextends = env:main\nboard = d1_mini\n[env]\ncustom_otaseal_channel = stable\n"
BASE = "[platformio]\nextra_configs = last.ini\n[deepest]\nupload_port = update.local\nmonitor_speed = 74880\n"
LAST = "[env:last]\nextends = env:elsewhere\ncustom_otaseal_product = ${env:main.board}\n"
VARIABLES = {
    "CHOSEN": "elsewhere, main",
    "PLACE": "/srv/place",
    "PLATFORMIO_EXTRA_SCRIPTS": "post:outside.py",
    "PLATFORMIO_SRC_DIR": "code",
    "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in [one for one in os.environ if one.startswith(("PLATFORMIO_", "OTASEAL_"))]:
        monkeypatch.delenv(name)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return dict(os.environ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Blink 2"
    for name, text in (
        ("platformio.ini", MAIN),
        ("more/here.ini", MORE),
        ("boards/deep/base.ini", BASE),
        ("last.ini", LAST),
    ):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def text(value: Any) -> str:
    return ("\n".join(map(str, value)) if isinstance(value, list) else str(value)).strip()


def project_config(folder: Path) -> dict[str, dict[str, str]]:
    """Return what `pio project config` prints: by section and option, lists as lines."""
    command = [sys.executable, "-m", "platformio", "project", "config", "-d", str(folder), "--json-output"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return {
        section: {name: text(value) for name, value in options if value is not None}
        for section, options in json.loads(done.stdout)
    }


def steady(values: dict[str, str]) -> dict[str, str]:
    """Return the options that otaseal reads, without the time at which they were read."""
    assert values.get("custom_otaseal_version", "0").isdigit()
    read = ("custom_", "board", "extends", "extra_scripts", "lib_deps")
    return {name: text for name, text in values.items() if name.startswith(read) and name != "custom_otaseal_version"}


DIRECTORIES = ("workspace_dir", "build_dir", "data_dir", "src_dir", "include_dir", "lib_dir")


def test_it_is_read_as_pio_reads_it(folder: Path, variables: dict[str, str]) -> None:
    expected = project_config(folder)
    ours = config.read(folder, variables)
    assert ours.environments == ("main", "old", "elsewhere", "last")
    assert ours.default_environments == ("elsewhere", "main")
    assert {f"env:{name}" for name in ours.environments} == {name for name in expected if name.startswith("env:")}
    for section in (f"env:{name}" for name in ours.environments):
        assert steady({name: ours.get(section, name) or "" for name in ours.names(section)}) == steady(
            expected[section]
        )
    for name, value in {**platformio_directories(folder), **expected["platformio"]}.items():
        assert ours.get("platformio", name) == value
    assert ours.get("platformio", "data_dir") == f"{folder.resolve()}/code/files"
    assert ours.unset == {"NOT_SET_ANYWHERE"}


def platformio_directories(folder: Path) -> dict[str, str]:
    """Return what PlatformIO's own reader has for the directories, their defaults included."""
    code = "import json, sys; from platformio.project.config import ProjectConfig; config = ProjectConfig()\n"
    code += "print(json.dumps({name: config.get('platformio', name) for name in sys.argv[1:]}))"
    done = subprocess.run(
        [sys.executable, "-c", code, *DIRECTORIES], cwd=folder, capture_output=True, check=True, timeout=120
    )
    return {name: str(path) for name, path in json.loads(done.stdout).items()}


def test_a_project_is_its_first_default_environment(folder: Path, variables: dict[str, str]) -> None:
    found = project.load(folder, None, variables)
    assert (found.environment, found.board, found.filesystem) == ("elsewhere", "d1_mini", "littlefs")
    assert found.settings.signing_key == "file:/srv/place/keys/blink.key"
    assert found.settings.passphrase_file == "blink-Blink 2"
    assert found.settings.server == "https://update.local:8444"
    assert found.settings.channel == "stable"
    assert found.workspace.parent == Path("/srv/place")
    assert found.build == found.workspace / "build" / "elsewhere"
    assert found.data == folder.resolve() / "code" / "files"
    assert found.sources[0] == folder.resolve() / "code"
    assert found.get("extra_scripts") == "pre:a/one.py\npost:b/two.py\npost:outside.py"
    assert found.unset == ()  # of what otaseal looks at
    with pytest.raises(ConfigError) as caught:
        project.load(folder, "nowhere", variables)
    assert caught.value.hint == "it has: main, old, elsewhere, last"


REFUSED = {
    "a section that is not there": "[env:a]\nboard = ${nowhere.x}\n",
    "an option that is not set": "[common]\n[env:a]\nboard = ${common.x}\n",
    "a reference in a circle": "[env:a]\nboard = ${env:a.custom_x}\ncustom_x = ${this.board}\n",
    "a lone percent sign": "[env:a]\nboard = 100%\n",
    "an unknown name of Python's own kind": "[env:a]\nboard = %(x)s\n",
    "a line without a value": "[env:a]\nboard\n",
    "an option twice": "[env:a]\nboard = a\nboard = b\n",
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_pio_refuses_is_refused(why: str, tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").write_text(REFUSED[why])
    with pytest.raises(subprocess.CalledProcessError):
        project_config(tmp_path)
    with pytest.raises(InputError, match=r"^platformio\.ini cannot be read"):
        _ = project.load(tmp_path, "a", os.environ).board


def test_an_environment_that_extends_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").write_text("[a]\nextends = b\n[b]\nextends = a\n[env:a]\nboard = a\n")
    with pytest.raises(InputError, match=r"'extends' of \[.\] leads back to it"):
        project.load(tmp_path, "a", os.environ)


def test_a_variable_that_only_a_build_knows_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").write_text(
        "[platformio]\ndata_dir = data_${PIOENV}\nbuild_dir = ${BOARD}/build\n[env:a]\nboard = b\n"
    )
    found = project.load(tmp_path, None, os.environ)
    assert found.data == tmp_path.resolve() / "data_a"
    with pytest.raises(InputError, match=r"'\$\{BOARD\}' cannot be expanded outside of a build"):
        _ = found.build
