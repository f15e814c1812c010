"""Files out of LittleFS images against littlefs-python, which is the littlefs code that everybody uses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from littlefs import LittleFS

from otaseal.errors import InputError
from otaseal.image import littlefs

BLOCK, COUNT, UNIT = 4096, 256, 256
SIZES = st.one_of(st.sampled_from([0, 1, 63, 64, 512, 1022, BLOCK, BLOCK + 1, 3 * BLOCK - 12]), st.integers(0, 12000))
STEPS = st.lists(st.tuples(st.sampled_from(["write", "remove", "folder"]), st.integers(0, 30), SIZES), max_size=40)


def make(version: int = 0x20000, name_max: int = 32, cycles: int = -1) -> LittleFS:
    return LittleFS(
        block_size=BLOCK,
        block_count=COUNT,
        read_size=UNIT,
        prog_size=UNIT,
        cache_size=UNIT,
        lookahead_size=UNIT,
        name_max=name_max,
        disk_version=version,
        block_cycles=cycles,
    )


def content(size: int) -> bytes:
    return bytes(n * 31 % 251 for n in range(size))


def write(filesystem: LittleFS, name: str, data: bytes) -> None:
    with filesystem.open(name, "wb") as file:
        file.write(data)


def perform(filesystem: LittleFS, step: str, name: str, size: int) -> None:
    if step == "write":
        write(filesystem, "file" + name, content(size))
    elif step == "remove":
        filesystem.remove("file" + name)
    else:
        filesystem.mkdir("folder" + name)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_every_file_is_read_as_littlefs_reads_it(steps: list[tuple[str, int, int]]) -> None:
    filesystem = make()
    for step, number, size in steps:
        try:
            perform(filesystem, step, f"{number}-{'x' * (number % 20)}", size)
        except (OSError, FileNotFoundError):
            continue  # not there, or there already
    image = bytes(filesystem.context.buffer)
    for name in filesystem.listdir("/"):
        if name.startswith("file"):
            with filesystem.open(name, "rb") as file:
                assert littlefs.read_file(image, name, BLOCK, COUNT) == file.read()
        else:
            assert littlefs.read_file(image, name, BLOCK, COUNT) is None
    assert littlefs.read_file(image, "certs.ar", BLOCK, COUNT) is None


def test_a_root_of_many_blocks_is_read_to_its_end() -> None:
    filesystem = make()
    for number in range(120):
        write(filesystem, f"a-rather-long-name-{number:03}", content(number % 60))
    image = bytes(filesystem.context.buffer)
    for number in range(120):
        name = f"a-rather-long-name-{number:03}"
        assert littlefs.read_file(image, name, BLOCK, COUNT) == content(number % 60)


def test_a_root_that_has_moved_is_found() -> None:
    """With few cycles a block, littlefs moves the root away from the first two blocks."""
    filesystem = make(cycles=2)
    for number in range(400):
        write(filesystem, "certs.ar", content(number))
    assert littlefs.read_file(bytes(filesystem.context.buffer), "certs.ar", BLOCK, COUNT) == content(399)


@pytest.mark.parametrize(
    ("filesystem", "blocks", "reason"),
    [
        (make(version=0x20001), COUNT, "disk version 2.1"),
        (make(name_max=33), COUNT, "names of 33 bytes"),
        (make(), COUNT + 1, f"has {COUNT} blocks of {BLOCK} bytes, and the partition {COUNT + 1}"),
    ],
)
def test_what_the_core_does_not_mount_is_refused(filesystem: LittleFS, blocks: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        littlefs.read_file(bytes(filesystem.context.buffer), "certs.ar", BLOCK, blocks)


def test_arduino_pico_mounts_more() -> None:
    for filesystem in (make(), make(version=0x20001), make(name_max=255)):
        write(filesystem, "certs.ar", content(3000))
        image = bytes(filesystem.context.buffer)
        assert littlefs.read_file(image, "certs.ar", BLOCK, COUNT, littlefs.PICO) == content(3000)
    with pytest.raises(InputError, match="and the partition 255 of 4096"):
        littlefs.read_file(image, "certs.ar", BLOCK, COUNT - 1, littlefs.PICO)


@pytest.mark.parametrize("image", [b"", b"\xff" * BLOCK * COUNT, bytes(BLOCK * COUNT), b"littlefs" * 1000])
def test_what_is_no_littlefs_is_refused(image: bytes) -> None:
    with pytest.raises(InputError, match="there is no LittleFS"):
        littlefs.read_file(image, "certs.ar", BLOCK, COUNT)


def damaged(data: st.DataObject, image: bytes) -> bytes:
    changed = bytearray(image)
    for _ in range(data.draw(st.integers(1, 4))):
        block = data.draw(st.integers(0, 5))
        place = block * BLOCK + data.draw(st.one_of(st.integers(0, 200), st.integers(0, BLOCK - 4)))
        size = data.draw(st.integers(1, 4))
        changed[place : place + size] = data.draw(st.binary(min_size=size, max_size=size))
    return bytes(changed)


@pytest.mark.proof
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_damage_gives_a_file_none_or_our_error(data: st.DataObject) -> None:
    filesystem = make()
    write(filesystem, "certs.ar", content(9000))
    filesystem.mkdir("folder")
    try:
        found = littlefs.read_file(damaged(data, bytes(filesystem.context.buffer)), "certs.ar", BLOCK, COUNT)
    except InputError:
        return
    assert found is None or len(found) <= BLOCK * COUNT
