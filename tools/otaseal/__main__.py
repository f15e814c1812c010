"""The command `otaseal`, and `python -m otaseal`: an interrupt while they import is one, too, and no traceback."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return the exit code."""
    try:
        from .cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
