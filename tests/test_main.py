"""The command's first moment: it imports, and somebody presses Ctrl+C."""

from __future__ import annotations

import sys

from support.servers import run
from support.serving import TOOLS

INTERRUPTED = """
import sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "otaseal.cli":
            raise KeyboardInterrupt
sys.path.insert(0, sys.argv[1])
sys.meta_path.insert(0, Slow())
from otaseal.__main__ import main
sys.exit(main())
"""


def test_an_interrupt_while_it_imports_is_no_traceback() -> None:
    ended = run([sys.executable, "-c", INTERRUPTED, str(TOOLS)])
    assert (ended.returncode, ended.stderr) == (130, b"")
