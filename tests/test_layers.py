"""The import rule: everything points strictly down, the core touches nothing outside, and importing costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
PACKAGE = TOOLS / "otaseal"

# Layer of the design, and a step in it: a module imports from a lower layer, or from a lower step of its own.
LAYERS = {
    "otaseal": (0, 0),
    "errors": (0, 0),
    "esp8266_cores": (0, 0),
    "file_kinds": (0, 1),
    # pure: bytes and values in, values out
    "esp8266": (1, 0),
    "pem": (1, 0),
    "archive": (1, 0),
    "names": (1, 0),
    "settings": (1, 1),
    "public_keys": (1, 0),
    "leaks": (1, 0),
    "project_options": (1, 0),
    "project_config": (1, 1),
    "project_ini": (1, 2),
    "littlefs_image": (1, 0),
    "spiffs_image": (1, 0),
    "known_keys": (1, 1),
    "gzip_payload": (1, 1),
    "stock_core": (1, 1),
    "signing_header": (1, 1),
    "build_header": (1, 3),
    "verification_errors": (1, 0),
    "x509_fields": (1, 1),
    "x509_names": (1, 2),
    "x509_extensions": (1, 2),
    "anchors": (1, 3),
    "image": (1, 2),
    "manifest": (1, 2),
    "certstore": (1, 4),
    "signing": (1, 3),
    "inspection": (1, 3),
    "release": (1, 3),
    "rollout": (1, 3),
    "update_request": (1, 4),
    "admission": (1, 4),
    "lockout": (1, 4),
    "protocol": (1, 5),
    "archive_protocol": (1, 11),
    "scope": (1, 4),
    "channels": (1, 4),
    "archive_record": (1, 1),
    "checksummed": (1, 0),
    "audit_events": (1, 5),
    "pki.certificate": (1, 3),
    "pki.openssl_issuers": (1, 4),
    "pki.chain": (1, 5),
    "pki.profile": (1, 0),
    "pki.matching": (1, 6),
    "pki.index": (1, 4),
    "pki.rules": (1, 7),
    "pki.advice": (1, 8),
    "pki.check": (1, 9),
    "signed_archive": (1, 10),
    # files, clocks and sockets
    "files": (2, 0),
    "audit": (2, 1),
    "passphrase": (2, 1),
    "pkcs11": (2, 2),
    "key_uri": (2, 1),
    "keys": (2, 3),
    "key_lock": (2, 4),
    "cert_sources": (2, 1),
    "shipped": (2, 1),
    "cert_packing": (2, 2),
    "pki.disk": (2, 1),
    "pki.live": (2, 1),
    "pki.authority": (2, 1),
    "pki.crl": (2, 2),
    "pki.store": (2, 3),
    "pki": (2, 4),
    "provision": (2, 5),
    "device_rows": (1, 6),
    "devices": (2, 2),
    "device_place": (2, 3),
    "store": (2, 5),
    "store_check": (2, 6),
    "store_backup": (2, 7),
    "store_prune": (2, 7),
    "git": (2, 0),
    "origin": (2, 1),
    "platformio_config": (2, 0),
    "project_files": (2, 1),
    "project": (2, 2),
    # the server, and the operator's side of it
    "server.telemetry": (3, 0),
    "server.limits": (3, 0),
    "server.accepting": (3, 1),
    "server.tls": (3, 0),
    "server.tokens": (3, 0),
    "server.log": (3, 1),
    "server.catalog": (3, 0),
    "server.sessions": (3, 0),
    "server.recorder": (3, 0),
    "server.door": (3, 1),
    "server.workers": (3, 1),
    "server.housekeeping": (3, 2),
    "server.examination": (3, 1),
    "server.tending": (3, 1),
    "server.bodies": (3, 0),
    "server.terms": (3, 0),
    "server.api_schema": (3, 0),
    "server.fleet": (3, 1),
    "server.publishing": (3, 2),
    "server.archives": (3, 1),
    "server.access": (3, 1),
    "server.records": (3, 0),
    "server.http_requests": (3, 0),
    "server.listener": (3, 2),
    "server.app": (3, 1),
    "server.answers": (3, 2),
    "server.operator": (3, 3),
    "server.connections": (3, 3),
    "server.device_http": (3, 4),
    "server.site": (3, 5),
    "server.run": (3, 6),
    "server": (3, 7),
    "client": (3, 0),
    # the virtual device: of ours it imports the errors only, see below
    "device": (3, 20),
    "device.codes": (3, 0),
    "device.steps": (3, 0),
    "device.core": (3, 0),
    "device.flash": (3, 0),
    "device.wire": (3, 0),
    "device.der": (3, 1),
    "device.firmware": (3, 1),
    "device.filesystem": (3, 1),
    "device.seal": (3, 1),
    "device.tls_suites": (3, 1),
    "device.public_key": (3, 2),
    "device.tls_messages": (3, 2),
    "device.anchors": (3, 3),
    "device.names": (3, 3),
    "device.updater": (3, 3),
    "device.tls_records": (3, 3),
    "device.probe": (3, 3),
    "device.certstore": (3, 4),
    "device.x509": (3, 4),
    "device.eboot": (3, 4),
    "device.tls": (3, 5),
    "device.judgement": (3, 5),
    "device.trust": (3, 6),
    "device.http_client": (3, 6),
    "device.state": (3, 6),
    "device.http_update": (3, 7),
    "device.rotation": (3, 7),
    "device.play": (3, 8),
    "device.chip": (3, 9),
    "archive_client": (3, 1),
    "credentials": (3, 1),
    # looking at everything at once
    "doctor.report": (4, 0),
    "doctor.resumption": (4, 0),
    "doctor.tools": (4, 1),
    "doctor.keys": (4, 1),
    "doctor.certificates": (4, 1),
    "doctor.build": (4, 2),
    "doctor.online": (4, 2),
    "doctor": (4, 3),
    "rehearsal.picture": (4, 0),
    "rehearsal.advice": (4, 0),
    "rehearsal.loopback": (4, 0),
    "rehearsal.throwaway": (4, 0),
    "rehearsal.candidate": (4, 0),
    "rehearsal.sources": (4, 0),
    "rehearsal.report": (4, 1),
    "rehearsal.answers": (4, 1),
    "rehearsal.play": (4, 2),
    "rehearsal.setup": (4, 3),
    "rehearsal.hostile": (4, 3),
    "rehearsal.renewal": (4, 4),
    "rehearsal.text": (4, 4),
    "rehearsal": (4, 5),
    # people: print, prompt, exit, argv, environment
    "cli.common": (5, 0),
    "cli.remote": (5, 1),
    "cli.config": (5, 1),
    "cli.serve": (5, 1),
    "cli.deploy": (5, 2),
    "cli.doctor": (5, 1),
    "cli.rehearse": (5, 1),
    "cli.key": (5, 1),
    "cli.certs_ota": (5, 2),
    "cli.certs": (5, 3),
    "cli.images": (5, 1),
    "cli.stores": (5, 1),
    "cli.store": (5, 1),
    "cli.questions": (5, 2),
    "cli.pki_check": (5, 2),
    "cli.pki_import": (5, 3),
    "cli.pki": (5, 4),
    "cli.init_lines": (5, 3),
    "cli.init_commands": (5, 4),
    "cli.init": (5, 5),
    "cli": (5, 6),
    "__main__": (5, 7),
    "hooks": (5, 0),
    "hooks.build": (5, 0),
    "hooks.signing_key": (5, 1),
    "hooks.firmware_key": (5, 2),
    "hooks.claim": (5, 1),
    "hooks.verify_updates": (5, 3),
    "hooks.sign_firmware": (5, 3),
    "hooks.made_image": (5, 1),
    "hooks.pack_certs": (5, 2),
    "hooks.rehearse": (5, 1),
    "hooks.deploy": (5, 2),
    "hooks.deploy_certs": (5, 3),
    "hooks.targets": (5, 1),
    "hooks.upload_form": (5, 1),
    "hooks.ship": (5, 4),
}
PEOPLE = 5

# A prompt has to be asked somewhere, and a build hook and a command ask the same one.
MAY_TALK = {"passphrase": {"getpass", "sys.stdin"}}
TALK = {"print", "input", "getpass", "exit", "quit", "sys.exit", "sys.argv", "sys.stdin", "sys.stdout", "sys.stderr"}
TALK |= {"os.environ", "os.getenv", "os.environb", "os.putenv"}

OUTSIDE = {
    "asyncio",
    "getpass",
    "glob",
    "http",
    "io",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
}
OUTSIDE |= {"shutil", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "otaseal"


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Yield what `module` imports, at any depth and under TYPE_CHECKING too: ours without `otaseal.`, others whole."""
    path = MODULES[module]
    package = ["otaseal", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("otaseal.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*package[: len(package) - node.level + 1], node.module or ""]) if node.level else node.module
            )
            base = (base or "").strip(".")
            for alias in node.names:
                ours = f"{base}.{alias.name}".removeprefix("otaseal.")
                yield ours if base.startswith("otaseal") and ours in MODULES else base.removeprefix("otaseal.")


def names(module: str) -> Iterator[str]:
    """Yield the plain names and the `module.attribute` pairs that the code mentions."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "sys"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_its_place_and_every_place_a_module() -> None:
    assert set(MODULES) == set(LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_strictly_down(module: str) -> None:
    ours = {name for name in imports(module) if name in MODULES}
    assert not {name: LAYERS[name] for name in ours if LAYERS[name] >= LAYERS[module]}


@pytest.mark.parametrize("module", [name for name in LAYERS if name.partition(".")[0] == "device"])
def test_the_virtual_device_shares_no_code_with_what_it_judges(module: str) -> None:
    ours = {name for name in imports(module) if name in MODULES or name.startswith("otaseal")}
    assert {name for name in ours if name.partition(".")[0] != "device"} <= {"errors"}


def test_imports_are_seen() -> None:
    assert {"otaseal", "files", "keys", "signing", "hooks.build", "errors"} <= set(imports("hooks.sign_firmware"))
    assert {"cli.common", "image", "inspection"} <= set(imports("cli.images"))
    assert {"cli.certs", "cli.key", "otaseal", "argparse"} <= set(imports("cli"))
    assert "cryptography.hazmat.primitives.asymmetric.rsa" in set(imports("image"))


@pytest.mark.parametrize("module", [name for name, (layer, _) in LAYERS.items() if layer < 2])
def test_the_core_reaches_nothing_outside(module: str) -> None:
    assert not {name.partition(".")[0] for name in imports(module)} & OUTSIDE
    assert "open" not in set(names(module))
    assert not {name for name in names(module) if name in ("datetime.now", "datetime.utcnow", "date.today")}


@pytest.mark.parametrize("module", [name for name, (layer, _) in LAYERS.items() if layer < PEOPLE])
def test_only_commands_and_hooks_talk_to_people(module: str) -> None:
    said = set(names(module)) & TALK
    assert said == MAY_TALK.get(module, set())


def python(code: str, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def closure(modules: list[str]) -> set[str]:
    """Return the top-level names of what an interpreter without site-packages has loaded after these imports."""
    wanted = ["otaseal" if module == "otaseal" else f"otaseal.{module}" for module in modules]
    code = f"import importlib, sys; sys.path.insert(0, {str(TOOLS)!r})\n"
    code += f"for name in {wanted!r}: importlib.import_module(name)\nprint(*sys.modules)"
    return set(python(code, "-I", "-S").split())


def test_the_package_itself_imports_nothing() -> None:
    assert closure(["otaseal"]) - closure([]) == {"otaseal"}


def test_no_import_needs_more_than_the_standard_library() -> None:
    loaded = closure([name for name in MODULES if name != "__main__"])
    assert {f"otaseal.{name}" for name in MODULES if name not in ("otaseal", "__main__")} <= loaded
    assert not {name.partition(".")[0] for name in loaded} & {"cryptography", "SCons", "platformio"}


def test_a_build_that_declares_hooks_loads_nothing_heavy() -> None:
    loaded = closure([name for name in MODULES if name.startswith("hooks")])
    heavy = {"argparse", "asyncio", "cryptography", "email", "http", "http.client", "socket", "ssl", "urllib.request"}
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith(("otaseal.cli", "otaseal.pki", "otaseal.image.inspection"))}
