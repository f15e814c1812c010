"""`python -m demo`: the README's demonstration. Exit code 0 only if every step ends as it claims to."""

from __future__ import annotations

import sys
from pathlib import Path

from demo.report import write
from demo.steps import ROOT, Demo


def main(folder: Path = ROOT / "build" / "demo") -> int:
    """Play all steps in `folder`, which is made anew, write the report there, and return the exit code."""
    with Demo(folder) as demo:
        good = demo.play()
    write(folder / "report.html", demo.steps)
    print(f"\nEach command, all that it printed, and the flash: {demo.short(str(folder / 'report.html'))}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
