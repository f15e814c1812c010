"""Updates on the virtual ESP32: what the stock core and the library make of files, flash operation by operation."""

from __future__ import annotations

import gzip
import hashlib
import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import ConfigError
from otaseal.image import manifest, signed_image
from otaseal.simulator import library
from otaseal.simulator.error_numbers import HttpError
from otaseal.simulator.esp32 import boot, device
from otaseal.simulator.esp32.device import Esp32Device
from otaseal.simulator.esp32.nor import Flash
from otaseal.simulator.esp32.receive import Staged, update
from otaseal.simulator.esp32.slot import NOTED
from otaseal.simulator.esp32.table import APPLICATION, DATA, Partition, serialise
from otaseal.simulator.esp32.updater import UpdateError
from otaseal.simulator.library import LibraryError
from otaseal.simulator.power import Noted
from support.chips import sign
from support.esp32_boards import board, claims, image, sealed
from support.images import Signer
from support.other_images import esp32_image
from support.rsa_keys import make_rsa

MUTATIONS = 1500


def taken(running: Esp32Device, data: bytes, declared: int | None = None, md5: str | None = None) -> Staged:
    return update(Flash(running.flash), data, device._setup(running, md5), declared)


def started(running: Esp32Device, staged: Staged) -> bytes:
    """Return the application that runs after a restart."""
    flash = Flash(staged.flash)
    found = boot.start(flash, running.table, running.chip)
    assert found.slot is not None
    return flash.read(found.slot.offset, found.application.length)


def spoilt(data: bytes, at: int, value: bytes | None = None) -> bytes:
    value = value or bytes([data[at] ^ 1])
    return data[:at] + value + data[at + len(value) :]


def test_the_library_takes_its_own_and_writes_the_image_alone(rsa_key: rsa.RSAPrivateKey) -> None:
    running, new = board(image(rsa_key)), image(rsa_key, 2)
    staged = taken(running, sealed(new, rsa_key))
    assert staged.fault is None
    assert started(running, staged) == new
    slot = running.table.slots[1]
    assert staged.flash[slot.offset : slot.end] == new.ljust(slot.size, b"\xff"), "neither manifest nor signature"


@pytest.mark.parametrize("signer", ["own", "next", "shorter next", "longer next"])
def test_either_key_will_do(signer: str, rsa_key: rsa.RSAPrivateKey) -> None:
    bits = {"shorter next": 2048, "longer next": 4096}.get(signer, 3072)
    own, following = make_rsa(3072), make_rsa(bits, 7)
    running = board(image(own, next_key=following))
    new = image(own, 2)
    staged = taken(running, sealed(new, own if signer == "own" else following))
    assert staged.fault is None, staged.fault
    assert started(running, staged) == new


def test_the_stock_core_takes_whatever_starts(rsa_key: rsa.RSAPrivateKey) -> None:
    running, new = board(image(rsa_key, counter=None)), image(rsa_key, 2)
    stranger = make_rsa(2048, 9)
    for data in (new, sealed(new, rsa_key), sealed(new, stranger), sign(new, stranger), new + b"anything"):
        staged = taken(running, data)
        assert staged.fault is None
        assert started(running, staged) == new


HOSTILE = {
    "unsigned": (LibraryError.SIGNATURE, lambda new, key: new),
    "another key": (LibraryError.SIGNATURE, lambda new, key: sealed(new, make_rsa(2048, 9))),
    "no manifest": (LibraryError.NO_MANIFEST, lambda new, key: sign(new, key)),
    "length of another key": (LibraryError.SIGNATURE, lambda new, key: sealed(new, key)[:-4] + b"\x80\1\0\0"),
    "length of nothing": (LibraryError.SIGNATURE, lambda new, key: sealed(new, key)[:-4] + bytes(4)),
    "length beyond all": (LibraryError.SIGNATURE, lambda new, key: sealed(new, key)[:-4] + b"\xff" * 4),
    "a byte behind": (LibraryError.SIGNATURE, lambda new, key: sealed(new, key) + b"\0"),
    "cut at its end": (LibraryError.SIGNATURE, lambda new, key: sealed(new, key)[:-1]),
    "zeros behind, as the core wants": (
        LibraryError.SIGNATURE,
        lambda new, key: sealed(new, key)[:-4].ljust(9999, b"\0"),
    ),
    "a bit of the image": (LibraryError.SIGNATURE, lambda new, key: spoilt(sealed(new, key), 6000)),
    "a bit of the signature": (LibraryError.SIGNATURE, lambda new, key: spoilt(sealed(new, key), -9)),
    "another product": (LibraryError.PRODUCT, lambda new, key: other_product(new, key)),
    "another board": (LibraryError.BOARD, lambda new, key: sealed(new, key, board="esp32cam")),
    "a lower counter": (LibraryError.COUNTER, lambda new, key: sealed(new, key, counter=2)),
    "certificates": (LibraryError.KIND, lambda new, key: certificates(new, key)),
    "another chip": (LibraryError.NOT_FIRMWARE, lambda new, key: sealed(esp32_image(9), key)),
    "a newer revision": (LibraryError.NOT_FIRMWARE, lambda new, key: sealed(spoilt(new, 15, b"\xff\x03"), key)),
    "gzip": (LibraryError.NOT_FIRMWARE, lambda new, key: sealed(gzip.compress(new), key)),
    "a damaged checksum": (LibraryError.FLASH, lambda new, key: sealed(spoilt(new, len(new) - 33), key)),
    "a damaged hash": (LibraryError.FLASH, lambda new, key: sealed(spoilt(new, len(new) - 2), key)),
    "an image cut short": (LibraryError.FLASH, lambda new, key: sealed(new[:-20], key)),
    "a factory image": (LibraryError.NOT_FIRMWARE, lambda new, key: sealed(b"\xff" * 0x1000 + new, key)),
    "only an older revision": (LibraryError.FLASH, lambda new, key: sealed(spoilt(new, 17, b"\1\0"), key)),
}


