"""Windows, as far as it can be had elsewhere: Python without what only POSIX has, and the rules of its paths."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import names
from otaseal.cli import common
from otaseal.errors import ConfigError
from otaseal.keys import key_uri
from otaseal.pki.profile import check_holder
from otaseal.project.ini import split_script
from support.images import build_image

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT / "tools").with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "tools" / "otaseal").rglob("*.py")
    if path.name != "__main__.py"
)
HIDE = "from support import without_posix; without_posix.hide()\n"
COMMAND = "import sys; from otaseal.cli import main; sys.exit(main(sys.argv[1:]))"
RUN = HIDE + COMMAND
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT / "tools")))}


def python(code: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def otaseal(*arguments: object, cwd: Path) -> str:
    done = python(RUN, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_only_posix_has_is_hidden() -> None:
    for module in ("fcntl", "pwd", "grp", "resource", "termios"):
        done = python(f"{HIDE}import {module}")
        assert f"ModuleNotFoundError: No module named '{module}'" in done.stderr
    done = python(f"{HIDE}import os, signal; print(hasattr(os, 'geteuid'), hasattr(signal, 'SIGHUP'))")
    assert done.stdout == "False False\n"


def test_every_module_is_imported_without_posix() -> None:
    code = f"{HIDE}import importlib\nfor name in {MODULES!r}: importlib.import_module(name)"
    assert {"otaseal.hooks.sign_firmware", "otaseal.server.process.run", "otaseal.store.files"} <= set(MODULES)
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_firmware_is_signed_verified_and_inspected(tmp_path: Path) -> None:
    (tmp_path / "firmware.bin").write_bytes(build_image())
    assert "usage: otaseal" in otaseal("--help", cwd=tmp_path)
    otaseal("key", "new", "keys/signing.key", "--no-passphrase", cwd=tmp_path)
    otaseal("sign", "firmware.bin", "--key", "file:keys/signing.key", cwd=tmp_path)
    otaseal("verify", "firmware.bin.signed", "--key", "keys/signing.pub", cwd=tmp_path)
    shown = json.loads(otaseal("inspect", "firmware.bin.signed", "--key", "keys/signing.pub", "--json", cwd=tmp_path))
    assert shown["signature"]["key"] == "keys/signing.pub"
    changed = bytearray((tmp_path / "firmware.bin.signed").read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "firmware.bin.signed").write_bytes(changed)
    refused = python(RUN, "verify", "firmware.bin.signed", "--key", "keys/signing.pub", cwd=tmp_path)
    assert refused.returncode == 1


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project that `otaseal init` has set up."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "platformio.ini").write_text("[env:one]\nboard = nodemcuv2\n", encoding="utf-8")
    places = ("--store", tmp_path / "pki", "--signing-key", tmp_path / "signing.key")
    names = ("--product", "blink", "--operator", "ada", "--server-name", "127.0.0.1")
    otaseal("init", *names, *places, "--no-passphrase", cwd=folder)
    return folder


def test_a_project_is_set_up_and_its_certificates_are_packed(project: Path) -> None:
    assert "custom_otaseal_product = blink" in (project / "platformio.ini").read_text(encoding="utf-8")
    otaseal("certs", "pack", "certs", "--output", "certs.ar", cwd=project)
    checked = json.loads(otaseal("certs", "check", "certs.ar", "--json", cwd=project))
    assert len(checked["certificates"]) == 2


DRIVE = "C:\\me\\otaseal\\extra_scripts\\"


def test_hooks_on_a_drive_are_seen(project: Path) -> None:
    """By `doctor`, and by `init`, which would add them once more."""
    ini = project / "platformio.ini"
    text = ini.read_text(encoding="utf-8")
    moved = re.sub(r"(?<=pre:|ost:).*[/\\](?=\w+\.py)", lambda _: DRIVE, text)
    assert moved.count(f":{DRIVE}") == 4
    ini.write_text(moved, encoding="utf-8")
    checks = json.loads(otaseal("doctor", "--offline", "--json", cwd=project))["checks"]
    assert next(check["message"] for check in checks if check["name"] == "hooks") == "4 of 4 attached"
    otaseal("init", "--operator", "ada", "--store", project.parent / "pki", "--no-passphrase", cwd=project)
    assert ini.read_text(encoding="utf-8") == moved


@pytest.mark.skipif(os.name != "posix", reason="Windows knows a home for everybody")
def test_a_user_without_a_home_has_no_ide_in_it(project: Path, tmp_path: Path) -> None:
    """As in a container: no variable says where it is, and the system does not know the user."""
    unknown = "import pwd\ndef unknown(user): raise KeyError(user)\npwd.getpwuid = unknown\n"
    (tmp_path / "bin").mkdir()
    homeless = {k: v for k, v in ENVIRONMENT.items() if k not in ("HOME", "USERPROFILE", "HOMEPATH")}
    done = subprocess.run(
        [sys.executable, "-c", unknown + COMMAND, "doctor", "--offline", "--json"],
        cwd=project, env=homeless | {"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert json.loads(done.stdout)


@pytest.fixture
def credentials(project: Path) -> Path:
    return project.parent / "pki" / "issued" / "server" / "main"


def serve(credentials: Path, folder: Path, *more: str) -> list[str]:
    files = ("--cert", str(credentials / "chain.pem"), "--key", str(credentials / "key.pem"))
    listen = ("--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0")
    return [sys.executable, "-c", RUN, "serve", "--store", str(folder / "store"), *files, *listen, *more]


@pytest.fixture
def served(credentials: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    with subprocess.Popen(
        serve(credentials, tmp_path, "--json"), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)


def test_the_server_answers_in_one_process(served: dict[str, str], tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "server-ca" / "certificate.pem"))
    with urllib.request.urlopen(f"{served['operators']}/healthz", context=context) as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served['devices']}/nowhere", context=context)


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes that say who reads a file")
def test_the_mode_of_a_key_counts_wherever_there_is_one(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    otaseal("key", "new", "signing.key", "--no-passphrase", cwd=tmp_path)
    (tmp_path / "signing.key").chmod(0o644)
    done = python(RUN, "key", "show", "file:signing.key", cwd=tmp_path)
    assert (done.returncode, "readable by others (mode 0644)" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("entry", "scope", "path"),
    [
        ("pre:otaseal/extra_scripts/verify_updates.py", "pre", "otaseal/extra_scripts/verify_updates.py"),
        (r"pre:C:\Users\me\otaseal\extra_scripts\ship.py", "pre", "C:/Users/me/otaseal/extra_scripts/ship.py"),
        (r"C:\Users\me\ship.py", "post", "C:/Users/me/ship.py"),
        (r"\\server\share\ship.py", "post", "//server/share/ship.py"),
        (r"post:..\ship.py", "post", "../ship.py"),
    ],
)
def test_a_hook_is_told_from_the_drive_it_lies_on(entry: str, scope: str, path: str) -> None:
    assert split_script(entry) == (scope, path)
    assert PureWindowsPath(path).name == "ship.py" or path.endswith("verify_updates.py")


@pytest.mark.parametrize(
    "path", [r"C:\keys\signing.key", "C:/keys/signing.key", r"..\keys\signing.key", "~/signing.key"]
)
def test_a_signing_key_may_lie_on_a_drive(path: str) -> None:
    assert common.key_uri(path) == f"file:{path}"
    assert key_uri.split(f"file:{path}") == ("file", path)
    with pytest.raises(ConfigError, match="has no known scheme"):
        key_uri.split(path)


DEVICES = ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))


@pytest.mark.parametrize("device", DEVICES)
def test_no_name_is_that_of_a_device(device: str) -> None:
    for name in (device, f"{device}.txt"):
        assert names.NAME.fullmatch(name) is None
        for spelled in (name, name.upper()):
            with pytest.raises(ConfigError, match="cannot be a holder's name"):
                check_holder(spelled)
        assert names.NAME.fullmatch(names.normalised(name))
    assert names.NAME.fullmatch(f"{device}-2")
    assert check_holder(f"{device}-2")


def test_names_that_are_folders_are_the_same_ones_on_windows() -> None:
    """No name is changed, taken apart or taken for another by the rules for paths there."""
    for name in ("blink", "a.b_c-d", "esp-01", "0"):
        assert PureWindowsPath("store", name).parts == ("store", name)
        assert names.NAME.fullmatch(name)
    for name in ("a:b", "a\\b", "a/b", "blink.", "blink ", "a*", 'a"b', "a|b", "a?", "<a>", "Blink"):
        assert names.NAME.fullmatch(name) is None
        with contextlib.nullcontext() if name == "Blink" else pytest.raises(ConfigError):
            check_holder(name)


def test_every_text_file_is_opened_as_utf_8() -> None:
    """The default of Windows is another one."""
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-W", "error::EncodingWarning", "-c", RUN, "config"],
        env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    opened = re.compile(r"\b(?:read_text|write_text)\((?![^)]*encoding)")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for folder in ("tools", "extra_scripts")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if opened.search(line)
    ]
    assert not found
