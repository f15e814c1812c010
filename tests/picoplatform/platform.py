"""The development platform's packages, which lie in its own directory, chosen as the real platform chooses them.

The tool that builds filesystem images is there only for `buildfs` and for targets whose name contains "upload".
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, ClassVar

HERE = Path(__file__).resolve().parent
LocalPackages: Any = runpy.run_path(str(HERE.parent / "devplatform" / "platform.py"))["LocalPackages"]


class RaspberrypiPlatform(LocalPackages):  # type: ignore[misc]
    directories: ClassVar[dict[str, str]] = {
        "framework-arduinopico": "framework",
        "tool-picotool-rp2040-earlephilhower": "tools",
        "tool-mklittlefs-rp2040-earlephilhower": "tools",
    }

    def configure_default_packages(self, options: dict[str, Any], targets: list[str]) -> None:
        self.packages["framework-arduinopico"]["optional"] = "arduino" not in options.get("pioframework", [])
        if "buildfs" in targets:
            self.packages["tool-mklittlefs-rp2040-earlephilhower"]["optional"] = False
        super().configure_default_packages(options, targets)