def other_product(new: bytes, key: rsa.RSAPrivateKey) -> bytes:
    made = replace(claims(), product=manifest.name_id("other"))
    return signed_image.sign(manifest.attach(new, made), Signer(key))


def certificates(new: bytes, key: rsa.RSAPrivateKey) -> bytes:
    made = manifest.serialise(claims())
    return sign(new + made[:9] + b"\1" + made[10:], key)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_library_refuses(name: str, rsa_key: rsa.RSAPrivateKey) -> None:
    number, make = HOSTILE[name]
    old = image(rsa_key)
    running = board(old)
    staged = taken(running, make(image(rsa_key, 2), rsa_key))
    assert staged.fault is not None
    assert staged.fault.error == number, staged.fault
    assert started(running, staged) == old
    slot = running.table.slots[1]
    activated = staged.step == "activation"
    assert (staged.flash[slot.offset] == 0xE9) is activated, "the first bytes come last"


def test_what_is_too_large_for_the_slot_is_refused_before_it_is_written(rsa_key: rsa.RSAPrivateKey) -> None:
    running = board(image(rsa_key))
    large = image(rsa_key, 2) + bytes(running.room)
    for library_there in (True, False):
        chosen = running if library_there else board(image(rsa_key, counter=None))
        staged = taken(chosen, sealed(large, rsa_key))
        assert staged.fault is not None
        assert (staged.step, staged.flash) == ("space", chosen.flash)
        assert staged.fault.error == (LibraryError.SPACE if library_there else UpdateError.SIZE)


def test_a_body_that_ends_early_leaves_the_old_firmware(rsa_key: rsa.RSAPrivateKey) -> None:
    whole = sealed(image(rsa_key, 2), rsa_key)
    for counter, number in ((3, LibraryError.TRUNCATED), (None, UpdateError.STREAM)):
        old = image(rsa_key, counter=counter)
        running = board(old)
        for size in (0, 1, 2047, 2048, 9000, len(whole) - 1):
            staged = taken(running, whole[:size], len(whole))
            assert staged.fault is not None
            assert staged.fault.error == number
            assert started(running, staged) == old


def test_a_stock_device_goes_by_the_md5_that_is_announced(rsa_key: rsa.RSAPrivateKey) -> None:
    running, new = board(image(rsa_key, counter=None)), image(rsa_key, 2)
    right = hashlib.md5(new, usedforsecurity=False).hexdigest()
    assert taken(running, new, md5=right.upper()).fault is None
    for wrong, number in (("0" * 32, UpdateError.MD5), ("0" * 31, HttpError.SERVER_FAULTY_MD5)):
        fault = taken(running, new, md5=wrong).fault
        assert fault is not None
        assert fault.error == number


@pytest.mark.parametrize("counter", [3, None])
def test_a_table_with_one_slot_has_no_room(counter: int | None, rsa_key: rsa.RSAPrivateKey) -> None:
    """As huge_app.csv and no_ota.csv: the next slot is the one that runs, and the core would write over it."""
    single = serialise(
        (Partition("otadata", DATA, 0, 0xE000, 0x2000), Partition("app0", APPLICATION, 0x10, 0x10000, 0x300000))
    )
    running = board(image(rsa_key, counter=counter), partitions=single)
    assert running.room == 0x300000
    staged = taken(running, sealed(image(rsa_key, 2), rsa_key))
    assert (staged.step, staged.crashed, staged.flash) == ("space", counter is None, running.flash)


