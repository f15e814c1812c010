"""What a release costs over the air as a patch from the release before, beside whole forms and other patches.

    python -m pip install heatshrink2 zopfli       # and detools, whose column is empty where it is missing
    python bench/delta.py FOLDER... [--steps N] [--zopfli] [--chip]

Each folder holds one project's firmware.bin files, named so that their order is that of the releases; they are shown by
the first digits of their SHA-256. Every target gets a manifest and a signature of a key made for this, so that a patch
and each whole form are what a device would load. `--steps` takes the last N of each folder; `--zopfli` costs seconds
an image. `--chip` has the device's library decode each patch on the emulated CPU (docs/adr/0007-emulated-cpu.md), and
counts its instructions, without those of radio, flash and TLS; it needs what bench/lx106.py needs.

`plain` is the baseline: bsdiff's control, difference and extra streams interleaved, runs of zeros counted, and
heatshrink with a window of 256 bytes. `no map` is our stream without what knows of addresses and code. Memory is that
of a process which makes the patch and does nothing else. What it prints is measured, never asserted.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"
sys.path[:0] = [str(TOOLS), str(ROOT / "tests")]

import itertools

import bsdiff4
import heatshrink2

from otaseal.chips import images
from otaseal.delta import alignment, applying, bases, header, layout, making
from otaseal.delta.relocation import AddressMap
from otaseal.errors import InputError
from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.keys.signers import RsaSigner, new_signing_key
from support import lx106

layout.SAYS_RISCV = b""  # public firmware has no library in it: its patches are made as if it had

ALONE = """
import re, sys
from pathlib import Path
from otaseal.delta.making import make
make(*(Path(name).read_bytes() for name in sys.argv[1:]))
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
MEDIAN_SIZE = 262_144
"""Bytes of the image for which docs/adr/0028-patches.md has what a chip pays."""
COLUMNS = ("raw", "gzip", "zopfli", "plain", "detools", "no map", "patch")


@dataclass(frozen=True)
class Step:
    """One release after another: the bytes of each form, and the processor seconds of making and applying the patch.

    `chip` are instructions, 0 where they are not counted.
    """

    names: str
    sizes: dict[str, int]
    making: float
    applying: float
    chip: int

    def share(self, form: str) -> float:
        """Return a form's bytes as per cent of the raw image's."""
        return 100 * self.sizes[form] / self.sizes["raw"]


@cache
def signer() -> RsaSigner:
    return RsaSigner(new_signing_key())


def signed(image: bytes) -> bytes:
    """Return the signed image with a manifest, as the build makes it."""
    claim = manifest.Claim("bench", board="any", version=hashlib.sha256(image).hexdigest()[:12])
    return signed_image.sign(image + manifest.serialise(manifest.make(claim)), signer())


def plain(base: bytes, new: bytes) -> bytes:
    """Return the baseline: streams interleaved, zeros counted, heatshrink with a window of 256 bytes."""
    stream, source, place = bytearray(), 0, 0
    for copied, added, seek in alignment.control(bsdiff4.diff(base, new)):
        stream += varint(copied) + zero_runs(base[source : source + copied], new[place : place + copied])
        stream += varint(added) + new[place + copied : place + copied + added] + varint(2 * abs(seek) + (seek < 0))
        source, place = source + copied + seek, place + copied + added
    return heatshrink2.compress(bytes(stream), window_sz2=8, lookahead_sz2=4)


def zero_runs(old: bytes, new: bytes) -> bytes:
    """Return the differences of two strings of one length: equal bytes counted, others as they differ."""
    unlike = bytes(after - before & 0xFF for before, after in zip(old, new, strict=True))
    stream, done = bytearray(), 0
    for found in re.finditer(rb"[^\0]+(?:\0{1,2}[^\0]+)*", unlike, re.DOTALL):
        stream += varint(found.start() - done) + varint(len(found[0])) + found[0]
        done = found.end()
    return bytes(stream + varint(len(unlike) - done))


def varint(number: int) -> bytes:
    stream = bytearray()
    while number >= 0x80:
        stream.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*stream, number])


def without_map(base: bytes, new: bytes) -> int:
    """Return the bytes of our patch without a map."""
    copies = alignment.align(base, new, layout.Layout(), layout.Layout())
    return header.SIZE + len(making.Stream(base, new, (), AddressMap()).coded(copies))


def with_detools(base: bytes, new: bytes) -> int:
    """Return the bytes of detools' sequential patch with heatshrink, 0 where it is not installed."""
    if importlib.util.find_spec("detools") is None:
        return 0
    import detools

    patch = io.BytesIO()
    detools.create_patch(io.BytesIO(base), io.BytesIO(new), patch, compression="heatshrink")
    return len(patch.getvalue())


def compressed(target: bytes, method: str) -> int:
    payload = signed_image.parse(target).payload
    return len(gzip_payload.compress(payload, method)) + len(target) - len(payload)


