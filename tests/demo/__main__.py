"""From nothing to a signed, provisioned device in one command: the README's demonstration, step by step.

Everything is real but the chip: PlatformIO builds the example, the hooks sign it and pack the certificates, and the
upload goes into a file in the place of the flash. Each step proves what it says; the first that fails ends the run with
an exit code other than 0. Results lie in build/demo, and report.json there names them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from otaseal.certs import ar
from otaseal.errors import OtasealError, describe
from otaseal.image import signed_image
from otaseal.keys import signers
from otaseal.keys.public import load_public_key
from otaseal.pki import Authority, Role
from support import openssl
from support.filesystem import read_file
from support.pio import PioError, Project, Run, core_dir

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "build" / "demo"
EXAMPLE = ROOT / "examples" / "secure_ota_by_hand"
BOARD = "nodemcuv2"
KEY_IN_EXAMPLE = "~/.config/otaseal/keys/secure_ota/signing.key"
FS_START, FS_END = 0x300000, 0x3FA000
TAMPERED_BYTE = 0x1100


class DemoError(Exception):
    """A step did not hold."""


@dataclass
class Step:
    """A step as the report has it."""

    name: str
    ok: bool
    detail: str


class Demo:
    """The throw-away project, and the steps in their order."""

    def __init__(self) -> None:
        self.project = FOLDER / "project"
        # Outside of the checkout, of which git may be unable to say what it tracks: another user's, in a container
        self._private = tempfile.TemporaryDirectory(prefix="otaseal-demo-")
        self.private_key = Path(self._private.name) / "signing.key"
        self.public_key = FOLDER / "keys" / "signing.pub"
        self.firmware = self._built("firmware.bin")
        self.signed = self._built("firmware.bin.signed")
        self.filesystem_image = self._built("littlefs.bin")
        self.certs_archive = self.project / "data" / "certs.ar"
        self.flash = FOLDER / "flash.bin"
        self.steps: list[Step] = []

    def _built(self, name: str) -> Path:
        return self.project / ".pio" / "build" / BOARD / name

    def plan(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield each step's name, in words for newcomers, and what does it and returns what was seen."""
        yield "Find a C++ compiler, which stands in for the ESP8266's", self.find_compiler
        yield "Copy the example into a throw-away project", self.copy_example
        yield "Make a signing key, which never leaves your machine", self.make_signing_key
        yield "Make a certificate authority, whose servers the device will trust", self.make_authority
        yield "Build: 'pio run' compiles, and signs by itself", self.build
        yield "Build again: nothing changed, so nothing is signed again", self.build_again
        yield "Check the signature with the public key alone, as a device does", self.verify
        yield "Change one byte of the signed firmware: a device must refuse it", self.refuse_tampered
        yield "Upload firmware and certificates in one pass: 'pio run -t uploadall'", self.upload
        yield "Read the certificates back out of the flash, as the device will", self.read_back

    def find_compiler(self) -> str:
        for name in ("c++", "g++", "clang++"):
            path = shutil.which(name)
            if path:
                return path
        raise DemoError("no C++ compiler is installed; on Debian: apt-get install g++")

    def copy_example(self) -> str:
        changes = {"../../extra_scripts/": f"{ROOT}/extra_scripts/", KEY_IN_EXAMPLE: str(self.private_key)}
        self._pio.adopt(EXAMPLE, changes)
        return f"{EXAMPLE.relative_to(ROOT)} -> {self._shown(self.project)}"

    def make_signing_key(self) -> str:
        public = signers.write_key_pair(self.private_key, signers.new_signing_key(), None)
        self.public_key.parent.mkdir()
        shutil.copy(public, self.public_key)
        return f"RSA-2048, private half in {self.private_key} (mode 0600) until the end of this run"

    def make_authority(self) -> str:
        now = datetime.now(timezone.utc)
        authority = Authority.create(role=Role.SERVER, product="demo", now=now)
        path = self.project / "certs" / "server-ca.pem"
        path.parent.mkdir()
        path.write_bytes(authority.certificate_pem)
        self.certificate = authority.certificate_der
        return f"{self._shown(path)}, valid until {authority.certificate.not_valid_after_utc:%Y-%m-%d}"

    def build(self) -> str:
        return _said(self._pio.run())

    def build_again(self) -> str:
        before = self.signed.stat().st_mtime_ns
        run = self._pio.run()
        if "Signing" in run.stdout or self.signed.stat().st_mtime_ns != before:
            raise DemoError("the firmware was signed again")
        return "PlatformIO had nothing to do"

    def verify(self) -> str:
        key = load_public_key(self.public_key.read_bytes(), "the demo's public key")
        payload = signed_image.verify(self.signed.read_bytes(), key)
        if payload != self.firmware.read_bytes():
            raise DemoError("what was signed is not what was built")
        return f"the signature over {len(payload)} bytes is good{self._openssl()}"

    def _openssl(self) -> str:
        """Ask openssl as well, where it is installed: it knows nothing of us."""
        if shutil.which("openssl") is None:
            return ""
        if not openssl.accepts(self.signed.read_bytes(), self.public_key.read_bytes(), FOLDER / "openssl"):
            raise DemoError("openssl says that the signature is not good")
        return "; openssl says so too"

    def refuse_tampered(self) -> str:
        tampered = bytearray(self.signed.read_bytes())
        tampered[TAMPERED_BYTE] ^= 1
        key = load_public_key(self.public_key.read_bytes(), "the demo's public key")
        try:
            signed_image.verify(bytes(tampered), key)
        except OtasealError as error:
            return f"refused: {error.message}"
        raise DemoError("a tampered image was accepted")

    def upload(self) -> str:
        run = self._pio.run("-t", "uploadall", "--upload-port", str(self.flash))
        content = self.flash.read_bytes()
        if not content.startswith(self.firmware.read_bytes()):
            raise DemoError("the flash does not begin with the firmware")
        if content[FS_START:FS_END] != self.filesystem_image.read_bytes():
            raise DemoError("the filesystem is not where the device looks for it")
        return f"{_said(run)}\nflash: firmware at 0x0, filesystem at 0x{FS_START:x}"

    def read_back(self) -> str:
        content = read_file(self.flash.read_bytes()[FS_START:FS_END], "/certs.ar")
        if [member.data for member in ar.parse(content)] != [self.certificate]:
            raise DemoError("the flash holds other certificates than the authority's")
        return "/certs.ar in the flash's LittleFS holds the authority's certificate, byte for byte"

    @cached_property
    def _pio(self) -> Project:
        return Project(self.project, core_dir(FOLDER))

    def _shown(self, path: Path) -> str:
        return str(path.relative_to(ROOT))

    def run(self) -> bool:
        """Do all steps, as long as they hold; print each, write the report, and return whether all did."""
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        for number, (name, work) in enumerate(self.plan(), 1):
            print(f"{number:2}. {name}", flush=True)
            step = _do(name, work)
            self.steps.append(step)
            print("\n".join(f"    {'' if step.ok else 'FAILED: '}{line}" for line in step.detail.splitlines()))
            if not step.ok:
                break
        self._private.cleanup()
        ok = all(step.ok for step in self.steps)
        self._report(ok)
        return ok

    def _report(self, ok: bool) -> None:
        artefacts = ("project", "firmware", "signed", "public_key", "filesystem_image", "certs_archive", "flash")
        paths = {name: getattr(self, name) for name in artefacts}
        steps = [asdict(step) for step in self.steps]
        report = {**{name: str(path) for name, path in paths.items()}, "ok": ok, "steps": steps}
        (FOLDER / "report.json").write_text(json.dumps(report, indent=2) + "\n")
        print("\nWhere everything lies:")
        for name, path in paths.items():
            print(f"    {name.replace('_', ' '):<17} {self._shown(path)}{'' if path.exists() else ' (not made)'}")
        print(f"    {'report':<17} {self._shown(FOLDER / 'report.json')}")


def _do(name: str, work: Callable[[], str]) -> Step:
    try:
        return Step(name, True, work())
    except OtasealError as error:
        return Step(name, False, describe(error))
    except (DemoError, PioError, OSError, subprocess.SubprocessError) as error:
        return Step(name, False, str(error))


def _said(run: Run) -> str:
    """Return what the hooks printed."""
    return "\n".join(line for line in run.output.splitlines() if line.startswith("otaseal:"))


if __name__ == "__main__":
    sys.exit(0 if Demo().run() else 1)
