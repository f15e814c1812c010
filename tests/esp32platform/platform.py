"""The development platform's packages, which lie in its own directory, chosen as the real platforms choose them.

The official platform has a tool for each kind of filesystem, there only for `buildfs` and for targets whose name
contains "upload". pioarduino's has none: its builder makes the images itself.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
LocalPackages: Any = runpy.run_path(str(HERE.parent / "devplatform" / "platform.py"))["LocalPackages"]
PROTOCOLS = ("esptool", "espota")


class Espressif32Platform(LocalPackages):  # type: ignore[misc]
    directories: ClassVar[dict[str, str]] = {
        "framework-arduinoespressif32": "framework",
        "tool-esptoolpy": "tools",
        "tool-mkfatfs": "tools",
        "tool-mklittlefs": "tools",
        "tool-mkspiffs": "tools",
    }

    def configure_default_packages(self, options: dict[str, Any], targets: list[str]) -> None:
        self.packages["framework-arduinoespressif32"]["optional"] = "arduino" not in options.get("pioframework", [])
        if "buildfs" in targets:
            tool = f"tool-mk{options.get('board_build.filesystem', 'spiffs')}"
            if tool in self.packages:
                self.packages[tool]["optional"] = False
        super().configure_default_packages(options, targets)

    def get_boards(self, id_: str | None = None) -> Any:
        boards = super().get_boards(id_)
        for board in [boards] if id_ else boards.values():
            board.manifest["upload"].setdefault("protocols", list(PROTOCOLS))
            board.manifest["upload"].setdefault("protocol", PROTOCOLS[0])
        return boards
