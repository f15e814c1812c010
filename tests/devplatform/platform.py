"""The development platform's packages: what the real platform downloads, this one finds in its own directory.

As with the real one, the tool that builds filesystem images is there only for `buildfs` and for targets whose name
contains "upload": a target of another name that needs the image fails here as it fails on a fresh machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from platformio.package.meta import PackageItem, PackageMetadata
from platformio.public import PlatformBase

PROTOCOLS = ("esptool", "espota")


class LocalPackages(PlatformBase):  # type: ignore[misc]
    """A platform that finds its packages in `directories` of its own, by their names."""

    directories: ClassVar[dict[str, str]] = {}

    def get_package(self, name: str, spec: Any = None) -> PackageItem | None:
        options = self.packages.get(name)
        if name not in self.directories or options is None or options.get("optional"):
            return None
        path = str(Path(self.get_dir(), self.directories[name]))
        spec = spec or self.get_package_spec(name)
        return PackageItem(path, PackageMetadata(options["type"], name, options["version"], spec))

    def install_package(self, name: str, spec: Any = None, force: bool = False) -> PackageItem | None:
        return self.get_package(name, spec)


class Espressif8266Platform(LocalPackages):
    directories: ClassVar[dict[str, str]] = {
        "framework-arduinoespressif8266": "framework",
        "tool-esptoolpy": "tools",
        "tool-mklittlefs": "tools",
    }

    def configure_default_packages(self, options: dict[str, Any], targets: list[str]) -> None:
        if "buildfs" in targets:
            self.packages["tool-mklittlefs"]["optional"] = False
        super().configure_default_packages(options, targets)

    def get_boards(self, id_: str | None = None) -> Any:
        boards = super().get_boards(id_)
        for board in [boards] if id_ else boards.values():
            board.manifest["upload"].setdefault("protocols", list(PROTOCOLS))
            board.manifest["upload"].setdefault("protocol", PROTOCOLS[0])
        return boards
