"""The manifest, the compressed form and the library's header on the real PlatformIO: made when needed, never stale."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips import esp8266
from otaseal.image import manifest, signed_image
from otaseal.image.manifest import Claim, Manifest
from otaseal.keys.public import public_pem, short_fingerprint
from support.by_bytes import belongs_to
from support.hooks import ALL_HOOKS, SELF_UPDATING, deploys_to, opt_in, write_key
from support.pio import FakeOtaDevice, Project, compiled
from support.repositories import BROKEN, git
from support.servers import World, get, start, talk

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
HOOKS = opt_in("verify_updates", "sign_firmware")
PRODUCT = "custom_otaseal_product = blink"
BOARD = "nodemcuv2"
WITH_LIBRARY = SELF_UPDATING.replace("void setup() {}", "#include <Greeting.h>\nvoid setup() { greet(); }")
# What stands in for the library: it holds the identity and the keys, and uses them, so that the linker keeps them.
GREETING = """\
#pragma once
void greet();
"""
GREETING_SOURCE = """\
#include <Greeting.h>
#include <Arduino.h>
#include <OtaSealBuild.h>
static const unsigned char identity[64] PROGMEM = OTASEAL_IDENTITY;
static const char key[] PROGMEM = OTASEAL_KEY;
#ifdef OTASEAL_NEXT_KEY
static const char next_key[] PROGMEM = OTASEAL_NEXT_KEY;
#else
static const char next_key[] PROGMEM = "";
#endif
volatile unsigned seen;
void greet() {
  for (unsigned char byte : identity) seen += byte;
  for (char letter : key) seen += letter;
  for (char letter : next_key) seen += letter;
}
"""


def attached(project: Project, key: rsa.RSAPrivateKey, name: str = "firmware.bin.signed") -> Manifest | None:
    return manifest.find(signed_image.verify(project.build(name).read_bytes(), key.public_key()))


def test_a_manifest_where_a_product_is_named_and_again_when_it_changes(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Set in the environment: PlatformIO itself builds everything anew when platformio.ini changes."""
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*HOOKS, line, sources={"main.cpp": SELF_UPDATING})
    firmware, signed, header = (made.build(name) for name in ("firmware.bin", "firmware.bin.signed", "otaseal"))
    header /= "OtaSealBuild.h"
    made.run()
    plain = signed.read_bytes()
    assert signed_image.parse(plain).payload == firmware.read_bytes(), "without a product nothing changes"
    assert not header.exists()

    chosen = {"OTASEAL_PRODUCT": "blink", "OTASEAL_VERSION": "1.2.3"}
    named = made.run(env=chosen)
    assert compiled(named.stdout) == set(), "no source includes the header"
    time = int(firmware.stat().st_mtime)
    expected = manifest.make(Claim("blink", BOARD, "1.2.3", 0, time), esp8266.parse(firmware.read_bytes()).flash_mode)
    assert attached(made, rsa_key) == expected
    assert signed_image.parse(signed.read_bytes()).payload == firmware.read_bytes() + manifest.serialise(expected)
    assert '#define OTASEAL_VERSION "1.2.3"\n' in header.read_text()

    before = signed.stat().st_mtime_ns, header.stat().st_mtime_ns
    again = made.run(env=chosen)
    assert "otaseal:" not in again.output
    assert (signed.stat().st_mtime_ns, header.stat().st_mtime_ns) == before, "nothing changed, nothing is done"

    for change in (
        {"OTASEAL_SECURITY_COUNTER": "5"},
        {"OTASEAL_PRODUCT": "blank"},
        {"SOURCE_DATE_EPOCH": "1700000000"},
    ):
        run = made.run(env={**chosen, **change})
        assert "Linking" not in run.stdout
        found = attached(made, rsa_key)
        assert found != expected
        assert found is not None
        if "SOURCE_DATE_EPOCH" in change:
            assert found.build_time == 1_700_000_000
            assert "OTASEAL_BUILD_TIME 1700000000u" in header.read_text()
    made.run()
    assert signed.read_bytes() == plain
    assert not header.exists(), "nothing stale stays"
    for wrong, message in (
        ("Blink!", "OTASEAL_PRODUCT 'Blink!' is not a valid name"),
        ("a b", "OTASEAL_PRODUCT 'a b' is not a valid name"),
    ):
        refused = made.run(check=False, env={"OTASEAL_PRODUCT": wrong})
        assert message in refused.stderr
        assert "Traceback" not in refused.output
    assert "SOURCE_DATE_EPOCH is 'today'" in made.run(check=False, env={**chosen, "SOURCE_DATE_EPOCH": "today"}).stderr


