"""The same tool as a script that PlatformIO's Python runs."""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).with_suffix("")), run_name="__main__")
