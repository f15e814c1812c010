"""Many slow readers at once, as bench/slow_readers.py measures them: all get all, polls go on, memory stays small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench" / "slow_readers.py"
READERS = 5000 if os.environ.get("OTASEAL_THOROUGH") else 300
FEW_MORE = 1.25
"""With a few hundred readers, what the server needs once is still a part of each one's share."""


@pytest.mark.proof
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_slow_readers_get_all_and_keep_nobody_waiting() -> None:
    slowest = []
    for _ in range(3):  # a machine that stands still is one thing, a server that lets polls wait another
        slowest.append(measure())
        if slowest[-1] < 1:
            return
    raise AssertionError(f"99 of 100 polls were answered within {slowest} s only")


def measure() -> float:
    """Return the seconds in which 99 of 100 polls were answered; all else is asserted."""
    command = [sys.executable, str(BENCH), "--readers", str(READERS), "--size", "300000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{READERS} of {READERS} readers got all" in done.stdout
    memory = re.search(r"beyond idle: ([0-9.]+) KiB a reader", done.stdout)
    assert memory is not None, done.stdout
    assert float(memory[1]) <= 64 * (1 if READERS > 1000 else FEW_MORE), done.stdout
    polls = re.search(r"(\d+) polls meanwhile, 0 failed: .*p99 ([0-9.]+) s", done.stdout)
    assert polls is not None, done.stdout
    assert int(polls[1]) > 10, done.stdout
    return float(polls[2])
