"""Every way to opt in works: submodule, library, installed package, and the example file as it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest, signed_image
from otaseal.keys.public import public_pem
from otaseal.settings import OPTIONS
from support.hooks import (
    ALL_HOOKS,
    ESP32_LIBRARY,
    ESP32_SKETCH,
    EXTRA_SCRIPTS,
    PICO_UPDATING,
    SELF_UPDATING,
    opt_in,
    write_key,
)
from support.peers import require
from support.pio import ESP32_PLATFORM, PICO_PLATFORM, PLATFORM, Project

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
ROOT = EXTRA_SCRIPTS.parent
SKETCH = {"main.cpp": SELF_UPDATING}
SHIPPED = ("extra_scripts", "firmware", "tools/otaseal", "library.json", "README.md")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Return a copy of what people get: the hooks, the package and the manifest."""
    folder = tmp_path / "a release" / "otaseal"
    for name in SHIPPED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def assert_signed(project: Project, key: rsa.RSAPrivateKey, board: str = "nodemcuv2") -> None:
    signed = project.build("firmware.bin.signed", board).read_bytes()
    payload = signed_image.verify(signed, key.public_key())
    found = manifest.find(payload)
    behind = b"" if found is None else manifest.serialise(found)
    assert payload == project.build("firmware.bin", board).read_bytes() + behind


def test_git_submodule(project: MakeProject, tmp_path: Path, release: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    git(release, "init", "-q")
    git(release, "add", ".")
    git(release, "commit", "-q", "-m", "release")
    made = project(*opt_in(*ALL_HOOKS, folder="otaseal/extra_scripts"), line, name="with spaces", sources=SKETCH)
    git(made.path, "init", "-q")
    git(made.path, "submodule", "add", f"file://{release}", "otaseal")
    made.run()
    assert_signed(made, rsa_key)
    assert "Signing" not in made.run().stdout


def test_library_dependency(project: MakeProject, tmp_path: Path, release: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    folder = "$PROJECT_LIBDEPS_DIR/$PIOENV/otaseal/extra_scripts"
    made = project(*opt_in(*ALL_HOOKS, folder=folder), line, f"lib_deps = file://{release}", sources=SKETCH)
    made.run()
    assert_signed(made, rsa_key)
    assert "Signing" not in made.run().stdout


def test_installed_package(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    command = Path(sysconfig.get_path("scripts")) / "otaseal"
    require("the installed command otaseal", command.exists(), "none: pip install .")
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [command, "config", "--extra-scripts", "--json"], capture_output=True, check=True, cwd=tmp_path, env=environment
    )
    scripts = json.loads(done.stdout)["extra_scripts"]
    assert [script.rpartition("/")[2] for script in scripts] == [f"{hook}.py" for hook in ALL_HOOKS]
    installed, checkout = Path(scripts[0].partition(":")[2]).parent.parent, ROOT / "tools" / "otaseal"
    libraries = {path.relative_to(ROOT) for path in (ROOT / "firmware").rglob("*") if path.is_file()}
    assert libraries <= {path.relative_to(installed) for path in (installed / "firmware").rglob("*")}
    modules = {path.relative_to(checkout) for path in checkout.rglob("*.py")}
    assert modules <= {path.relative_to(installed) for path in installed.rglob("*.py")}
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project("extra_scripts =", *[f"  {script}" for script in scripts], line, sources=SKETCH)
    made.run()
    assert_signed(made, rsa_key)


def test_example_file_works_when_it_is_copied_and_uncommented(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    """With every option, its build is a bridge release: signed with one key, carrying the next."""
    text = (ROOT / "platformio.ini.example").read_text()
    for option in OPTIONS.values():
        assert f"\n;{option.ini_name} =" in text
    home = tmp_path / "home"
    write_key(home / ".config/otaseal/keys/blink/signing.key", rsa_key, b"correct horse")
    write_key(home / ".config/otaseal/keys/blink/next.key", other_rsa_key)
    (home / ".config/otaseal/keys/blink/passphrase").write_text("correct horse\n")
    sketch = f"#if defined(ESP8266)\n{SELF_UPDATING}#elif defined(ESP32)\n{ESP32_SKETCH}#else\n{PICO_UPDATING}#endif\n"
    made = project(sources={"main.cpp": sketch, **ESP32_LIBRARY})
    # What is installed is locked before it is asked for: tests/build/test_sbom.py does both.
    lines = text.replace("\n;custom_otaseal_lock = yes\n", "\n").splitlines()
    uncommented = "\n".join(line.removeprefix(";") for line in lines)
    pioarduino = re.search(r"^platform = (https://github\.com/pioarduino/.*)$", uncommented, re.M)
    assert pioarduino is not None
    places = {
        "espressif8266": PLATFORM,
        "espressif32": ESP32_PLATFORM,
        pioarduino[1]: f"{ESP32_PLATFORM}\nboard_build.builder = pioarduino",
        "https://github.com/maxgerhardt/platform-raspberrypi.git": PICO_PLATFORM,
    }
    for name, place in places.items():
        assert f"platform = {name}\n" in uncommented
        uncommented = uncommented.replace(f"platform = {name}\n", f"platform = symlink://{place}\n")
    made.write("platformio.ini", uncommented)
    (made.path / "otaseal").symlink_to(ROOT)
    run = made.run(env={"HOME": str(home)})
    assert "otaseal: a bridge release" in run.stdout
    assert made.build("firmware.bin.gz.signed").exists()
    for board in ("nodemcuv2", "esp32dev", "esp32-c3-devkitm-1", "rpipicow"):
        assert_signed(made, rsa_key, board)
        assert public_pem(other_rsa_key.public_key()) in made.build("firmware.bin", board).read_bytes()