def test_the_boot_loader_does_not_go_where_a_refused_update_was_written_over_a_waiting_one(
    rsa_key: rsa.RSAPrivateKey,
) -> None:
    running = board(image(rsa_key))
    waiting = taken(running, sealed(image(rsa_key, 2), rsa_key))
    again = replace(running, flash=waiting.flash)
    staged = taken(again, sealed(image(rsa_key, 3), make_rsa(2048, 9)))
    assert staged.fault is not None
    assert started(again, staged) == image(rsa_key)


def test_the_library_goes_on_with_what_is_in_the_slot_and_trusts_none_of_it(rsa_key: rsa.RSAPrivateKey) -> None:
    running, new = board(image(rsa_key)), image(rsa_key, 2, more=bytes(range(256)) * 200)
    data, slot = sealed(new, rsa_key), running.table.slots[1]
    interrupted = taken(running, data[:-300], len(data))
    setup = replace(device._setup(running, None), noted=2 * NOTED)
    operations = Noted([("", [])])
    staged = update(Flash(interrupted.flash, operations), data, setup)
    assert started(running, staged) == new
    written = [one.at - slot.offset for one in operations.phases[0][1] if slot.offset < one.at < slot.end]
    assert min(written) == 2 * NOTED, "no byte before is erased or written but the first ones, at the end"
    other = spoilt(interrupted.flash, slot.offset + NOTED)
    refused = update(Flash(other), data, setup)
    assert refused.fault is not None
    assert refused.fault.error == LibraryError.SIGNATURE


@pytest.mark.parametrize("counter", [3, None])
def test_a_power_cut_between_any_two_operations_leaves_old_or_new(
    counter: int | None, rsa_key: rsa.RSAPrivateKey
) -> None:
    running = board(image(rsa_key, counter=counter))
    data = sealed(image(rsa_key, 2, counter=counter, more=bytes(40_000)), rsa_key)
    cuts = running.cut_power(data, 1000)
    assert cuts.tried == cuts.operations > 20
    assert cuts.lost == 0


def test_there_are_no_power_cuts_in_an_update_that_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match="refuses"):
        board(image(rsa_key)).cut_power(sealed(image(rsa_key, 2), make_rsa(2048, 9)))


def test_power_cuts_that_lose_a_device_are_seen(rsa_key: rsa.RSAPrivateKey) -> None:
    running = board(image(rsa_key))
    broken = replace(running, flash=running.flash[:0x10000] + b"\xff" * 0x140000 + running.flash[0x150000:])
    assert broken.cut_power(sealed(image(rsa_key, 2), rsa_key), 8).lost


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with bits, bytes, ranges or its length changed."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.choice((chance.randrange(len(data)), chance.randrange(64), len(data) - 1 - chance.randrange(400)))
        at = min(at, len(changed) - 1)
        kind = chance.randrange(5)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.randrange(256)
        elif kind == 2:
            del changed[at : at + chance.choice((1, 4, 16, 64, 260))]
        elif kind == 3:
            changed[at:at] = bytes(chance.choice((1, 4, 16, 256)))
        else:
            other = chance.randrange(len(changed))
            changed[at : at + 16] = changed[other : other + 16]
    return bytes(changed)


def no_mutation_is_activated(rsa_key: rsa.RSAPrivateKey, count: int, seed: int) -> int:
    """Return how many of `count` mutated files were sent; each is refused, and the old firmware starts."""
    rows = [Partition(f"app{one}", APPLICATION, 0x10 + one, 0x10000 + one * 0x20000, 0x20000) for one in (0, 1)]
    table = serialise((Partition("otadata", DATA, 0, 0xE000, 0x2000), *rows))
    running = board(image(rsa_key), partitions=table, flash_size=0x50000)
    data, sent, chance = sealed(image(rsa_key, 2), rsa_key), 0, random.Random(seed)
    before, setup = running.flash[0xE000:0x10000], device._setup(running, None)
    for number in range(count):
        changed = mutated(data, chance)
        if changed == data:
            continue
        staged, sent = update(Flash(running.flash), changed, setup), sent + 1
        assert staged.fault is not None, number
        assert staged.flash[0xE000:0x10000] == before, number
    return sent


def test_mutated_files_are_never_activated(rsa_key: rsa.RSAPrivateKey) -> None:
    assert no_mutation_is_activated(rsa_key, MUTATIONS, 20261127) > MUTATIONS * 0.9


def test_a_payload_without_its_manifest_is_refused_by_the_rules_of_the_library(rsa_key: rsa.RSAPrivateKey) -> None:
    own = library.read_record(manifest.serialise(claims(), manifest.IDENTITY_MAGIC))
    fault = library.judge_update(image(rsa_key, 2), own, library.Memory())
    assert fault is not None
    assert fault.error is LibraryError.NO_MANIFEST
