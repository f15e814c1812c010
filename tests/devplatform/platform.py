"""The development platform's packages: what the real platform downloads, this one finds in its own directory.

As with the real one, the tool that builds filesystem images is there only for `buildfs` and for targets whose name
contains "upload": a target of another name that needs the image fails here as it fails on a fresh machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from platformio.package.meta import PackageItem, PackageMetadata
from platformio.public import PlatformBase

PROTOCOLS = ("esptool", "espota")
DIRECTORIES = {
    "framework-arduinoespressif8266": "framework",
    "tool-esptoolpy": "tools",
    "tool-mklittlefs": "tools",
}


class Espressif8266Platform(PlatformBase):  # type: ignore[misc]
    def configure_default_packages(self, options: dict[str, Any], targets: list[str]) -> None:
        if "buildfs" in targets:
            self.packages["tool-mklittlefs"]["optional"] = False
        super().configure_default_packages(options, targets)

    def get_package(self, name: str, spec: Any = None) -> PackageItem | None:
        options = self.packages.get(name)
        if name not in DIRECTORIES or options is None or options.get("optional"):
            return None
        path = str(Path(self.get_dir(), DIRECTORIES[name]))
        spec = spec or self.get_package_spec(name)
        return PackageItem(path, PackageMetadata(options["type"], name, options["version"], spec))

    def install_package(self, name: str, spec: Any = None, force: bool = False) -> PackageItem | None:
        return self.get_package(name, spec)

    def get_boards(self, id_: str | None = None) -> Any:
        boards = super().get_boards(id_)
        for board in [boards] if id_ else boards.values():
            board.manifest["upload"].setdefault("protocols", list(PROTOCOLS))
            board.manifest["upload"].setdefault("protocol", PROTOCOLS[0])
        return boards
