"""`otaseal doctor`: a sound project passes, and everything that is wrong with one is named, with the fix."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.doctor.online import resumption
from otaseal.keys import public, signers
from otaseal.rehearsal.candidate import repaired
from otaseal.rehearsal.loopback import Loopback
from otaseal.server.tls import Credentials, server_context
from otaseal.simulator.esp32.table import Partition, serialise
from support import esp32_boards, other_images, peers
from support.built import ENVIRONMENT, BuiltProject
from support.command import TOOLS, Command, Result, otaseal
from support.servers import Running, World, publish

__all__ = ["otaseal"]


@pytest.fixture
def bench(tmp_path: Path, rsa_key: rsa.RSAPrivateKey, server: Running, monkeypatch: pytest.MonkeyPatch) -> BuiltProject:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return BuiltProject(tmp_path, rsa_key, server)


def statuses(result: Result) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for check in result.json["checks"]:
        found.setdefault(check["name"], []).append(check["status"])
    return found


def the(result: Result, name: str) -> str:
    """Return all that was said of one check."""
    return "\n".join(
        f"{one['status']}: {one['message']} -> {one['hint']}" for one in result.json["checks"] if one["name"] == name
    )


def test_a_sound_project_passes(bench: BuiltProject, otaseal: Command) -> None:
    result = otaseal("doctor", "--json").succeeded()
    found = statuses(result)
    assert {name for name, values in found.items() if values != ["ok"]} <= {"manifest", "publishing"}, result.out
    assert result.json["good"] is True
    assert "no release yet" in the(result, "publishing") or "gives out" in the(result, "publishing")
    assert "TLS 1.2, suite 0xcca8, records of 512 bytes" in the(result, "TLS")
    assert (bench.outside / "token").read_text().strip() not in result.out
    assert "correct horse" not in result.out


def test_a_project_for_a_pico(bench: BuiltProject, otaseal: Command) -> None:
    pico = ("platform = espressif8266", "platform = https://github.com/maxgerhardt/platform-raspberrypi.git")
    ini = (bench.folder / "platformio.ini").read_text().replace(*pico)
    bench.write("platformio.ini", ini.encode())
    bench.write("src/private.key", b"")
    found = otaseal("doctor", "--offline", "--json")
    assert "problem: board_build.filesystem_size is not set" in the(found, "filesystem")
    assert "set board_build.filesystem_size = 1m" in the(found, "filesystem")
    assert "src/private.key' lies among the sources" in the(found, "signing key")
    bench.write("platformio.ini", f"{ini}board_build.filesystem_size = 1m\n".encode())
    assert the(otaseal("doctor", "--offline", "--json"), "filesystem").startswith(
        "ok: board_build.filesystem_size = 1m"
    )


def test_a_project_for_an_esp32(bench: BuiltProject, otaseal: Command) -> None:
    ini = (bench.folder / "platformio.ini").read_text()
    official = ini.replace("platform = espressif8266", "platform = espressif32")
    bench.write("platformio.ini", f"{official}board_build.partitions = huge_app.csv\n".encode())
    found = the(otaseal("doctor", "--offline", "--json"), "filesystem")
    assert "problem: 'huge_app.csv' has one slot for firmware, and an update goes into a second one" in found
    assert "ok: board_build.filesystem = littlefs" in found
    bench.write("platformio.ini", official.replace("board_build.filesystem = littlefs\n", "").encode())
    found = the(otaseal("doctor", "--offline", "--json"), "filesystem")
    assert "problem: board_build.filesystem is not set, and the platform's default is spiffs" in found
    pioarduino = "https://github.com/pioarduino/platform-espressif32/archive/develop.zip"
    newer = official.replace("= espressif32", f"= {pioarduino}").replace("board_build.filesystem = littlefs\n", "")
    bench.write("platformio.ini", newer.encode())
    found = the(otaseal("doctor", "--offline", "--json"), "filesystem")
    assert found == "ok: board_build.filesystem = littlefs, the default of the platform -> None"
    bench.write("platformio.ini", official.replace("framework = arduino", "framework = espidf").encode())
    found = the(otaseal("doctor", "--offline", "--json"), "options")
    assert "problem: its framework is 'espidf', and otaseal works with arduino" in found


def test_the_partition_table_that_was_built(bench: BuiltProject, otaseal: Command) -> None:
    assert "partitions" not in {check["name"] for check in otaseal("doctor", "--offline", "--json").json["checks"]}
    ini = (bench.folder / "platformio.ini").read_text().replace("espressif8266", "espressif32")
    bench.write("platformio.ini", ini.encode())
    assert the(otaseal("doctor", "--offline", "--json"), "partitions").startswith("skipped: there is no")
    otadata, slot = Partition("otadata", 1, 0, 0xE000, 0x2000), Partition("app0", 0, 0x10, 0x10000, 0x100000)
    other, files = Partition("app1", 0, 0x11, 0x110000, 0x100000), Partition("spiffs", 1, 0x82, 0x210000, 0x10000)
    for rows, said in (
        ((otadata, slot, other, files), ["ok: 2 slots of 1048576 bytes, otadata, and a filesystem"]),
        ((otadata, slot, files), ["problem: 'partitions.bin' has one slot for firmware"]),
        ((otadata, slot, other), ["problem: there is no filesystem"]),
        ((slot, other, files), ["problem: there is no otadata"]),
        ((otadata, slot._replace(size=4096), other, files), ["problem: the firmware has", "a slot 4096"]),
    ):
        bench.write(f".pio/build/{ENVIRONMENT}/partitions.bin", serialise(rows))
        found = the(otaseal("doctor", "--offline", "--json"), "partitions")
        assert all(part in found for part in said), found
        assert found.count("problem") == (0 if said[0].startswith("ok") else 1)


def test_options_that_the_library_on_an_esp32_needs(bench: BuiltProject, otaseal: Command) -> None:
    unfit = {"custom_otaseal_product": None, "custom_otaseal_compress": "gzip"}
    bench.configure(**unfit, custom_otaseal_unverified_updates="allow")
    ini = (bench.folder / "platformio.ini").read_text().replace("espressif8266", "espressif32")
    bench.write("platformio.ini", ini.encode())
    found = the(otaseal("doctor", "--offline", "--json"), "options")
    assert "problem: custom_otaseal_product is not set: the OtaSeal library needs it" in found
    assert "problem: custom_otaseal_compress is 'gzip', and nothing on this chip unpacks an update" in found
    assert "warning: custom_otaseal_unverified_updates is 'allow'" in found
    bench.configure(**unfit)
    assert "problem" not in the(otaseal("doctor", "--offline", "--json"), "options"), "elsewhere both may be so"


def test_an_esp32_without_the_library_is_a_problem(bench: BuiltProject, otaseal: Command) -> None:
    """Nothing else verifies there; an image of another family says nothing of it."""
    assert "OtaSeal library" not in the(otaseal("doctor", "--offline", "--json"), "firmware")
    bench.write(f".pio/build/{ENVIRONMENT}/firmware.bin", other_images.esp32_image())
    assert "problem: it has no OtaSeal library" in the(otaseal("doctor", "--offline", "--json"), "firmware")


def test_who_takes_the_signed_image_of_an_esp32(bench: BuiltProject, otaseal: Command) -> None:
    raw = esp32_boards.image(bench.key, board=ENVIRONMENT)
    bench.write(f".pio/build/{ENVIRONMENT}/firmware.bin", raw)
    bench.write(f".pio/build/{ENVIRONMENT}/firmware.bin.signed", esp32_boards.sealed(raw, bench.key, board=ENVIRONMENT))
    found = the(otaseal("doctor", "--offline", "--json"), "signed image")
    assert "taken by the core's own updater, the OtaSeal library" in found
    moved = repaired(raw[:0x18] + b"\x24" + raw[0x19:])  # to where no page of flash can be mapped
    bench.write(f".pio/build/{ENVIRONMENT}/firmware.bin", moved)
    sealed = esp32_boards.sealed(moved, bench.key, board=ENVIRONMENT)
    bench.write(f".pio/build/{ENVIRONMENT}/firmware.bin.signed", sealed)
    found = the(otaseal("doctor", "--offline", "--json"), "signed image")
    assert "problem: the core's own updater refuses it: segment 0" in found


def test_people_get_lines_and_one_next_step(bench: BuiltProject, otaseal: Command) -> None:
    bench.configure(board_build__filesystem=None)
    result = otaseal("doctor", "--offline")
    assert result.code == 1
    line = next(one for one in result.out.splitlines() if "filesystem" in one)
    assert line.startswith("problem  filesystem     board_build.filesystem is not set")
    assert result.out.splitlines()[-1].startswith("next: filesystem: set board_build.filesystem = littlefs")
    assert "left out with --offline" in result.out


def test_commands_are_called_as_they_can_be_called_here(
    bench: BuiltProject, otaseal: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    bench.configure(custom_otaseal_signing_key=None)
    shown = otaseal("doctor", "--offline").out
    assert f"make one with 'PYTHONPATH={TOOLS} {sys.executable} -m otaseal key new <path>'" in shown
    assert "public key     no key is set" in shown
    assert " otaseal key new" not in shown.replace("-m otaseal key new", "")
    (tmp_path / "empty" / "otaseal").write_text("#!/bin/sh\n")
    (tmp_path / "empty" / "otaseal").chmod(0o755)
    assert "make one with 'otaseal key new <path>'" in otaseal("doctor", "--offline").out


def test_what_is_counted_has_its_plural(bench: BuiltProject, otaseal: Command) -> None:
    bench.configure(custom_otaseal_signing_key=None, board_build__filesystem="spiffs")
    counts = otaseal("doctor", "--offline").out.splitlines()[-2]
    assert re.fullmatch(r"\d+ ok, (\d+ advice, )?(\d+ warnings?, )?2 problems, \d+ skipped", counts), counts


def test_a_misspelt_option_is_the_first_thing_to_do(bench: BuiltProject, otaseal: Command) -> None:
    bench.configure(custom_otaseal_signing_keys="file:x")
    result = otaseal("doctor", "--json", "--offline")
    assert result.code == 1
    assert "did you mean 'custom_otaseal_signing_key'" in the(result, "options")
    assert result.json["next"]["check"] == "options"


def test_an_endangered_key_is_a_problem(bench: BuiltProject, otaseal: Command) -> None:
    bench.signing_key.chmod(0o644)
    assert "readable by others" in the(otaseal("doctor", "--json", "--offline"), "signing key")
    bench.signing_key.chmod(0o600)
    signers.write_key_pair(bench.folder / "data" / "signing.key", bench.key, None)
    bench.configure(custom_otaseal_signing_key="file:data/signing.key")
    assert "copied onto every device" in the(otaseal("doctor", "--json", "--offline"), "signing key")
    bench.configure(custom_otaseal_signing_key="file:gone.key")
    assert "does not exist" in the(otaseal("doctor", "--json", "--offline"), "signing key")


def next_step(result: Result) -> tuple[str, str]:
    return result.json["next"]["check"], result.json["next"]["hint"]


def test_an_unlocked_key_is_advice_and_no_step(bench: BuiltProject, otaseal: Command) -> None:
    open_key = bench.outside / "open.key"
    signers.write_key_pair(open_key, bench.key, None)
    bench.configure(custom_otaseal_signing_key=f"file:{open_key}")
    bench.configure(custom_otaseal_signing_key=f"file:{open_key}", custom_otaseal_product=None)
    result = otaseal("doctor", "--json").succeeded()
    assert "advice: RSA-2048 SHA256:" in the(result, "signing key")
    assert f"-> otaseal key lock {open_key}" in the(result, "signing key")
    assert result.json["next"] is None, "all is done but what init itself offers"
    assert otaseal("doctor").out.endswith("next: nothing stands in the way of 'pio run -t deploy'\n")
    unset = dict.fromkeys(("custom_otaseal_product", "custom_otaseal_server"))
    bench.configure(custom_otaseal_signing_key=f"file:{open_key}", **unset)
    check, hint = next_step(otaseal("doctor", "--json").succeeded())
    assert (check, "otaseal init sets it" in hint) == ("server", True)
    otaseal("key", "lock", open_key, "--passphrase-file", bench.write("../secret", b"correct horse\n")).succeeded()
    assert "locked by a passphrase" in the(otaseal("doctor", "--json"), "signing key")


def test_one_step_after_the_other(bench: BuiltProject, otaseal: Command) -> None:
    """What is to be built comes before a server that does not run yet; what may stay is never a step."""
    bench.configure(custom_otaseal_server="https://localhost:1")
    (bench.folder / ".pio/otaseal/shipped.json").unlink()
    for name in ("firmware.bin", "firmware.bin.signed"):
        (bench.folder / ".pio/build" / ENVIRONMENT / name).unlink()
    result = otaseal("doctor", "--json")
    assert (result.code, next_step(result)) == (1, ("firmware", f"pio run -e {ENVIRONMENT}"))
    assert "advice: 'certs.ar' is up to date, and was never shipped" in the(result, "archive")
    bench.build(bench.key)
    assert next_step(otaseal("doctor", "--json"))[0] == "server"
    bench.configure(board_build__filesystem=None, custom_otaseal_server="https://localhost:1")
    assert next_step(otaseal("doctor", "--json"))[0] == "filesystem"


def test_hooks_that_somebody_does_without(bench: BuiltProject, otaseal: Command) -> None:
    ini = bench.folder / "platformio.ini"
    lines = ini.read_text().splitlines(keepends=True)
    for hook, status in (("ship", "advice"), ("sign_firmware", "warning")):
        ini.write_text("".join(line for line in lines if f"/{hook}.py" not in line))
        assert f"{status}: 'post:{hook}.py' is not attached" in the(otaseal("doctor", "--json", "--offline"), "hooks")


def test_a_foreign_signature_and_a_foreign_key_are_problems(
    bench: BuiltProject, otaseal: Command, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    bench.build(other_rsa_key)
    result = otaseal("doctor", "--json", "--offline")
    assert result.code == 1
    assert "not signed with the project's key" in the(result, "signed image")
    (bench.outside / "signing.pub").write_bytes(public.public_pem(other_rsa_key.public_key()))
    assert "carries another public key" in the(otaseal("doctor", "--json", "--offline"), "public key")
    assert "does not have the project's public key" in the(otaseal("doctor", "--json"), "publishing")


def test_what_is_stale_is_a_warning(bench: BuiltProject, otaseal: Command) -> None:
    source = bench.write("src/main.cpp", b"// new")
    os.utime(source, (time.time() + 60, time.time() + 60))
    bench.write("data/certs.ar", b"!<arch>\n")
    result = otaseal("doctor", "--json", "--offline")
    assert "'src/main.cpp' is newer than the firmware" in the(result, "firmware")
    assert "does not work on a device" in the(result, "archive")
    other = bench.build(bench.key, seed=2)
    bench.build(bench.key, seed=1)
    bench.write(f".pio/build/{ENVIRONMENT}/firmware.bin.signed", other)
    assert "is not the signed form" in the(otaseal("doctor", "--json", "--offline"), "signed image")


def test_the_server_is_looked_at(bench: BuiltProject, server: Running, otaseal: Command) -> None:
    raw = bench.folder / ".pio/build" / ENVIRONMENT / "firmware.bin.signed"
    publish(server, "1.0.0", raw.read_bytes())
    assert "gives out 1.0.0 to 100 %" in the(otaseal("doctor", "--json").succeeded(), "publishing")
    files.write_atomic(bench.outside / "token", b"x" * 43 + b"\n", files.PRIVATE_MODE)
    assert "no valid token" in the(otaseal("doctor", "--json"), "publishing")
    bench.configure(custom_otaseal_server="https://localhost:1")
    result = otaseal("doctor", "--json")
    assert "cannot be reached" in the(result, "server")
    assert "does not answer" in the(result, "TLS")


def test_a_server_that_devices_would_not_trust_is_a_problem(
    bench: BuiltProject, otaseal: Command, tmp_path: Path, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    (tmp_path / "other").mkdir()
    stranger = World.create(tmp_path / "other", other_rsa_key)
    bench.write("certs/ca.pem", stranger.ca.read_bytes())
    result = otaseal("doctor", "--json")
    assert result.code == 1
    assert "problem: devices refuse it for 'localhost'" in the(result, "server chain")


def test_no_project_is_an_error(otaseal: Command, tmp_path: Path) -> None:
    otaseal("doctor").failed(1, "is not a PlatformIO project")
    (tmp_path / "platformio.ini").write_text("[env:a]\nplatform = native\n")
    otaseal("doctor", "-e", "b").failed(2, "has no environment 'b'")
    result = otaseal("doctor", "--offline")
    assert result.code == 1
    assert "no script of otaseal is attached" in result.out
    assert "Traceback" not in result.err


@contextmanager
def openssl_server(world: World, *options: str) -> Iterator[int]:
    """Run a server of TLS 1.2 with the world's certificate; yields its port."""
    command = [peers.tool("openssl", "openssl"), "s_server", "-accept", "0", "-tls1_2", *options]
    command += ["-cert", str(world.chain), "-cert_chain", str(world.chain)]
    command += ["-key", str(world.chain.with_name("key.pem"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield next(int(line.rsplit(b":", 1)[1]) for line in process.stdout if line.startswith(b"ACCEPT"))
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-no_ticket"], (True, True)),
        ([], (True, True)),
        (["-no_cache", "-no_ticket"], (False, False)),
        (["-no_cache"], (False, False)),
    ],
)
def test_openssl_resumes_sessions_or_does_not(server: Running, options: list[str], expected: tuple[bool, bool]) -> None:
    with openssl_server(server.world, *options) as port:
        assert resumption(("localhost", port)) == expected


@pytest.mark.proof
def test_a_server_without_session_ids_is_a_warning(bench: BuiltProject, server: Running, otaseal: Command) -> None:
    with openssl_server(server.world, "-no_cache", "-www") as port:
        bench.configure(custom_otaseal_server=f"https://localhost:{port}")
        found = the(otaseal("doctor", "--json"), "TLS")
    assert found.startswith("ok: TLS 1.2, suite 0xcca")
    assert "warning: it gives TLS 1.2 clients no session id: every poll of a device is a full handshake" in found


def test_a_server_that_forgets_its_sessions_is_a_warning(
    bench: BuiltProject, server: Running, otaseal: Command
) -> None:
    credentials = Credentials(server.world.chain, server.world.chain.with_name("key.pem"))

    class Forgetful(Loopback):
        """A server whose connections meet a process each, which share nothing."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            self.context = server_context(credentials)
            super().finish_request(request, client_address)

    with Forgetful(lambda _: b"", server_context(credentials)) as forgetful:
        bench.configure(custom_otaseal_server=f"https://localhost:{forgetful.port}")
        found = the(otaseal("doctor", "--json"), "TLS")
    assert "warning: it forgets the sessions of TLS 1.2 clients" in found


def test_a_server_that_wants_certificates_is_not_judged(bench: BuiltProject, server: Running, otaseal: Command) -> None:
    with openssl_server(server.world, "-Verify", "1") as port:
        bench.configure(custom_otaseal_server=f"https://localhost:{port}")
        assert "skipped: whether it resumes sessions could not be tried" in the(otaseal("doctor", "--json"), "TLS")
