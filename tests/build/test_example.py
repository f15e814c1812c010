"""The example projects build as they are shipped: only the platform and the place of otaseal are other ones."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.chips import images
from otaseal.image import manifest, signed_image
from otaseal.image.manifest import name_id
from otaseal.keys.public import public_pem
from support import openssl
from support.filesystem import read_file
from support.hooks import write_key
from support.peers import tool
from support.pio import ESP32_PLATFORM, PICO_PLATFORM, PLATFORM, Project
from support.servers import Running, World, get, operator, start, talk

pytestmark = pytest.mark.build

ROOT = Path(__file__).resolve().parents[2]
WITH_LIBRARY, BY_HAND, ENROLLED, TOLD = (
    ROOT / "examples" / name for name in ("secure_ota", "secure_ota_by_hand", "enrolled_device", "poll_now")
)
REAL_PLATFORM = "platform = espressif8266\n"
PRODUCT = "secure_ota"
BLOCK_SIZES = {"nodemcuv2": 8192, "esp32dev": 4096, "esp32-c3-devkitm-1": 4096, "rpipicow": 4096, "rpipico2w": 4096}
"""The example's environments, which are called as their boards, and the blocks of their filesystems in bytes."""
BY_LIBRARY = ("esp32dev", "esp32-c3-devkitm-1")
"""Those whose core verifies nothing."""
PIOARDUINO = "https://github.com/pioarduino/platform-espressif32/releases/download/stable/platform-espressif32.zip"
MAXGERHARDT = "https://github.com/maxgerhardt/platform-raspberrypi.git"
STAND_INS = ROOT / "tests" / "firmware" / "host"
TEST_PLATFORMS = {
    "platform = espressif32\n": f"platform = symlink://{ESP32_PLATFORM}\nlib_deps = symlink://{STAND_INS / 'esp32'}\n",
    f"platform = {PIOARDUINO}\n": f"platform = symlink://{ESP32_PLATFORM}\nboard_build.builder = pioarduino\n",
    f"platform = {MAXGERHARDT}\n": (
        f"platform = symlink://{PICO_PLATFORM}\nlib_deps = symlink://{STAND_INS / 'pico'}\nlib_ignore = Updater\n"
    ),
}
"""The other platforms in the example; what of their cores the library uses is a library here."""
MARKER = b"the key that this build compiles in"
SIGNING_HEADER = f"""\
#define ARDUINO_SIGNING 1
static const char signing_pubkey[] PROGMEM = "{MARKER.decode()}";
"""
PREPEND = """\
Import("env")
env.Prepend(CPPPATH=["$PROJECT_DIR/signing"])
"""


@pytest.fixture
def example(tmp_path: Path, pio_core: Path) -> Project:
    """Return a copy of the example without the library, with otaseal's hooks where they lie."""
    return copy_of(BY_HAND, tmp_path / "secure ota", pio_core)


@pytest.fixture
def with_library(tmp_path: Path, pio_core: Path, rsa_key: rsa.RSAPrivateKey) -> Project:
    """Return a copy of the example with the library, its key and authority in place."""
    made = copy_of(WITH_LIBRARY, tmp_path / "with library", pio_core)
    use_key(made, tmp_path / "keys" / "signing.key", rsa_key)
    make_authority(made.path / "certs" / "ca.crt")
    return made


@pytest.fixture
def for_all(with_library: Project) -> Project:
    """Return the example with all its environments on the test platforms; warnings in its sketch are errors."""
    for old, new in TEST_PLATFORMS.items():
        change_ini(with_library, old, new)
    change_ini(with_library, "default_envs = nodemcuv2", f"default_envs = {', '.join(BLOCK_SIZES)}")
    warnings = "build_src_flags = -Wall -Wextra -Werror"
    change_ini(with_library, "monitor_speed", f"{warnings}\ncustom_otaseal_version = 1.2.3\nmonitor_speed")
    return with_library


def copy_of(source: Path, path: Path, pio_core: Path) -> Project:
    """Return a copy of an example on the development platform."""
    return Project(path, pio_core).adopt(source, {"../../extra_scripts/": f"{ROOT}/extra_scripts/"})


def ini_of(project: Project) -> str:
    return (project.path / "platformio.ini").read_text()


def change_ini(project: Project, old: str, new: str) -> None:
    text = ini_of(project)
    assert old in text
    project.write("platformio.ini", text.replace(old, new))


def without_hooks(project: Project, *lines: str) -> None:
    """Cut what otaseal adds from platformio.ini, and append `lines` to its one environment."""
    ini = project.path / "platformio.ini"
    start = ini.read_text().index("extra_scripts")
    ini.write_text("\n".join([ini.read_text()[:start], *lines, ""]))


