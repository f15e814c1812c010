"""What takes updates on an ESP32, told from what was linked: refused by name, or allowed and named."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.hooks.linked_updaters import BEGIN, readable
from otaseal.hooks.object_code import ElfFile
from support.hooks import ALL_HOOKS, ESP32_LIBRARY, ESP32_SKETCH, opt_in, write_key
from support.peers import require
from support.pio import BLINK, Project

MakeProject = Callable[..., Project]
BOARD = "esp32dev"
PRODUCT = ("custom_otaseal_product = lamp", "custom_otaseal_version = 1.2.0")
ALLOW = "custom_otaseal_unverified_updates = allow"
PIOARDUINO = "board_build.builder = pioarduino"

WAYS = (
    "ArduinoOTAClass::_runUpdate (ArduinoOTA/ArduinoOTA.cpp)",
    "HTTPUpdate::runUpdate (HTTPUpdate/HTTPUpdate.cpp)",
    "HTTPUpdateServer::setup (src/main.cpp)",
    "SomeOtaPage::begin (SomeOtaPage/SomeOtaPage.cpp)",
    "takeAnything (src/main.cpp)",
    "writeSlot (src/main.cpp)",
)
SKETCH = """\
#include <Arduino.h>
#include <ArduinoOTA.h>
#include <HTTPUpdate.h>
#include <HTTPUpdateServer.h>
#include <OtaSeal.h>
#include <SomeOtaPage.h>
#include <Update.h>
#include <esp_ota_ops.h>

WebServer server;
HTTPUpdateServer updater;

__attribute__((noinline)) void takeAnything() {
  if (Update.begin(10)) Update.end();
}

__attribute__((noinline)) static int writeSlot() {
  esp_ota_handle_t handle;
  return esp_ota_begin(nullptr, 0, &handle);
}

void setup() {
  ArduinoOTA.begin();
  updater.setup(&server);
  SomeOtaPage().begin();
}

void loop() {
  WiFiClient client;
  httpUpdate.update(client, "192.168.178.123", 80, "/firmware.bin");
  ArduinoOTA.handle();
  takeAnything();
  writeSlot();
  pollForUpdates();
}
"""
"""Six ways beside the library: three of the core, one of another library, and two of the sketch's own."""
SOME_OTA_PAGE = {
    "../lib/SomeOtaPage/SomeOtaPage.h": "#pragma once\nstruct SomeOtaPage {\n  void begin();\n};\n",
    "../lib/SomeOtaPage/SomeOtaPage.cpp": (
        '#include "SomeOtaPage.h"\n#include <Update.h>\nvoid SomeOtaPage::begin() { Update.begin(1); }\n'
    ),
}
"""A library of another name, as many projects have one."""
SOURCES = {"main.cpp": SKETCH, **ESP32_LIBRARY, **SOME_OTA_PAGE}
builders = pytest.mark.parametrize("builder", ["", PIOARDUINO], ids=["official", "pioarduino"])


@pytest.mark.build
@pytest.mark.proof
@builders
def test_ways_beside_the_library_are_refused_by_name(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, builder: str
) -> None:
    lines = [*opt_in(*ALL_HOOKS), write_key(tmp_path / "signing.key", rsa_key), *PRODUCT, builder]
    made = esp32_project(*lines, ALLOW, sources=SOURCES)
    run = made.run()
    ways = f"this firmware takes updates that nothing verifies, by {', '.join(WAYS)}\n"
    assert f"otaseal: warning: {ways}" in run.stderr
    assert "alone writes updates" not in run.stdout
    signed = made.build("firmware.bin.signed", BOARD)
    assert signed.exists()

    made.configure(["board_build.filesystem = littlefs", *lines], board=BOARD)
    for _ in range(2):  # what was refused is not there in the next run either
        run = made.run(check=False)
        assert f"otaseal: error: {ways}" in run.stderr
        assert f"; or, if devices may take anything: {ALLOW}\n" in run.stderr
        assert not signed.exists()
        assert not made.build("firmware.bin", BOARD).exists()


@pytest.mark.build
@pytest.mark.proof
@builders
def test_what_is_included_and_not_linked_does_not_count(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, builder: str
) -> None:
    """The library finder compiles all of them, and the linker drops what nobody calls."""
    headers = "".join(line for line in SKETCH.splitlines(keepends=True) if line.startswith("#include"))
    key = write_key(tmp_path / "signing.key", rsa_key)
    sources = {**SOURCES, "main.cpp": headers + ESP32_SKETCH}
    made = esp32_project(*opt_in(*ALL_HOOKS), key, *PRODUCT, builder, sources=sources)
    run = made.run()
    assert "HTTPUpdate.cpp" in run.stdout
    assert "the OtaSeal library alone writes updates" in run.stdout
    if builder:  # its objects are linked by themselves, and not as an archive
        assert b"HTTPUpdateC" in made.build("firmware.elf", BOARD).read_bytes()