def on_chip(base: bytes, patch: bytes, target: bytes) -> int:
    """Return the instructions of the library's decoder, which has to make the target."""
    decoded = lx106.decode(base, patch)
    if decoded.error or decoded.sha256 != hashlib.sha256(target).hexdigest():
        raise SystemExit(f"the library makes something else, or error {decoded.error}")
    return decoded.cost


def step(old: bytes, new: bytes, *, zopfli: bool, chip: bool) -> Step:
    """Return what the update from one firmware.bin to the next costs, checked by applying the patch."""
    target = signed(new)
    base = bases.for_target(images.parse(old), images.parse(new))
    begun = time.process_time()
    patch = making.make(base, target)
    made = time.process_time()
    if applying.apply(base, patch) != target:
        raise SystemExit("the patch makes something else")
    applied = time.process_time()
    sizes = {
        "raw": len(target),
        "gzip": compressed(target, "gzip"),
        "zopfli": compressed(target, "zopfli") if zopfli else 0,
        "plain": len(plain(base, target)),
        "detools": with_detools(base, target),
        "no map": without_map(base, target),
        "patch": len(patch),
    }
    names = " to ".join(hashlib.sha256(data).hexdigest()[:8] for data in (old, new))
    return Step(names, sizes, made - begun, applied - made, on_chip(base, patch, target) if chip else 0)


def steps(folder: Path, count: int, *, zopfli: bool, chip: bool) -> Iterator[Step]:
    """Yield the last steps of a folder; what is no image of a known chip, or the same twice, is passed over."""
    kept: list[bytes] = []
    for path in sorted(folder.glob("*.bin")):
        data = path.read_bytes()
        try:
            images.parse(data)
        except InputError:
            continue
        if not kept or kept[-1] != data:
            kept.append(data)
    for old, new in list(itertools.pairwise(kept))[-count:]:
        yield step(old, new, zopfli=zopfli, chip=chip)


def memory(base: Path, new: Path) -> float:
    """Return the megabytes of a process that makes one patch."""
    command = [sys.executable, "-c", ALONE, str(base), str(new)]
    done = subprocess.run(command, env={"PYTHONPATH": str(TOOLS)}, check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def summary(found: list[Step]) -> None:
    total = {form: sum(one.sizes[form] for one in found) for form in COLUMNS}
    print(f"\n{len(found)} steps")
    for form in filter(total.get, COLUMNS[1:]):
        shares = sorted(one.share(form) for one in found)
        quarter = len(shares) // 4
        print(
            f"{form:<8} median {statistics.median(shares):6.2f} %, quartiles {shares[quarter]:.2f} and "
            f"{shares[-quarter - 1]:.2f} %, worst {shares[-1]:.2f} %, sum {total[form]}"
        )
    print(f"sum: {total['patch'] / total['plain']:.2f} of plain, {total['patch'] / total['no map']:.2f} of no map")
    ratio = statistics.median(one.sizes["gzip"] / one.sizes["patch"] for one in found)
    wholes = [min(one.sizes["gzip"], one.sizes["zopfli"] or one.sizes["gzip"]) for one in found]
    larger = sum(one.sizes["patch"] > whole for one, whole in zip(found, wholes, strict=True))
    print(f"gzip in the median {ratio:.0f} times the patch; {larger} patches are larger than the smallest gzip")
    if any(one.chip for one in found):
        scaled = sorted(one.chip / one.sizes["raw"] * MEDIAN_SIZE / 1e6 for one in found)
        quarter = len(scaled) // 4
        print(
            f"chip, for {MEDIAN_SIZE} bytes: median {statistics.median(scaled):.1f} million instructions, quartiles "
            f"{scaled[quarter]:.1f} and {scaled[-quarter - 1]:.1f}, worst {scaled[-1]:.1f}"
        )
    seconds = [one.making for one in found]
    print(f"making: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--zopfli", action="store_true")
    parser.add_argument("--chip", action="store_true")
    arguments = parser.parse_args()
    found = []
    print(f"{'step':<22}{''.join(f'{form:>9}' for form in COLUMNS)}     of raw   making  applying")
    for folder in arguments.folders:
        for one in steps(folder, arguments.steps, zopfli=arguments.zopfli, chip=arguments.chip):
            row = "".join(f"{one.sizes[form]:>9}" for form in COLUMNS)
            print(
                f"{one.names:<22}{row}  {one.share('patch'):7.3f} % {one.making:6.2f} s {one.applying:7.2f} s"
                + (f" {one.chip / 1e6:6.1f} M" if one.chip else ""),
                flush=True,
            )
            found.append(one)
    summary(found)
    largest = sorted(arguments.folders[0].glob("*.bin"))[-2:]
    print(f"memory for the last step of the first folder: {memory(*largest):.0f} MB")


if __name__ == "__main__":
    main()
