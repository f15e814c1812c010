"""The library's port to arduino-pico, cut off everywhere and given images with a fault: an order is whole, or none."""

from __future__ import annotations

import os
import re
import ssl
from functools import partial
from pathlib import Path

import pytest

from otaseal.delta import making
from otaseal.keys import public
from support.firmware import OWN, Signing, bundle, identity, pack, run_program
from support.pico_images import build_image
from support.servers import World

pytestmark = pytest.mark.proof

THOROUGH = bool(os.environ.get("OTASEAL_THOROUGH"))
CUTS, MUTATIONS = (4_000, 100_000) if THOROUGH else (200, 1_500)
FILESYSTEM = (0x100000, 0x2FF000)  # of this device: offset and bytes
image = partial(build_image, "rp2040", filesystem=FILESYSTEM)
RAW = image(code=bytes(range(256)) * 8)


def matrix(
    programs: dict[str, Path], folder: Path, what: str, files: dict[str, bytes], count: int, base: bytes | None = None
) -> dict[str, int]:
    for name, content in {**files, "base": base or b""}.items():
        (folder / name).write_bytes(content)
    more = [] if base is None else [folder / "base"]
    printed = run_program(programs["matrix"], what, *(folder / name for name in files), str(count), "1", *more)
    return {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", printed)}


@pytest.mark.parametrize("patched", [False, True])
def test_a_power_cut_leaves_no_order_or_a_whole_image(
    patched: bool, pico_programs: dict[str, Path], world: World, signing: Signing, tmp_path: Path
) -> None:
    signed, base = signing.sign(signing.payload(image(code=b""))), RAW if patched else None
    files = {
        "key": public.public_pem(signing.key.public_key()),
        "identity": identity(OWN),
        "certs": pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())),
        "signed": signed if base is None else making.make(base, signed),
    }
    found = matrix(pico_programs, tmp_path, "install", files, CUTS, base)
    assert found["none"] + found["whole"] == CUTS
    assert min(found["none"], found["whole"]) > 0, "cuts before and after the order"
    assert (found["wrong"], found["lost"], found["stuck"]) == (0, 0, 0), found


def test_no_mutation_is_installed(pico_programs: dict[str, Path], signing: Signing, tmp_path: Path) -> None:
    files = {
        "key": public.public_pem(signing.key.public_key()),
        "identity": identity(OWN),
        "images": bundle([signing.sign(signing.payload(image(code=bytes([seed]) * 500))) for seed in range(3)]),
    }
    found = matrix(pico_programs, tmp_path, "mutate", files, MUTATIONS)
    assert found["different"] == 0
    assert found["accepted"] < MUTATIONS / 10, "some mutations change nothing"
