"""One verdict for one file: the same as that of the whole virtual ESP32, which has a flash around it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import VerificationError
from otaseal.image import signing
from otaseal.image.firmware import Firmware
from otaseal.image.inspection import inspect
from otaseal.rehearsal.candidate import repaired
from otaseal.simulator.esp32 import device as virtual
from otaseal.simulator.esp32.nor import Flash
from otaseal.simulator.esp32.receive import update
from otaseal.simulator.esp32.verdict import LIBRARY, STOCK, judge_file
from support.chips import public_pem, sign
from support.esp32_boards import board, image, sealed
from support.rsa_keys import make_rsa

SPOILS = {
    "sound": lambda raw: raw,
    "hash": lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
    "code": lambda raw: raw[:4000] + bytes([raw[4000] ^ 1]) + raw[4001:],
    "chip": lambda raw: raw[:12] + b"\x05" + raw[13:],
    "text": lambda raw: b"text" + raw[4:],
    "short": lambda raw: raw[:3000],
}


@pytest.mark.parametrize("signer", ["own", "another", "none"])
@pytest.mark.parametrize("name", SPOILS)
@pytest.mark.parametrize("who", [STOCK, LIBRARY])
def test_it_is_that_of_the_device(who: str, name: str, signer: str, rsa_key: rsa.RSAPrivateKey) -> None:
    running = board(image(rsa_key, counter=3 if who == LIBRARY else None))
    raw = SPOILS[name](image(rsa_key, 2))
    data = raw if signer == "none" else sealed(raw, rsa_key if signer == "own" else make_rsa(2048, 9))
    verdict = judge_file(who, "esp32", public_pem(rsa_key), data)
    staged = update(Flash(running.flash), data, virtual._setup(running, None))
    assert verdict.accepted is verdict.boots is (staged.fault is None)
    assert not verdict.bricks
    assert verdict.reason


def test_sign_judges_as_the_library_where_it_is_in_the_firmware(rsa_key: rsa.RSAPrivateKey) -> None:
    good = Firmware(sealed(image(rsa_key, 2), rsa_key))
    signing.verify_firmware(good, rsa_key.public_key())
    raw = image(rsa_key, 2)
    moved = raw[:0x18] + b"\x24" + raw[0x19:]  # where no page of flash can be mapped to it
    with pytest.raises(VerificationError, match=r"a device with the OtaSeal library would not .* can be mapped"):
        signing.check_runs(Firmware(sealed(repaired(moved), rsa_key)), rsa_key.public_key())


def test_inspect_says_what_either_makes_of_it(rsa_key: rsa.RSAPrivateKey) -> None:
    foreign = inspect(sign(image(rsa_key, 2, counter=None), make_rsa(2048, 9)), {"ours": rsa_key.public_key()})
    lines = [line for line in foreign.lines() if line.startswith(("stock", "OtaSeal"))]
    assert lines[0] == "stock         accepted: nothing is verified: any image is accepted"
    assert lines[1].startswith("OtaSeal       refused, error 30: the signature does not fit")