def test_a_library_is_built_with_what_this_firmware_is(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    """What includes the header is compiled after it, and again when it changes; version and time are git's."""
    line = write_key(tmp_path / "keys" / "signing.key", rsa_key)
    write_key(tmp_path / "keys" / "next.key", other_rsa_key)
    made = project(*HOOKS, line, PRODUCT, "board_build.filesystem = littlefs", sources={"main.cpp": WITH_LIBRARY})
    made.write("lib/Greeting/src/Greeting.h", GREETING)
    made.write("lib/Greeting/src/Greeting.cpp", GREETING_SOURCE)
    made.write(".gitignore", ".pio\n")
    git(made.path, "init", "-q")
    git(made.path, "add", ".")
    git(made.path, "commit", "-qm", "first")
    git(made.path, "tag", "v3.1.4")
    time = int(git(made.path, "show", "-s", "--format=%ct", "HEAD"))
    firmware = made.build("firmware.bin")
    made.run()
    own = manifest.identity(firmware.read_bytes())
    assert own == manifest.make(Claim("blink", BOARD, "v3.1.4", 0, time))
    found = attached(made, rsa_key)
    assert found is not None
    assert (found.version, found.board, found.product) == ("v3.1.4", own.board, own.product)
    assert public_pem(rsa_key.public_key()) + b"\0" in firmware.read_bytes()
    assert not compiled(made.run().stdout)

    untold = made.run(env=BROKEN["of_another_user"](tmp_path).environment).stderr
    assert untold.count("warning: git tells neither version nor commit nor time: git does not look into") == 1
    assert "git config --global --add safe.directory" in untold
    lacking = attached(made, rsa_key)
    assert lacking is not None
    assert lacking.version == "", "the firmware is built all the same"
    made.run()

    raised = made.run(env={"OTASEAL_SECURITY_COUNTER": "9"})
    assert compiled(raised.stdout) == {"Greeting.cpp"}, "what includes the header, and nothing else"
    counters = manifest.identity(firmware.read_bytes()), attached(made, rsa_key)
    assert [one.counter for one in counters if one] == [9, 9]

    bridge = made.run(env={"OTASEAL_SECURITY_COUNTER": "9", "OTASEAL_NEXT_PUBLIC_KEY": "../keys/next.pub"})
    assert "take updates from this key and from the next one, SHA256:" in bridge.stdout
    own, following = (short_fingerprint(key.public_key()) for key in (rsa_key, other_rsa_key))
    stock = f"without the OtaSeal library this firmware takes only updates signed with {following}"
    assert f"otaseal: {stock}; with it, those signed with {own}, too\n" in bridge.stdout
    content = firmware.read_bytes()
    assert all(public_pem(key.public_key()) + b"\0" in content for key in (rsa_key, other_rsa_key))

    refused = signing_without_a_product(made, tmp_path / "keys" / "signing.key")
    assert "the firmware has the OtaSeal library and no manifest" in refused


def signing_without_a_product(made: Project, key: Path) -> str:
    from support.command import process

    return process("sign", made.build("firmware.bin"), "--key", key, "-o", "x.signed", cwd=made.path).err


def test_the_folder_of_libraries_is_found(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    """As installed packages and checkouts have it: the folder firmware/ beside the extra scripts' package."""
    made = project(
        *HOOKS, "  post:show.py", write_key(tmp_path / "signing.key", rsa_key), sources={"main.cpp": SELF_UPDATING}
    )
    made.write("show.py", 'Import("env")\nprint("LIBRARIES", [env.subst(one) for one in env["LIBSOURCE_DIRS"]])\n')
    shown = next(line for line in made.run().stdout.splitlines() if line.startswith("LIBRARIES"))
    folders = [Path(one) for one in json.loads(shown.removeprefix("LIBRARIES ").replace("'", '"'))]
    (ours,) = (folder for folder in folders if folder.name == "firmware")
    assert (ours / "README.md").is_file()


def test_a_compressed_form_beside_the_raw_one(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*HOOKS, line, PRODUCT, "custom_otaseal_version = 1", sources={"main.cpp": SELF_UPDATING})
    firmware, signed, packed = (made.build("firmware.bin" + suffix) for suffix in ("", ".signed", ".gz.signed"))
    made.run()
    assert not packed.exists()
    sizes = {}
    for method in ("gzip", "zopfli"):
        run = made.run(env={"OTASEAL_COMPRESS": method})
        payload = signed_image.verify(packed.read_bytes(), rsa_key.public_key())
        assert f"with {method}: {len(packed.read_bytes())} bytes" in run.stdout
        assert gzip.decompress(payload) == firmware.read_bytes()
        assert len(payload) % 4 == 0
        assert manifest.find(payload) == attached(made, rsa_key)
        assert belongs_to(packed.read_bytes(), firmware.read_bytes())
        sizes[method] = len(payload)
        times = [path.stat().st_mtime_ns for path in (signed, packed)]
        assert "otaseal:" not in made.run(env={"OTASEAL_COMPRESS": method}).output
        assert [path.stat().st_mtime_ns for path in (signed, packed)] == times
    assert sizes["zopfli"] < sizes["gzip"]
    packed.unlink()
    made.run(env={"OTASEAL_COMPRESS": "gzip"})
    assert packed.exists()

    hidden = {"OTASEAL_COMPRESS": "zopfli", "PYTHONPATH": str(tmp_path / "hidden")}
    made.write("../hidden/zopfli/__init__.py", "raise ModuleNotFoundError('no', name='zopfli')\n")
    missing = made.run(check=False, env=hidden)
    assert "otaseal: error: the Python that runs PlatformIO lacks the package 'zopfli'" in missing.stderr
    assert f'"{made.python}" -m pip install zopfli' in missing.stderr
    assert not signed.exists()
    assert not packed.exists(), "a failure leaves nothing that looks like the result"

    made.run(env={"OTASEAL_COMPRESS": "gzip"})
    made.run()
    assert signed.exists()
    assert not packed.exists(), "switched off, and gone"
    assert "custom_otaseal_compress is 'xz'" in _with(made, line, "custom_otaseal_compress = xz")
    twice = _with(made, line, "custom_otaseal_compress = gzip", "board_build.gzip_fw = yes")
    assert "would compress twice" in twice


def _with(made: Project, *lines: str) -> str:
    made.configure([*HOOKS, *lines])
    return made.run(check=False).stderr


def test_espota_sends_the_raw_form_whatever_lies_beside_it(
    project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    line = write_key(tmp_path / "signing.key", rsa_key)
    with FakeOtaDevice() as device:
        upload = ["upload_port = 127.0.0.1", f"upload_flags = --port={device.port}"]
        lines = [line, PRODUCT, "custom_otaseal_version = 1", "custom_otaseal_compress = gzip", *upload]
        made = project(*HOOKS, *lines, sources={"main.cpp": SELF_UPDATING})
        made.run("-t", "upload")
        assert made.build("firmware.bin.gz.signed").exists()
        made.run("-t", "nobuild", "-t", "upload")
        assert [one.content for one in device.uploads] == [made.build("firmware.bin.signed").read_bytes()] * 2


def test_deploy_publishes_both_forms(project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    server = start(World.create(tmp_path / "world", rsa_key), tmp_path / "store")
    try:
        lines = [
            *opt_in(*ALL_HOOKS),
            write_key(tmp_path / "signing.key", rsa_key),
            *deploys_to(server, tmp_path),
            "custom_otaseal_compress = gzip",
        ]
        made = project(*lines, "custom_otaseal_version = 1.0.0", sources={"main.cpp": SELF_UPDATING})
        run = made.run("-t", "deploy")
        assert "2 files published" in run.stdout
        given = talk(server.world.context(), server.port, get("/firmware.bin.signed")).body
        assert given == made.build("firmware.bin.signed").read_bytes()
        record = json.loads((server.store / "products" / "blink" / "releases" / "1.0.0.json").read_text())
        assert [form["kind"] for form in record["forms"]] == ["raw", "gzip"]
        assert (record["security_counter"], record["board"]) == (0, BOARD)
        assert record["board_id"] == manifest.name_id(BOARD).hex()

        made.configure([*lines, "custom_otaseal_version = 1.1.0", "custom_otaseal_security_counter = 3"])
        raised = made.run("-t", "deploy", check=False)
        assert "the security counter rises from 0 to 3" in raised.stderr
        assert "otaseal deploy --raise-counter" in raised.stderr
    finally:
        server.end()
