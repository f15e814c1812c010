"""A signing key rotated, lost and stolen, on devices that hold one public key: what docs/rotation.md says of them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import KeyRefusedError, VerificationError
from otaseal.image.signing_header import embedded_key
from otaseal.keys.compromised import KNOWN_KEYS
from otaseal.keys.public import fingerprint, public_pem
from otaseal.simulator.error_numbers import UpdateError
from support.by_bytes import sign_firmware
from support.command import Command, otaseal
from support.hooks import write_key
from support.images import CORES, Signer, build_image
from support.stock_fleet import Device

__all__ = ["otaseal"]

Keys = Callable[..., rsa.RSAPrivateKey]
every_core = pytest.mark.parametrize("core", CORES)
LOCKED_OUT = UpdateError.SIGN
PATH_ENDS = b"/firmware.bin.signed\0"


def raw(carries: rsa.RSAPrivateKey, core: str = "3.1.2", release: int = 1, path: str = "/blink") -> bytes:
    """Return a release that verifies with the public half of `carries` and asks at `path` for its updates."""
    extra = b"GET " + path.encode() + PATH_ENDS
    return build_image(core=core, seed=release, embedded=embedded_key(carries.public_key()) + extra)


def released(key: rsa.RSAPrivateKey, core: str = "3.1.2", release: int = 1, path: str = "/blink") -> bytes:
    """Return an ordinary release: the key that signs is the key it carries."""
    return sign_firmware(raw(key, core, release, path), Signer(key), embeds_key=True)


def bridge(
    old: rsa.RSAPrivateKey, new: rsa.RSAPrivateKey, core: str = "3.1.2", release: int = 2, path: str = "/blink"
) -> bytes:
    """Return a bridge release: signed with `old`, carrying the public half of `new`."""
    firmware = raw(new, core, release, path)
    return sign_firmware(firmware, Signer(old), embeds_key=True, next_key=new.public_key())


@pytest.fixture
def keys(rsa_keys: Keys) -> tuple[rsa.RSAPrivateKey, ...]:
    return tuple(rsa_keys(2048, index) for index in range(3))


@every_core
def test_devices_cross_by_the_bridge_and_only_by_it(core: str, keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    old, new, _ = keys
    asleep = Device(raw(old, core))
    crossed = asleep.offered(bridge(old, new, core))
    assert crossed.public_key.public_numbers() == new.public_key().public_numbers()
    later = released(new, core, 3)
    assert crossed.offered(later).offered(released(new, core, 4))

    assert asleep.refuses(later) == LOCKED_OUT == 12, "whoever skipped the bridge is locked out ..."
    assert asleep.offered(bridge(old, new, core)).offered(later), "... until the bridge is served again"
    assert crossed.refuses(released(old, core, 1)) == LOCKED_OUT, "and nobody goes back to the old key"
    assert crossed.refuses(bridge(old, new, core)) == LOCKED_OUT


def test_a_larger_key_can_follow_a_smaller_one(keys: tuple[rsa.RSAPrivateKey, ...], rsa_keys: Keys) -> None:
    small, large = keys[0], rsa_keys(3072)
    for old, new in ((small, large), (large, small)):
        crossed = Device(raw(old)).offered(bridge(old, new))
        assert crossed.offered(released(new, release=3)).public_key.key_size == new.key_size
        assert Device(raw(old)).refuses(released(new, release=3)) == LOCKED_OUT


def test_a_bridge_may_be_compressed(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    old, new, _ = keys
    packed = gzip.compress(raw(new, release=2), mtime=0)
    signed = sign_firmware(packed, Signer(old), embeds_key=True, next_key=new.public_key())
    assert Device(raw(old)).offered(signed).offered(released(new, release=3))


def test_two_rotations_need_both_bridges_in_their_order(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    first, second, third = keys
    asleep, bridges = Device(raw(first)), (bridge(first, second), bridge(second, third, release=4))
    assert asleep.refuses(bridges[1]) == LOCKED_OUT
    assert asleep.offered(bridges[0]).offered(bridges[1]).offered(released(third, release=5))


def test_a_path_for_each_key_locks_nobody_out_however_long_it_slept(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    """The bridge sends devices to another path; the old path serves the bridge for good."""
    first, second, third = keys
    server = {
        b"/blink": bridge(first, second, path="/blink-2"),
        b"/blink-2": bridge(second, third, release=4, path="/blink-3"),
        b"/blink-3": released(third, release=6, path="/blink-3"),
    }

    def path(device: Device) -> bytes:
        return device.firmware.partition(b"GET ")[2].partition(PATH_ENDS)[0]

    for key, start in ((first, "/blink"), (second, "/blink-2"), (third, "/blink-3")):
        device = Device(raw(key, release=9, path=start))
        for _ in server:
            device = device.offered(server[path(device)])
        assert device.public_key.public_numbers() == third.public_key().public_numbers()
        assert path(device) == b"/blink-3"


def test_switching_without_a_bridge_reaches_nobody(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    old, new, _ = keys
    assert Device(raw(old)).refuses(released(new, release=2)) == LOCKED_OUT


def test_a_bridge_to_a_key_that_nobody_has_is_the_last_update(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    old, lost, other = keys
    stranded = Device(raw(old)).offered(bridge(old, lost))
    for key, following in ((old, other), (other, old)):
        assert stranded.refuses(released(key, release=3)) == LOCKED_OUT
        assert stranded.refuses(bridge(key, following, release=3)) == LOCKED_OUT


@every_core
def test_with_the_signing_key_lost_nothing_is_taken_but_by_cable(
    core: str, keys: tuple[rsa.RSAPrivateKey, ...]
) -> None:
    lost, new, _ = keys
    device, before = Device(raw(lost, core)), released(lost, core)
    firmware = raw(new, core, 2)
    signature = before[-260:]
    attempts = {
        "not signed": firmware,
        "signed with another key": released(new, core, 2),
        "the signature of an older release": firmware + signature,
        "an older release with other content": before[:0x1100] + bytes(16) + before[0x1110:],
        "a bridge that the new key signs": bridge(new, lost, core),
        "a filesystem image": b"\xe9" + bytes(4095),
    }
    assert {what: device.refuses(update) for what, update in attempts.items()} == dict.fromkeys(attempts, LOCKED_OUT)
    assert device.offered(before), "what was signed while the key was there is taken for ever (F11)"


@every_core
def test_a_spare_bridge_made_in_time_saves_from_the_cable(core: str, keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    lost, spare, _ = keys
    insurance = bridge(lost, spare, core)
    device = Device(raw(lost, core)).offered(released(lost, core, 7)).offered(released(lost, core, 8))
    assert device.offered(insurance).offered(released(spare, core, 9))


def test_a_spare_bridge_is_worth_nothing_once_the_key_was_rotated(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    old, spare, new = keys
    insurance = bridge(old, spare)
    assert Device(raw(old)).offered(bridge(old, new)).refuses(insurance) == LOCKED_OUT


def test_with_the_signing_key_stolen_the_faster_one_has_the_device(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    stolen, ours, theirs = keys
    device, attack = Device(raw(stolen)), released(stolen, release=66)
    assert device.offered(attack)
    assert device.offered(bridge(stolen, ours)).refuses(attack) == LOCKED_OUT, "we came first"
    taken = device.offered(bridge(stolen, theirs, release=66))
    assert taken.refuses(bridge(stolen, ours)) == LOCKED_OUT, "they came first: by cable only"
    assert taken.refuses(released(ours, release=3)) == LOCKED_OUT


def test_a_bridge_has_to_carry_the_next_key_and_another_one(keys: tuple[rsa.RSAPrivateKey, ...]) -> None:
    old, new, other = keys

    def sign(firmware: bytes, following: rsa.RSAPrivateKey) -> bytes:
        return sign_firmware(firmware, Signer(old), embeds_key=True, next_key=following.public_key())

    for wrong in (raw(old), raw(other), build_image()):
        with pytest.raises(VerificationError, match=r"does not contain the next public key SHA256:"):
            sign(wrong, new)
    with pytest.raises(KeyRefusedError, match=r"the next public key SHA256:\w+ is the current one"):
        sign(raw(old), old)
    with pytest.raises(VerificationError, match="another public key"):
        sign_firmware(raw(new), Signer(old), embeds_key=True)


def test_the_command_signs_a_bridge_and_refuses_what_is_none(
    otaseal: Command, keys: tuple[rsa.RSAPrivateKey, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, other = keys
    here = Path.cwd()
    write_key(here / "old.key", old)
    write_key(here / "new.key", new)
    (here / "firmware.bin").write_bytes(raw(new, release=2))
    (here / "old.bin").write_bytes(raw(old))
    (here / "other.pub").write_bytes(public_pem(other.public_key()))
    sign = ("sign", "firmware.bin", "--key", "old.key", "--next-public-key")

    otaseal(*sign, "new.pub").succeeded()
    assert Device(raw(old)).offered((here / "firmware.bin.signed").read_bytes()).public_key.key_size == 2048
    assert otaseal("verify", "firmware.bin.signed", "--key", "old.pub").succeeded()
    otaseal(*sign, "other.pub").failed(1, "does not contain the next public key")
    assert not (here / "firmware.bin.signed").exists()
    otaseal(*sign, "old.pub").failed(1, "is the current one")
    otaseal(*sign, "new.key").failed(1, "is a private key")
    otaseal("sign", "old.bin", "--key", "old.key", "--next-public-key", "new.pub").failed(
        1, "does not contain the next"
    )
    monkeypatch.setenv("OTASEAL_NEXT_PUBLIC_KEY", "new.pub")
    otaseal("sign", "firmware.bin", "--key", "old.key").succeeded()
    monkeypatch.setitem(KNOWN_KEYS, fingerprint(new.public_key()).removeprefix("SHA256:"), "a test")  # type: ignore[arg-type]
    otaseal("sign", "firmware.bin", "--key", "old.key").failed(1, "is publicly known")
