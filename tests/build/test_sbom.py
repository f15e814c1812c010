"""`custom_otaseal_sbom` and `custom_otaseal_lock` on the real PlatformIO: what is really compiled, and what differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from support import bom_schema
from support.command import Command, otaseal
from support.hooks import ALL_HOOKS, SELF_UPDATING, opt_in, write_key
from support.pio import Project
from support.servers import Running, operator

__all__ = ["otaseal"]

pytestmark = pytest.mark.build

MakeProject = Callable[..., Project]
SKETCH = SELF_UPDATING.replace(
    "void setup() {}", "#include <Dial.h>\n#include <Knob.h>\nvoid setup() { dial(); knob(); }"
)
DOCUMENT = "firmware.bin.cdx.json"


def library(folder: Path, name: str, manifest: str, content: str) -> Path:
    """Make a library of one function, and return its folder."""
    function = name.lower()
    for path, text in (
        (f"src/{name}.h", f"#pragma once\nvoid {function}();\n"),
        (f"src/{name}.cpp", f"#include <{name}.h>\nvoid {function}() {{}}\n"),
        (manifest, content),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def dial(tmp_path: Path) -> Path:
    about = {
        "name": "Dial",
        "version": "2.3.4",
        "license": "MIT",
        "repository": {"type": "git", "url": "https://user:secret@github.com/Someone/Dial.git"},
        "authors": [{"name": "Some One", "email": "some@one.example"}],
    }
    return library(tmp_path / "libraries" / "Dial", "Dial", "library.json", json.dumps(about))


@pytest.fixture
def blink(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, dial: Path) -> Project:
    """Return a project with a library of each kind: installed, its own, the framework's, and one that nothing uses."""
    made = project(
        *opt_in(*ALL_HOOKS),
        write_key(tmp_path / "signing.key", rsa_key),
        "custom_otaseal_sbom = yes",
        "custom_otaseal_product = blink",
        "custom_otaseal_version = 1.0.0",
        'build_flags = -D WIFI_PASSWORD=\\"correct-horse\\" -D FAST -fno-builtin',
        f"lib_deps = file://{dial}",
        sources={"main.cpp": SKETCH},
    )
    library(
        made.path / "lib" / "Knob", "Knob", "library.properties", "name=Knob\nversion=0.1\nauthor=Me <me@x.example>\n"
    )
    library(made.path / "lib" / "Unused", "Unused", "library.properties", "name=Unused\nversion=9\n")
    return made


def read(project: Project) -> dict[str, Any]:
    data = project.build(DOCUMENT).read_text()
    assert bom_schema.find_fault(data.encode()) is None
    assert "correct-horse" not in data
    assert "secret" not in data
    assert "@one.example" not in data
    found: dict[str, Any] = json.loads(data)
    return found


def parts(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in found["components"]}


def properties(part: dict[str, Any]) -> dict[str, str]:
    return {one["name"].removeprefix("otaseal:"): one["value"] for one in part["properties"]}


