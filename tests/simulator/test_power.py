"""Power cuts on the virtual ESP8266: what eboot starts of a flash in which its copy was broken off."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import ConfigError
from otaseal.image import gzip_payload
from otaseal.simulator import eboot
from otaseal.simulator.device import Device
from otaseal.simulator.flash import layout
from otaseal.simulator.power import SECTOR, Fate, Noted, Operation, PowerCuts, cut_everywhere
from support.chips import public_pem, sign
from support.images import build_image

SECTORS = 6


def image(key: rsa.RSAPrivateKey, seed: int, core: str = "3.1.2", boot: bytes | None = None) -> bytes:
    """Return an image of some sectors, all with the same boot loader unless `boot` is another's."""
    made = build_image(seed=seed, code_size=SECTORS * SECTOR - 6000, core=core, embedded=public_pem(key) + b"\0")
    same = build_image(seed=1, code_size=SECTORS * SECTOR - 6000, core=core, embedded=public_pem(key) + b"\0")
    return (boot or same)[:SECTOR] + made[SECTOR:]


def cuts(key: rsa.RSAPrivateKey, core: str = "3.1.2", packed: bool = False) -> PowerCuts:
    new = image(key, 2, core)
    data = sign(gzip_payload.pad4(gzip_payload.compress(new, "gzip")) if packed else new, key)
    return Device.provision(image(key, 1, core), layout("4m2m")).cut_power(data)


@pytest.mark.parametrize("packed", [False, True])
def test_the_copy_is_what_a_power_cut_ends(packed: bool, rsa_key: rsa.RSAPrivateKey) -> None:
    staged, copied = cuts(rsa_key, packed=packed).phases
    assert (staged.old, staged.lost) == (staged.operations, ())
    assert copied.operations == (SECTORS - 1) * 17, "each sector is erased and programmed, but for the boot loader's"
    assert copied.lost == tuple(range(len(copied.lost))), "from the first one on"
    assert copied.new == copied.operations - len(copied.lost) < 16, "behind the sketch's end there is only padding"
    assert copied.seconds == pytest.approx((SECTORS - 1) * (0.045 + 16 * 0.0007))


def test_before_core_3_the_boot_loader_is_copied_each_time(rsa_key: rsa.RSAPrivateKey) -> None:
    _, copied = cuts(rsa_key, "2.7.4").phases
    assert copied.operations >= SECTORS * 17
    assert copied.lost[:17] == tuple(range(17))


def test_an_update_that_is_refused_is_none(rsa_key: rsa.RSAPrivateKey) -> None:
    device = Device.provision(image(rsa_key, 1), layout("4m2m"))
    with pytest.raises(ConfigError, match="refuses"):
        device.cut_power(image(rsa_key, 2))


def test_a_loader_that_copies_the_header_last_would_be_seen_to_be_better(rsa_key: rsa.RSAPrivateKey) -> None:
    """The numbers come from the operations: in another order others are lost."""
    device, new = Device.provision(image(rsa_key, 1), layout("4m2m")), image(rsa_key, 2)
    noted = Noted()
    noted.begin("backwards")
    for at in reversed(range(SECTOR, len(new), SECTOR)):
        noted.sector(at, new[at : at + SECTOR].ljust(SECTOR, b"\xff"))

    def fate(state: bytes, _: Operation) -> Fate:
        return Fate.OLD if state.startswith(device.running) else Fate.LOST

    (found,) = cut_everywhere(device.flash, noted, fate).phases
    assert found.old < 16, "the last sector alone has padding"
    assert eboot.restart(device.flash, None, device.core).starts
