"""What the hooks cost a build: `pio run` with nothing to do, with all four and with none in turn; a signature; an SBOM.

    python3 bench/build_overhead.py [pairs]

Prints medians of CPU and wall time and the ratios pair by pair: a machine's speed drifts, a ratio hardly does. Needs
the packages of the extra `test`.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from otaseal.keys import signers
from otaseal.pki import Authority, Role
from support.by_bytes import sign_firmware
from support.hooks import ALL_HOOKS, SELF_UPDATING, opt_in, write_key
from support.images import build_image
from support.pio import Project, core_dir

PAIRS = 15
SIGNATURES = 20
CODE_SIZE = 450_000


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    with tempfile.TemporaryDirectory() as folder:
        plain, hooked = _projects(Path(folder))
        for project in (plain, hooked):
            project.run()
            project.run()
        rows = [(_cost(plain.run), _cost(hooked.run)) for _ in range(pairs)]
        signing_rows = [(_cost(hooked.run)[0], _cost(lambda: _sign_again(hooked))[0]) for _ in range(pairs)]
        listing = {"OTASEAL_SBOM": "yes"}
        hooked.run(env=listing)
        listing_rows = [
            (_cost(lambda: _sign_again(hooked))[0], _cost(lambda: _sign_again(hooked, listing))[0])
            for _ in range(pairs)
        ]
    for index, name in enumerate(("CPU", "wall")):
        without = [a[index] for a, _ in rows]
        ratios = [b[index] / a[index] for a, b in rows]
        print(
            f"no-op pio run, {name:<4}  without hooks {statistics.median(without):.3f} s,"
            f"  with all four: {statistics.median(ratios):.3f} times (median of {pairs} pairs)"
        )
    added = statistics.median(b - a for a, b in signing_rows)
    print(f"pio run that signs, CPU   {added * 1000:.0f} ms more than one with nothing to do (median of {pairs} pairs)")
    added = statistics.median(b - a for a, b in listing_rows)
    print(f"pio run with an SBOM, CPU {added * 1000:.0f} ms more than one that only signs (median of {pairs} pairs)")
    _signature()


def _sign_again(project: Project, environment: Mapping[str, str] | None = None) -> None:
    project.build("firmware.bin.signed").unlink()
    project.build("firmware.bin.cdx.json").unlink(missing_ok=True)
    project.run(env=environment)


def _projects(folder: Path) -> tuple[Project, Project]:
    core = core_dir(folder)
    sources = {"main.cpp": SELF_UPDATING}
    line = write_key(folder / "signing.key", signers.new_signing_key())
    filesystem = "board_build.filesystem = littlefs"
    plain = Project(folder / "plain", core).create([filesystem], sources=sources)
    hooked = Project(folder / "hooked", core).create([*opt_in(*ALL_HOOKS), line, filesystem], sources=sources)
    authority = Authority.create(role=Role.SERVER, product="bench", now=datetime.now(timezone.utc))
    hooked.write("certs/ca.pem", authority.certificate_pem)
    return plain, hooked


def _cost(work: Callable[[], object]) -> tuple[float, float]:
    """Return CPU seconds of the child processes, and wall seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - start


def _signature() -> None:
    signer = signers.RsaSigner(signers.new_signing_key())
    firmware = build_image(code_size=CODE_SIZE)
    sign_firmware(firmware, signer, embeds_key=False)
    times = []
    for _ in range(SIGNATURES):
        start = time.process_time()
        sign_firmware(firmware, signer, embeds_key=False)
        times.append(time.process_time() - start)
    print(f"sign and judge {len(firmware)} bytes  {statistics.median(times) * 1000:.1f} ms of CPU, in a warm process")


if __name__ == "__main__":
    main()
