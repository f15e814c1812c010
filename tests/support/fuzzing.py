"""libFuzzer, for a bounded time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def fuzz(program: Path, corpus: Path, runs: int, seconds: int, **environment: str) -> None:
    """Let it look for what breaks `program`, beginning with what is in `corpus`; fails where it finds anything."""
    limits = [f"-runs={runs}", f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-seed=1"]
    done = subprocess.run(
        [str(program), *limits, f"-artifact_prefix={corpus.parent}/", str(corpus)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "DONE" in done.stderr