def test_it_builds_without_a_warning_and_without_a_secret(example: Project) -> None:
    without_hooks(example, "build_src_flags = -Wall -Wextra -Werror")
    example.run()
    firmware = example.build("firmware.bin").read_bytes()
    assert b"/firmware.bin.signed\0" in firmware
    assert b"your-password\0" in firmware
    assert MARKER not in firmware


def test_settings_come_from_flags_then_from_the_secret_file(example: Project) -> None:
    without_hooks(example, "build_flags =", r"  -D FIRMWARE_VERSION=\"7.6.5\"", r"  -D APSSID=\"by-flag\"")
    secret = '#ifndef APSSID\n#define APSSID "by-file"\n#endif\n#define APPSK "secret-by-file"\n'
    example.write("include/secret.h", secret)
    example.run()
    firmware = example.build("firmware.bin").read_bytes()
    assert b"7.6.5\0" in firmware
    assert b"1.0.0\0" not in firmware
    assert b"by-flag\0" in firmware
    assert b"secret-by-file\0" in firmware
    assert b"your-" not in firmware


def test_a_key_header_before_the_cores_own_is_compiled_in(example: Project) -> None:
    without_hooks(example, "extra_scripts = pre:prepend.py")
    example.write("prepend.py", PREPEND)
    example.write("signing/Updater_Signing.h", SIGNING_HEADER)
    example.run()
    assert MARKER in example.build("firmware.bin").read_bytes()


def test_a_key_header_that_only_the_core_sees_does_not_link(example: Project) -> None:
    without_hooks(example, "extra_scripts = post:prepend.py")
    example.write("prepend.py", PREPEND)
    example.write("signing/Updater_Signing.h", SIGNING_HEADER)
    assert "undefined reference to `esp8266::updaterSigningVerifier'" in example.run(check=False).output
    assert not example.build("firmware.bin").exists()


