"""Core releases, their commits and families of chips are named in `chips` and in the simulator's table only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from otaseal import chips
from otaseal.chips import esp8266_cores, families

PACKAGE = Path(chips.__file__).parent.parent
TABLES = {PACKAGE / "simulator" / "core.py", *PACKAGE.glob("chips/*.py")}
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in TABLES]
SERIES = {name.rpartition(".")[0] for name in esp8266_cores.CORES if "." in name}
# Not a part of an object identifier, and not a version of PlatformIO's platform.
RELEASE = re.compile(rf"(?<![\w.])(?<!espressif8266 )(?:{'|'.join(map(re.escape, SERIES))})(?:\.\d)?(?![\w.])")
# The version of OpenAPI, the head of an HTTP message, the last entry of a log, and the version of CPE.
OTHERS = {
    "server/operator_api/openapi.py": {"3.1.0"},
    **{key: {"head"} for key in ("server/operator_api/connection.py", "cli/log.py", "client/release_log.py")},
    **{key: {"head"} for key in ("server/operator_api/handlers/releases.py", "server/operator_api/release_schemas.py")},
    "sbom/parts.py": {"cpe:2.3:a:"},
}
FAMILIES = {*families.PREFIXES.values(), *families.AGENTS.values()}


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the constants that are no docstrings."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and not isinstance(node, ast.Expr):
                yield child


def cores_named_in(source: str) -> list[str]:
    """Return the constants of a module that name a release or a commit of the core, and the families compared with."""
    tree = ast.parse(source)
    found = []
    for node in strings(tree):
        if isinstance(node.value, str) and (RELEASE.search(node.value) or node.value == "head"):
            found.append(node.value)
        elif type(node.value) is int and node.value in esp8266_cores.RELEASES:
            found.append(hex(node.value))
    compared = (child for node in ast.walk(tree) if isinstance(node, ast.Compare) for child in ast.walk(node))
    found += [node.value for node in compared if isinstance(node, ast.Constant) and node.value in FAMILIES]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_core_and_no_family_is_named_elsewhere(path: Path) -> None:
    named = set(cores_named_in(path.read_text(encoding="utf-8")))
    assert named <= OTHERS.get(path.relative_to(PACKAGE).as_posix(), set())


def test_what_would_be_found() -> None:
    for line in ('core == "3.1.2"', 'f"since {x} 2.7"', '("head",)', "x = 0x210897EF", 'family in ("pico", "esp32")'):
        assert cores_named_in(line), line
    for line in ('"2.5.29.15"', '"""Since 3.1.2."""', '"12.7"', '"ahead"', '{"esp32": 1}', '"espressif8266 2.6.0"'):
        assert not cores_named_in(line), line


def test_each_series_and_release_is_one_row() -> None:
    names = [name for name in esp8266_cores.CORES if "." in name]
    assert len(set(names)) == len(names) == len(esp8266_cores.RELEASES)
    assert {name.rpartition(".")[0] for name in esp8266_cores.SHOWN_CORES if "." in name} == {"2.7", "3.0", "3.1"}
    assert (esp8266_cores.NEWEST.name, esp8266_cores.OLDEST_SIGNED) == ("3.1.2", "2.6.0")