def test_it_names_what_is_really_compiled(
    blink: Project, server: Running, otaseal: Command, tmp_path: Path
) -> None:  # fmt: skip
    output = blink.run().stdout
    found = read(blink)
    assert f"otaseal: '{DOCUMENT}' names {len(found['components'])} parts of the firmware" in output
    signed = blink.build("firmware.bin.signed").read_bytes()
    firmware = found["metadata"]["component"]
    assert (firmware["name"], firmware["version"], firmware["type"]) == ("blink", "1.0.0", "firmware")
    assert firmware["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(signed).hexdigest()}]
    told = properties(firmware)
    assert (told["board"], told["environment"], told["chip"]) == ("nodemcuv2", "nodemcuv2", "esp8266")
    assert {"FAST", "WIFI_PASSWORD", "ARDUINO"} <= set(told["macros"].split())
    assert "-fno-builtin" in told["flags"].split()
    tools = {tool["name"]: tool for tool in found["metadata"]["tools"]["components"]}
    assert set(tools) == {"otaseal", "platformio"}
    assert tools["platformio"]["purl"] == f"pkg:pypi/platformio@{tools['platformio']['version']}"

    listed = parts(found)
    assert "Unused" not in listed
    compiled = {path.name for path in blink.build().glob("lib*/*") if path.is_dir()}
    libraries = {name for name, part in listed.items() if part["type"] == "library"}
    assert libraries == compiled, "what the builder made folders for"
    dial, knob, framework = listed["Dial"], listed["Knob"], listed["framework-arduinoespressif8266"]
    assert (dial["version"], dial["group"]) == ("2.3.4", "Some One")
    assert dial["licenses"] == [{"license": {"id": "MIT"}}]
    assert dial["purl"] == "pkg:github/someone/dial@2.3.4"
    assert dial["externalReferences"] == [{"type": "vcs", "url": "https://github.com/Someone/Dial.git"}]
    assert "licenses" not in knob
    assert (knob["version"], knob["group"]) == ("0.1", "Me")
    assert framework["version"] == "3.30102.0"
    assert properties(framework)["upstream"] == "3.1.2"
    assert framework["scope"] == "required"
    assert listed["ESP8266WiFi"]["purl"] == "pkg:generic/framework-arduinoespressif8266/ESP8266WiFi@1.0"
    assert listed["espressif8266"]["scope"] == listed["tool-esptoolpy"]["scope"] == "excluded"

    shown = otaseal("sbom", blink.build(DOCUMENT), "--of", blink.build("firmware.bin.signed")).succeeded().out
    assert "library    Dial 2.3.4  MIT" in shown
    assert "library    Knob 0.1  unknown" in shown
    otaseal("sbom", blink.build(DOCUMENT), "--of", blink.build("firmware.bin")).failed(1, "is not that of")


def test_a_build_that_does_nothing_makes_none_and_the_same_build_makes_the_same(blink: Project, dial: Path) -> None:
    blink.run()
    before = blink.build(DOCUMENT).read_bytes()
    stamp = blink.build(DOCUMENT).stat().st_mtime_ns
    assert "Listing" not in blink.run().stdout
    assert blink.build(DOCUMENT).stat().st_mtime_ns == stamp
    blink.build(DOCUMENT).unlink()
    assert "Listing" in blink.run().stdout
    assert blink.build(DOCUMENT).read_bytes() == before
    (blink.path / "lib" / "Knob" / "library.properties").write_text("name=Knob\nversion=0.2\n")
    blink.run()
    after = read(blink)
    assert parts(after)["Knob"]["version"] == "0.2"
    assert after["serialNumber"] != json.loads(before)["serialNumber"]
    trees = [properties(parts(one)["Dial"])["files:sha256"] for one in (json.loads(before), after)]
    assert trees[0] == trees[1] == _tree(dial)


def _tree(folder: Path) -> str:
    """Return the hash of a library that has not been installed, as docs/sbom.md has it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    return hashlib.sha256(b"".join(f"{name}\0{names[name]}\n".encode() for name in sorted(names))).hexdigest()


def test_it_is_published_with_the_release(
    blink: Project, server: Running, otaseal: Command, tmp_path: Path
) -> None:  # fmt: skip
    files.write_new(tmp_path / "token", f"{server.token}\n".encode(), files.PRIVATE_MODE)
    variables = {
        "OTASEAL_SERVER": server.url,
        "OTASEAL_SERVER_CA": str(server.world.ca),
        "OTASEAL_TOKEN_FILE": str(tmp_path / "token"),
        "OTASEAL_REHEARSE": "no",
        "OTASEAL_PROVENANCE": "yes",
        "OTASEAL_BUILDER": "https://ci.example.com/blink",
    }
    blink.run("-t", "deploy", env=variables)
    path = "/v1/products/blink/releases/1.0.0/attachments"
    assert operator(server).fetch(f"{path}/sbom") == blink.build(DOCUMENT).read_bytes()
    assert b"sbom.json" in _statement(operator(server).get(f"{path}/provenance"))
    shown = otaseal(
        *("sbom", "--server", server.url, "--ca", server.world.ca, "--token-file", tmp_path / "token"),
        *("--product", "blink", "--version", "1.0.0"),
    )
    assert "library    Dial 2.3.4  MIT" in shown.succeeded().out

    server_options = ("--server", server.url, "--ca", server.world.ca, "--token-file", tmp_path / "token")
    listed = otaseal("releases", *server_options, "--product", "blink").succeeded().out
    assert "  with provenance, sbom" in listed
    signed, other = blink.build("firmware.bin.signed"), tmp_path / "other.cdx.json"
    digest = hashlib.sha256(signed.read_bytes()).hexdigest()
    other.write_text(blink.build(DOCUMENT).read_text().replace(digest, "ab" * 32))
    otaseal("deploy", signed, *server_options, "--product", "blink", "--sbom", other, "--no-rehearse").failed(
        1, "the SBOM is that of another firmware"
    )
    blink.build(DOCUMENT).write_text(other.read_text())
    refused = blink.run("-t", "nobuild", "-t", "deploy", env={**variables, "OTASEAL_VERSION": "1.0.0"}, check=False)
    assert "is that of another firmware" in refused.stderr


def _statement(envelope: dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(envelope["payload"])


def test_a_lock_refuses_what_differs_by_name(blink: Project, dial: Path, otaseal: Command) -> None:
    locked = {"OTASEAL_LOCK": "yes"}
    none = blink.run(env=locked, check=False)
    assert "there is no 'otaseal.lock' for 'nodemcuv2'" in none.stderr
    assert "otaseal lock --env nodemcuv2" in none.stderr
    assert "entries for the environment 'nodemcuv2'" in blink.run("-t", "lock").stdout
    written = json.loads((blink.path / "otaseal.lock").read_text())
    entries = {(one["kind"], one["name"]): one for one in written["environments"]["nodemcuv2"]}
    assert {name for kind, name in entries if kind == "library"} == {"Dial"}, "the project's own is not locked"
    assert entries["library", "Dial"]["version"] == "2.3.4"
    assert {kind for kind, _ in entries} == {"platform", "framework", "tool", "library"}
    blink.run(env=locked)
    blink.run("-t", "lock")
    assert json.loads((blink.path / "otaseal.lock").read_text()) == written

    installed = blink.path / ".pio" / "libdeps" / "nodemcuv2" / "Dial"
    source = installed / "src" / "Dial.cpp"
    source.write_text(source.read_text() + "// changed\n")
    changed = blink.run(env=locked, check=False)
    assert "library 'Dial' 2.3.4 has other files" in changed.stderr
    assert "Compiling" not in changed.stdout, "nothing is compiled before"
    about = json.loads((installed / ".piopm").read_text())
    (installed / ".piopm").write_text(json.dumps({**about, "version": "2.4.0"}))
    assert "library 'Dial' is 2.4.0, not 2.3.4" in blink.run(env=locked, check=False).stderr
    written["environments"]["nodemcuv2"].remove(entries["library", "Dial"])
    (blink.path / "otaseal.lock").write_text(json.dumps(written))
    assert "library 'Dial' 2.4.0 is not locked" in blink.run(env=locked, check=False).stderr
    (blink.path / "otaseal.lock").write_text("{")
    assert "is damaged" in blink.run(env=locked, check=False).stderr
