"""How long it takes to pack certifi's bundle, beside one `openssl x509` a certificate and `ar`.

    python bench/pack_certs.py [rounds]

Each round runs both, one after the other, in turn first and second, and compares the two of a round with each other:
CPU time of the whole processes, and for ours also without the start of the interpreter, which a build has paid for
before its hooks run (the imports are counted). What it prints is measured, never asserted.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import certifi

TOOLS = Path(__file__).resolve().parent.parent / "tools"
OURS = """
import sys, time
started = time.process_time()
from datetime import datetime, timezone
from pathlib import Path
from otaseal.certs import certstore
from otaseal.certs import sources as cert_sources
sources = cert_sources.collect([sys.argv[1]], Path.cwd())
Path("certs.ar").write_bytes(certstore.pack(sources, datetime.now(timezone.utc)).archive)
Path("cpu").write_text(str(time.process_time() - started))
"""


def cpu_of_children() -> float:
    """Return the CPU seconds that ended child processes have used so far."""
    times = os.times()
    return times.children_user + times.children_system


def with_otaseal(folder: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    subprocess.run([sys.executable, "-c", OURS, certifi.where()], cwd=folder, env=environment, check=True)
    return members(folder)


def with_openssl(folder: Path) -> int:
    blocks = re.findall(
        r"-----BEGIN.*?-----END CERTIFICATE-----\n", Path(certifi.where()).read_text("utf-8"), re.DOTALL
    )
    for index, block in enumerate(blocks):
        command = ["openssl", "x509", "-inform", "PEM", "-outform", "DER", "-out", f"ca_{index:03}.der"]
        subprocess.run(command, cwd=folder, input=block.encode(), check=True, stderr=subprocess.DEVNULL)
    names = sorted(path.name for path in folder.glob("*.der"))
    subprocess.run(["ar", "qc", "certs.ar", *names], cwd=folder, check=True)
    return members(folder)


def members(folder: Path) -> int:
    listed = subprocess.run(["ar", "t", "certs.ar"], cwd=folder, check=True, capture_output=True, text=True)
    return len(listed.stdout.splitlines())


def measure(run: Callable[[Path], int]) -> tuple[float, float, float, int]:
    """Return CPU seconds, seconds on the clock, CPU seconds in a running interpreter, and the number of members."""
    with tempfile.TemporaryDirectory() as folder:
        cpu, clock = cpu_of_children(), time.perf_counter()
        count = run(Path(folder))
        cpu, clock = cpu_of_children() - cpu, time.perf_counter() - clock
        inside = Path(folder, "cpu")
        return cpu, clock, float(inside.read_text()) if inside.exists() else cpu, count


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    measure(with_otaseal)  # byte code and file caches, for both alike
    pairs = []
    for index in range(rounds):
        first, second = (with_otaseal, with_openssl) if index % 2 else (with_openssl, with_otaseal)
        results = {first: measure(first), second: measure(second)}
        pairs.append((results[with_otaseal], results[with_openssl]))
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    for name, side in (("otaseal", ours), ("openssl and ar", theirs)):
        cpu, clock, inside = (statistics.median(result[unit] for result in side) * 1000 for unit in (0, 1, 2))
        also = f", {inside:.0f} ms CPU in a running interpreter" if side is ours else ""
        print(f"{name:<15} {side[0][3]:4} certificates {cpu:7.0f} ms CPU {clock:7.0f} ms on the clock{also}")
    for unit, name in ((0, "CPU"), (1, "clock"), (2, "CPU in a running interpreter")):
        ratios = sorted(pair[1][unit] / pair[0][unit] for pair in pairs)
        print(f"ratio, {name:<28} median {statistics.median(ratios):5.1f}, from {ratios[0]:.1f} to {ratios[-1]:.1f}")


if __name__ == "__main__":
    main()