@pytest.mark.build
@pytest.mark.proof
def test_firmware_without_the_library_is_refused(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    lines = [*opt_in("verify_updates", "sign_firmware"), write_key(tmp_path / "signing.key", rsa_key), *PRODUCT]
    made = esp32_project(*lines, sources={"main.cpp": BLINK})
    refused = "this firmware has no OtaSeal library, and on this chip nothing else verifies updates"
    assert f"otaseal: error: {refused}\n" in made.run(check=False).stderr
    assert not made.build("firmware.bin", BOARD).exists()
    for name, text in SOURCES.items():
        made.write(f"src/{name}", text.replace("  pollForUpdates();", ""))
    run = made.run(check=False)
    assert f"{refused}; it takes updates that nothing verifies, by {', '.join(WAYS)}\n" in run.stderr
    made.configure(["board_build.filesystem = littlefs", *lines, ALLOW], board=BOARD)
    assert f"otaseal: warning: {refused}\n" in made.run().stderr
    assert made.build("firmware.bin.signed", BOARD).exists()


@pytest.mark.build
@pytest.mark.proof
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-flto", "is compiled for link-time optimization, and what in it takes updates cannot be told"),
        ("-Wl,--strip-all", "the program has no symbols, and what in it takes updates cannot be told"),
    ],
)
def test_what_cannot_be_told_is_refused(
    esp32_project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, flags: str, message: str
) -> None:
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = esp32_project(*opt_in("verify_updates"), key, *PRODUCT, f"build_flags = {flags}", sources=SOURCES)
    run = made.run(check=False)
    assert message in run.stderr
    assert not made.build("firmware.bin", BOARD).exists()


CALLER = """\
struct Updater { bool begin(unsigned long size); };
struct UpdateClass { bool begin(unsigned long size, int command); };
extern UpdateClass Update;
extern Updater other;
struct Page { bool serve(); bool stop(); };
bool Page::serve() { return Update.begin(1, 2); }
bool Page::stop() { return other.begin(1); }
static bool hidden(unsigned long size) { return Update.begin(size, 0); }
bool (*volatile handler)(unsigned long) = hidden;
"""
COMPILERS = {
    "g++": "g++",
    "xtensa-lx106-elf-g++ -mlongcalls": "g++-xtensa-lx106",
    "arm-none-eabi-g++": "gcc-arm-none-eabi",
}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flags", ["", "-ffunction-sections -fdata-sections"])
def test_callers_are_found_in_what_real_compilers_make(tmp_path: Path, compiler: str, flags: str) -> None:
    program, *options = compiler.split()
    require(program, shutil.which(program) is not None, COMPILERS[compiler])
    (tmp_path / "page.cpp").write_text(CALLER)
    command = [program, *options, *flags.split(), "-g", "-Os", "-c", "page.cpp", "-o", "page.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    unit = ElfFile((tmp_path / "page.o").read_bytes())
    found = {readable(name) for name in unit.users(BEGIN)}
    # Without a section for each function, all functions of the section count.
    assert found == ({"Page::serve", "hidden"} if flags else {"Page::serve", "Page::stop", "hidden"})
    assert unit.users(re.compile("_ZN7Updater5begin")) <= unit.functions


@cache
def host_object() -> bytes:
    """Return an object of the host's compiler."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "page.cpp").write_text(CALLER)
        subprocess.run(["g++", "-Os", "-ffunction-sections", "-c", "page.cpp", "-o", "page.o"], cwd=folder, check=True)
        return Path(folder, "page.o").read_bytes()


@given(st.data())
def test_damaged_objects_are_read_or_refused(data: st.DataObject) -> None:
    """Any bytes give names or an InputError."""
    require("g++", shutil.which("g++") is not None, "g++")
    damaged = bytearray(host_object())
    last = len(damaged) - 1
    place = st.integers(0, 63) | st.integers(last - 3000, last) | st.integers(0, last)  # headers, tables, anything
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(place)] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        unit = ElfFile(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
        assert unit.users(BEGIN) <= unit.functions
        assert isinstance(unit.is_bytecode, bool)


@pytest.mark.parametrize("name", ["_ZN4Page5serveEv", "_ZZN4Page5serveEvENKUlvE_clEv", "_ZNK4Page5serveEv.constprop.0"])
def test_a_mangled_name_is_shown_as_it_is_written(name: str) -> None:
    assert readable(name) == "Page::serve"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_Z5setupv", "setup"),
        ("_ZL6hiddenm", "hidden"),
        ("_ZN12_GLOBAL__N_16hiddenEm", "hidden"),
        ("_ZNSt17_Function_handlerIFvvEZ5setupEUlvE_E9_M_invokeERKSt9_Any_data", "setup"),
        ("take_update", "take_update"),
    ],
)
def test_a_name_without_a_class_is_shown(name: str, shown: str) -> None:
    assert readable(name) == shown


@pytest.mark.parametrize(
    "data", [b"", b"!<arch>\n", b"\x7fELF\x02\x01".ljust(64, b"\xff"), b"\x7fELF\x01\x02" + bytes(64)]
)
def test_what_is_no_elf_file_is_an_error(data: bytes) -> None:
    with pytest.raises(InputError):
        ElfFile(data).users(BEGIN)


def test_relocations_of_a_section_that_is_not_there_count_for_nothing() -> None:
    require("g++", shutil.which("g++") is not None, "g++")
    damaged = bytearray(host_object())
    for start in range(struct.unpack_from("<Q", damaged, 0x28)[0], len(damaged), 64):
        struct.pack_into("<I", damaged, start + 44, 0xFFFFFF)
    assert ElfFile(bytes(damaged)).users(BEGIN) == frozenset()