def test_as_shipped_it_signs_and_packs(example: Project, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    use_key(example, tmp_path / "keys" / "signing.key", rsa_key)
    make_authority(example.path / "certs" / "ca.crt")
    example.run()
    firmware = example.build("firmware.bin").read_bytes()
    public = public_pem(rsa_key.public_key())
    assert public.strip() in firmware  # as text: the form in which the header has it
    signed = example.build("firmware.bin.signed")
    content = signed.read_bytes()
    assert content.startswith(firmware)
    assert openssl.accepts(content, public, tmp_path / "openssl")

    example.run("-t", "buildfs")
    members = subprocess.run(
        [tool("ar", "binutils"), "t", example.path / "data" / "certs.ar"], capture_output=True, text=True, check=True
    )
    assert len(members.stdout.split()) == 1
    assert example.build("littlefs.bin").stat().st_size == 1024000


def test_with_the_library_it_says_what_it_is(with_library: Project, tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    counter, more = "custom_otaseal_security_counter", "build_src_flags = -Wall -Wextra -Werror"
    change_ini(with_library, f"{counter} = 0\n", f"{counter} = 7\n{more}\ncustom_otaseal_version = 1.2.3\n")
    with_library.run()
    firmware = with_library.build("firmware.bin").read_bytes()
    identity = manifest.identity(firmware)
    assert identity is not None
    assert identity.is_for("secure_ota", "nodemcuv2")
    assert (identity.counter, identity.version) == (7, "1.2.3")
    assert firmware.count(public_pem(rsa_key.public_key()).strip()) == 2, "the core's verifier has it, and the library"
    signed = with_library.build("firmware.bin.signed").read_bytes()
    assert signed.startswith(firmware)
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path / "openssl")
    said = manifest.find(signed_image.parse(signed).payload)
    assert said is not None
    assert (said.counter, said.version, said.product) == (7, "1.2.3", identity.product)


def test_the_one_that_enrols_builds(tmp_path: Path, pio_core: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    example = copy_of(ENROLLED, tmp_path / "enrolled", pio_core)
    change_ini(example, "keys/enrolled_device/", "keys/secure_ota/")
    use_key(example, tmp_path / "keys" / "signing.key", rsa_key)
    make_authority(example.path / "certs" / "ca.crt")
    change_ini(example, "monitor_speed", "build_src_flags = -Wall -Wextra -Werror\nmonitor_speed")
    example.run()
    assert b"/client.key.new\0" in example.build("firmware.bin").read_bytes()


PUBSUBCLIENT = """\
#pragma once
#include <Arduino.h>
#include <Client.h>
class PubSubClient {
 public:
  explicit PubSubClient(Client &) {}
  PubSubClient &setServer(const char *, uint16_t) { return *this; }
  PubSubClient &setCallback(void (*)(char *, uint8_t *, unsigned int)) { return *this; }
  bool connect(const char *, const char *, const char *) { return true; }
  bool subscribe(const char *name) { return name != nullptr && Serial.println(name) > 0; }
  bool loop() { return false; }
};
"""
"""The calls of PubSubClient 2.8 that the example makes."""


@pytest.mark.proof
def test_the_one_that_is_told_builds_for_each_family(
    tmp_path: Path, pio_core: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    example = copy_of(TOLD, tmp_path / "told", pio_core)
    change_ini(example, "lib_deps = knolleary/PubSubClient@^2.8\n", "")
    for old, new in TEST_PLATFORMS.items():
        if old in ini_of(example):
            change_ini(example, old, new)
    example.write("lib/PubSubClient/src/PubSubClient.h", PUBSUBCLIENT)
    change_ini(example, "default_envs = nodemcuv2", "default_envs = nodemcuv2, esp32dev, rpipicow")
    change_ini(example, "keys/poll_now/", "keys/secure_ota/")
    use_key(example, tmp_path / "keys" / "signing.key", rsa_key)
    make_authority(example.path / "certs" / "ca.crt")
    change_ini(example, "monitor_speed", "build_src_flags = -Wall -Wextra -Werror\nmonitor_speed")
    example.run()
    for board in ("nodemcuv2", "esp32dev", "rpipicow"):
        assert b"otaseal/poll_now/stable/poll\0" in example.build("firmware.bin", board).read_bytes()


@pytest.mark.proof
def test_with_the_library_a_new_key_recompiles_what_reads_it(
    with_library: Project, tmp_path: Path, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    with_library.run()
    for name in ("signing.key", "signing.pub"):
        (tmp_path / "keys" / name).unlink()
    write_key(tmp_path / "keys" / "signing.key", other_rsa_key)
    made = re.findall(r"Compiling \S*/(\w+\.\w+)\.o", with_library.run().output)
    library = {"OtaSeal.cpp", "build.cpp", "connection.cpp", "rotation.cpp", "enrolment.cpp", "error_texts.cpp"}
    library |= {
        "proof.cpp",
        "consent.cpp",
        "download.cpp",
        "connection_bearssl.cpp",
        "connection_esp32.cpp",
    }  # one is empty
    assert set(made) == {"Updater.cpp", "BearSSLHelpers.cpp", "main.cpp"} | library


def test_the_library_needs_a_product(with_library: Project) -> None:
    """The sketch as it is, and one that does not use the macro: both are told which option is missing."""
    change_ini(with_library, "custom_otaseal_product = secure_ota", "")
    for sketch in (None, "#include <OtaSeal.h>\nvoid setup() {}\nvoid loop() {}\n"):
        if sketch is not None:
            with_library.write("src/main.cpp", sketch)
        assert (
            "no product is named: set custom_otaseal_product in platformio.ini" in with_library.run(check=False).output
        )
        assert not with_library.build("firmware.bin").exists()


@pytest.mark.proof
@pytest.mark.parametrize("line", ["board_build.filesystem = spiffs", ""])
def test_the_library_needs_the_filesystem_that_it_mounts(line: str, with_library: Project) -> None:
    change_ini(with_library, "board_build.filesystem = littlefs", line)
    refused = with_library.run(check=False)
    assert refused.returncode != 0
    assert "which mounts LittleFS, and board_build.filesystem is 'spiffs'" in refused.stderr
    assert not with_library.build("firmware.bin.signed").exists()
    said = with_library.run("-t", "buildfs").stderr
    assert "board_build.filesystem is 'spiffs', and the OtaSeal library mounts LittleFS" in said


@pytest.fixture
def own_server(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> Iterator[Running]:
    """Return an update server of the example's product."""
    world = World.create(tmp_path / "world", rsa_key)
    running = start(world, tmp_path / "store", "--product", f"{PRODUCT}={world.folder / 'signing.pub'}")
    yield running
    running.end()


@pytest.mark.proof
def test_all_environments_make_one_release(
    for_all: Project, tmp_path: Path, own_server: Running, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Every step is one run for all of them: that is what takes the time."""
    environments = re.findall(r"^\[env:(.*)\]$", (WITH_LIBRARY / "platformio.ini").read_text(), re.MULTILINE)
    assert environments == list(BLOCK_SIZES)
    publish_to(own_server, for_all, tmp_path / "token")
    for_all.run("-t", "buildfs")
    packed = (for_all.path / "data" / "certs.ar").read_bytes()
    for board, block_size in BLOCK_SIZES.items():
        assert read_file(for_all.build("littlefs.bin", board).read_bytes(), "certs.ar", block_size) == packed

    said = for_all.run("-t", "deploy").stdout
    for line, times in (
        ("this firmware takes only updates signed with SHA256:", 5),
        ("with the OtaSeal library this firmware takes only", len(BY_LIBRARY)),
        ("in this firmware the OtaSeal library alone writes updates, and verifies them", len(BY_LIBRARY)),
        ("a filesystem that is sent to it over the air is verified by nothing", 2),
        ("otaseal: rehearsed on a virtual", 5),
        ("is kept, nothing is published yet", 4),
        ("not rehearsed", 0),
        (f"{PRODUCT} 1.2.3: 5 files for", 1),
    ):
        assert said.count(line) == times, line
    releases = operator(own_server).get(f"/v1/products/{PRODUCT}/releases")["releases"]
    assert [release["version"] for release in releases] == ["1.2.3"]
    for board in BLOCK_SIZES:
        signed = for_all.build("firmware.bin.signed", board).read_bytes()
        check_firmware(for_all.build("firmware.bin", board).read_bytes(), board, rsa_key.public_key())
        assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path / board)
        request = get(f"/{PRODUCT}/firmware.bin.signed", f"X-Otaseal-Board: {name_id(board).hex()}")
        assert talk(own_server.world.context(), own_server.port, request).body == signed

    made = [for_all.build("firmware.bin.signed", board).stat().st_mtime_ns for board in BLOCK_SIZES]
    again = for_all.run()
    assert "Compiling" not in again.stdout
    assert "otaseal:" not in again.output
    assert made == [for_all.build("firmware.bin.signed", board).stat().st_mtime_ns for board in BLOCK_SIZES]


def publish_to(server: Running, project: Project, token: Path) -> None:
    """Set what `deploy` needs, with all environments in the option that the example has as a comment."""
    line = re.search(r"^;(custom_otaseal_environments = (.*))$", ini_of(project), re.MULTILINE)
    assert line is not None
    assert set(line[2].split(", ")) <= set(BLOCK_SIZES)
    files.write_new(token, f"{server.token}\n".encode(), files.PRIVATE_MODE)
    options = [
        f"custom_otaseal_environments = {', '.join(BLOCK_SIZES)}",
        f"custom_otaseal_server = {server.url}",
        f"custom_otaseal_server_ca = {server.world.ca}",
        f"custom_otaseal_token_file = {token}",
    ]
    change_ini(project, line[0], "\n".join(options))
    (project.path / "certs" / "ca.crt").write_bytes(server.world.ca.read_bytes())


def check_firmware(firmware: bytes, board: str, key: rsa.RSAPublicKey) -> None:
    """Fail unless the chip can start it, and it says what it is and whose updates it takes."""
    assert images.parse(firmware).faults() == ()
    identity = manifest.identity(firmware)
    assert identity is not None
    assert identity.is_for(PRODUCT, board)
    assert identity.version == "1.2.3"
    copies = 1 if board in BY_LIBRARY else 2
    assert firmware.count(public_pem(key).strip()) == copies, (
        "the library has it, and the core's verifier if there is one"
    )


@pytest.mark.real_platform
def test_it_builds_on_the_real_platform(example: Project, rsa_key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    use_key(example, tmp_path / "keys" / "signing.key", rsa_key)
    change_ini(example, f"platform = symlink://{PLATFORM}\n", REAL_PLATFORM)
    example.run()
    firmware = example.build("firmware.bin").read_bytes()
    signed = example.build("firmware.bin.signed").read_bytes()
    assert signed.startswith(firmware)
    assert openssl.accepts(signed, public_pem(rsa_key.public_key()), tmp_path / "openssl")


def use_key(project: Project, path: Path, key: rsa.RSAPrivateKey) -> None:
    """Write the private `key` to `path` and make it the project's signing key."""
    write_key(path, key)
    change_ini(project, "file:~/.config/otaseal/keys/secure_ota/signing.key", f"file:{path}")


def make_authority(path: Path) -> None:
    path.parent.mkdir()
    subject = "/O=An example organisation/CN=An example authority"
    command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-days", "3650"]
    subprocess.run(
        [tool("openssl", "openssl"), *command, "-subj", subject, "-out", path], capture_output=True, check=True
    )
