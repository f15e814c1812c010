"""What importing costs, and who may talk to people. Which package may import which: `[importlinter]` in setup.cfg."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"
PACKAGE = TOOLS / "otaseal"
MODULES = {
    ".".join(path.relative_to(TOOLS).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
PEOPLE = ("otaseal.cli", "otaseal.hooks", "otaseal.__main__")
TALK = {"print", "input", "getpass", "exit", "quit", "sys.exit", "sys.argv", "sys.stdin", "sys.stdout", "sys.stderr"}
TALK |= {"os.environ", "os.getenv", "os.environb", "os.putenv"}
# A prompt has to be asked somewhere, and a build hook and a command ask the same one.
MAY_TALK = {"otaseal.keys.passphrase": {"getpass", "print", "sys.stderr", "sys.stdin"}}
PURE = ("otaseal.chips", "otaseal.image", "otaseal.names", "otaseal.protocol", "otaseal.release", "otaseal.settings")
OUTSIDE = {"open", "datetime.now", "datetime.utcnow", "date.today"}


def names(path: Path) -> Iterator[str]:
    """Yield the plain names and the `module.attribute` pairs that the code mentions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "sys"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", [name for name in MODULES if not name.startswith(PEOPLE)])
def test_only_commands_and_hooks_talk_to_people(module: str) -> None:
    assert set(names(MODULES[module])) & TALK == MAY_TALK.get(module, set())


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith(PURE)])
def test_values_are_computed_without_files_and_clocks(module: str) -> None:
    """Modules that reach outside are import-linter's; this is for what needs no import."""
    assert not set(names(MODULES[module])) & OUTSIDE


DATABASE = "otaseal.store.postgresql."


def loaded_by(modules: list[str]) -> set[str]:
    """Return the names of what an interpreter without site-packages has loaded after these imports."""
    code = f"import importlib, sys; sys.path.insert(0, {str(TOOLS)!r})\n"
    code += f"for name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_package_itself_imports_nothing() -> None:
    assert loaded_by(["otaseal"]) - loaded_by([]) == {"otaseal"}


def test_no_import_needs_more_than_the_standard_library() -> None:
    """But what keeps a store in PostgreSQL, which `store.open` imports where an address asks for it."""
    modules = [name for name in MODULES if name != "otaseal.__main__" and not name.startswith(DATABASE)]
    loaded = loaded_by(modules)
    assert set(modules) <= loaded
    assert not {name.partition(".")[0] for name in loaded} & {"cryptography", "SCons", "platformio"}


HEAVY = {"argparse", "asyncio", "cryptography", "email", "http", "http.client", "socket", "ssl", "urllib.request"}


def test_a_build_that_signs_loads_nothing_of_the_network() -> None:
    """The virtual device that has the last word on what is signed is the updater and the boot loader alone."""
    loaded = loaded_by(["otaseal.image.signing", "otaseal.simulator.verdict"])
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith(("otaseal.simulator.tls", "otaseal.simulator.poll"))}


def test_a_build_that_declares_hooks_loads_nothing_heavy() -> None:
    loaded = loaded_by([name for name in MODULES if name.startswith("otaseal.hooks")])
    assert not loaded & HEAVY
    assert not {name for name in loaded if name.startswith(("otaseal.cli", "otaseal.pki", "otaseal.image.inspection"))}


def modules_of(*arguments: str) -> set[str]:
    """Return the names of our modules that a command has loaded when it ends."""
    code = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r})\n"
        f"from otaseal.cli import main\ntry: main({list(arguments)!r})\nexcept SystemExit: pass\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_no_command() -> None:
    loaded = modules_of("--help")
    assert "otaseal.cli" in loaded
    allowed = {"cli", "cli.common", "commands", "errors", "files", "names", "settings", "terminal"}
    assert {name for name in loaded if name.startswith("otaseal.")} <= {f"otaseal.{name}" for name in allowed}
    assert not loaded & {"asyncio", "cryptography", "email", "http.client", "socket", "ssl"}


@pytest.mark.parametrize(
    ("command", "foreign"),
    [
        ("sign", ("client", "doctor", "hooks", "rehearsal", "server", "store")),
        ("certs", ("client", "doctor", "hooks", "rehearsal", "server", "simulator", "store")),
        ("key", ("client", "doctor", "hooks", "image", "rehearsal", "server", "simulator", "store")),
        ("store", ("client", "doctor", "hooks", "rehearsal", "server", "simulator")),
        ("releases", ("doctor", "hooks", "server", "store")),
        ("devices", ("doctor", "hooks", "server", "rehearsal", "simulator")),
    ],
)
def test_a_command_loads_no_foreign_package(command: str, foreign: tuple[str, ...]) -> None:
    packages = {name.split(".")[1] for name in modules_of(command, "--help") if name.startswith("otaseal.")}
    assert not packages & set(foreign)
