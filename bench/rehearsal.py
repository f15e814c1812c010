"""What a rehearsal costs: processor seconds of one update against a local server, and of the whole hostile table.

    python bench/rehearsal.py [--runs 7] [--kilobytes 262]

The server is the loopback of the rehearsal itself, with the update server's TLS and answers, in this very process: its
work is in the numbers. A rehearsal is two polls, an update and a 304, with a throw-away authority made for it; the
signing and the making of the images before it are not counted. Prints the median and the range over the runs. The
targets are under 2 seconds for a rehearsal and under 15 for the table.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / folder) for folder in ("tools", "tests")]

from otaseal.image.firmware import Firmware
from otaseal.image.signing_header import embedded_key
from otaseal.keys import signers
from otaseal.rehearsal import hostile, scenario, setup
from otaseal.rehearsal.candidate import Candidate
from otaseal.release.records import Origin
from otaseal.simulator.flash import layout
from support.by_bytes import sign_firmware
from support.images import Signer, build_image

TARGETS = {"rehearsal": 2.0, "hostile table": 15.0}


def prepare(kilobytes: int) -> scenario.Scenario:
    """Return an update of that size, between two builds that differ in everything."""
    key = signers.new_signing_key()
    embedded = embedded_key(key.public_key())
    raw = build_image(seed=random.randrange(1 << 30), code_size=kilobytes * 1000, embedded=embedded)
    signed = sign_firmware(raw, Signer(key), embeds_key=True)
    origin = Origin("blink", "1.0.0", "2026-01-31T12:00:00Z", "nodemcuv2")
    candidate = Candidate((Firmware(signed),), origin, (key.public_key(),))
    return setup.prepare(setup.Inputs(candidate, layout=layout("4m1m")), setup.DeviceOptions())


def measured(runs: int, work: Callable[[], object]) -> list[float]:
    """Return the processor seconds of each run, all threads of this process together."""
    spent = []
    for _ in range(runs):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return spent


def rehearse(prepared: scenario.Scenario) -> None:
    """Play it; a rehearsal that fails measures nothing."""
    report = scenario.play(prepared)
    assert report.good, report.failed


def attack(prepared: scenario.Scenario) -> None:
    """Play the table; a row that is not as it has to be measures nothing."""
    rows = hostile.hostile(prepared)
    assert all(one.ok for one in rows), rows


def main() -> None:
    """Measure both and print them beside their targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--kilobytes", type=int, default=262)
    arguments = parser.parse_args()
    prepared = prepare(arguments.kilobytes)
    works: dict[str, Callable[[scenario.Scenario], None]] = {"rehearsal": rehearse, "hostile table": attack}
    print(f"processor seconds, image of {len(prepared.candidate.forms[0].data)} bytes, {arguments.runs} runs")
    for name, work in works.items():
        work(prepared)  # what is imported on first use is paid for here
        spent = measured(arguments.runs, lambda work=work: work(prepared))  # type: ignore[misc]
        median = statistics.median(spent)
        shown = f"{name:<14} {median:6.3f}  ({min(spent):.3f} to {max(spent):.3f})"
        print(f"{shown}, target {TARGETS[name]:g}: {TARGETS[name] / median:.0f} times less")


if __name__ == "__main__":
    main()
