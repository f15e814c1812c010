"""From nothing to a device that has updated itself over verified TLS, and refused what it has to refuse.

PlatformIO, the hooks, the commands, the server, certificates and TLS are real. The chip is virtual, and the test
platform stands for its toolchain. A step that does not end as it claims ends the run, and the exit code is not 0.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import otaseal
from demo.report import Ran, Step
from otaseal.certs import ar
from otaseal.errors import OtasealError, describe
from otaseal.pki.certificate import parse_certificates
from otaseal.rehearsal.loopback import HOST, Loopback, response
from otaseal.server.tls import Credentials, server_context
from otaseal.simulator.device import Device
from otaseal.simulator.flash import layout
from otaseal.simulator.report import Outcome, Result
from support import openssl
from support.filesystem import read_file
from support.pio import RUN_SECONDS, PioError, Project, core_dir
from support.serving import ON_LOOPBACK, serve

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLE = ROOT / "examples" / "secure_ota"
PRODUCT, FIRST, SECOND = "blink", "0.1.0", "0.2.0"
NAME = "localhost"
PATH = f"/{PRODUCT}/firmware.bin.signed"
LAYOUT = layout("4m1m")  # of the board
BEGIN = "  Serial.begin(115200);\n"  # in the sketch; behind it the second release says its version
WIDTH = 76


class DemoError(Exception):
    """A step did not end as it claims to."""


FAULTS = (DemoError, OtasealError, PioError, OSError, subprocess.SubprocessError, AssertionError)


class Demo:
    """`with Demo(folder) as demo: demo.play()`: a project in `folder`, private keys outside of it, and the steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[Step] = []
        self.ran: list[Ran] = []
        self.device: Device | None = None  # until it is written by cable
        self._exit = ExitStack()

    def __enter__(self) -> Demo:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.home = Path(self._exit.enter_context(tempfile.TemporaryDirectory(prefix="otaseal-demo-"))).resolve()
        environment = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": "",
            "OTASEAL_VERSION": FIRST,  # else the version is that of this checkout
            "PYTHONPATH": str(Path(otaseal.__file__).resolve().parent.parent),
        }
        self.project = Project(self.folder / "project", core_dir(self.folder), environment=environment)
        self.firmware, self.signed = self.project.build("firmware.bin"), self.project.build("firmware.bin.signed")
        self.flash = self.folder / "flash.bin"
        self.keys = self.home / ".config" / "otaseal" / "keys" / PRODUCT
        self.pki = self.home / ".config" / "otaseal" / "pki"
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def play(self, plan: Sequence[Callable[[], str]] = ()) -> bool:
        """Do the steps of `plan`, else all, as long as they hold; print each, and return whether all did."""
        everything = [getattr(self, name) for name in vars(Demo) if name.startswith("step_")]
        for number, work in enumerate(plan or everything, 1):
            title = (work.__doc__ or "").rstrip(".")
            print(f"{number:2}. {_wrapped(title).lstrip()}", flush=True)
            before, self.ran = self.device, []
            try:
                said, ok = work(), True
            except FAULTS as error:
                said, ok = describe(error) if isinstance(error, OtasealError) else str(error), False
            said = self.short(said)
            self.steps.append(Step(title, ok, said, tuple(self.ran), before, self.device))
            for ran in self.ran:
                print(_wrapped(f"$ {ran.command}"))
            for line in said.splitlines():
                print(_wrapped(line if ok else f"FAILED: {line}"))
            if not ok:
                return False
        return True

    def step_find_compiler(self) -> str:
        """Find a C++ compiler, which stands in for the ESP8266's."""
        found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
        hold(found, "no C++ compiler is installed; on Debian: apt-get install g++")
        return found

    def step_take_a_project(self) -> str:
        """Take a PlatformIO project: the example's sketch, and a platformio.ini of five lines."""
        self.project.adopt(EXAMPLE)
        self.project.configure("monitor_speed = 115200")
        return f"{EXAMPLE.relative_to(ROOT)} -> {self.project.path}"

    def step_set_up(self) -> str:
        """Set it up: keys, certificate authorities and the lines of platformio.ini, in one command."""
        self._otaseal("init", "--product", PRODUCT, "--server-name", NAME, "--no-passphrase")
        return "private keys lie outside of the project, until the end of this run; the CA certificates lie in it"

    def step_build(self) -> str:
        """Build: 'pio run' compiles, and signs by itself."""
        self._pio()
        hold(self.signed.is_file(), "there is no signed firmware")
        return self._hooks()

    def step_build_again(self) -> str:
        """Build again: nothing changed, so nothing is signed again."""
        before = self.signed.stat().st_mtime_ns
        self._pio()
        hold(self.signed.stat().st_mtime_ns == before, "the firmware was signed again")
        return "PlatformIO had nothing to do"

    def step_verify(self) -> str:
        """Check the signature with the public key alone, as a device does."""
        self._otaseal("verify", self.signed, "--key", self.keys / "signing.pub")
        if shutil.which("openssl") is None:
            return "the signature is good"
        public = (self.keys / "signing.pub").read_bytes()
        good = openssl.accepts(self.signed.read_bytes(), public, self.folder / "openssl")
        hold(good, "openssl says that the signature is not good")
        return "the signature is good; openssl, which knows nothing of us, says so too"

    def step_upload(self) -> str:
        """Write the device once by cable, firmware and certificates in one pass."""
        self._pio("-t", "uploadall", "--upload-port", str(self.flash))
        content = self.flash.read_bytes().ljust(LAYOUT.flash_size, b"\xff")
        partition = slice(LAYOUT.fs_start, LAYOUT.fs_end)
        hold(content.startswith(self.firmware.read_bytes()), "the flash does not begin with the firmware")
        hold(content[partition] == self.project.build("littlefs.bin").read_bytes(), "the filesystem is elsewhere")
        device = Device.provision(content[: LAYOUT.fs_start], LAYOUT, content[partition])
        hold(device.flash == content, "the virtual device has another flash than the one that was written")
        self.device = replace(device, clock=datetime.now(timezone.utc))
        return f"the virtual device starts from {self.flash}"

    def step_read_back(self) -> str:
        """Read the certificates back out of the flash, as the device will."""
        content = read_file(self.device.flash[LAYOUT.fs_start : LAYOUT.fs_end], "/certs.ar")
        members = {member.data for member in ar.device_view(content).indexed}
        stored = [self.pki / PRODUCT / slot / "certificate.pem" for slot in ("server-ca", "server-ca-next")]
        hold(members == {parse_certificates(path.read_bytes())[0].der for path in stored}, "they are others")
        return "/certs.ar in LittleFS holds both authorities, today's and its successor, byte for byte"

    def step_serve(self) -> str:
        """Start the update server on the loopback interface."""
        chain = self.issued(PRODUCT, "main")
        options = ("--store", self.folder / "releases", "--product", f"{PRODUCT}={self.keys / 'signing.pub'}")
        options += ("--cert", chain, "--key", chain.with_name("key.pem"))
        options += ("--operator-ca", self.pki / PRODUCT / "operator-ca" / "certificate.pem")
        log = self.folder / "server.log"
        process, ready = serve(*options, log=log, environment=self.project.environment_of_runs())
        self._exit.enter_context(process)
        self._exit.callback(process.terminate)
        self.port = int(ready[1])
        self.project.environment["OTASEAL_SERVER"] = f"https://{NAME}:{ready[2]}"
        self._record(" ".join(["otaseal serve", *map(str, (*ON_LOOPBACK, *options))]), ready[0])
        return "of the signing key it has the public half only"

    def step_deploy_first(self) -> str:
        """Publish the release that the device runs: it asks, and is told that it is up to date."""
        self._deploy(FIRST)
        return self._is_up_to_date()

    def step_deploy_second(self) -> str:
        """Change the sketch, and publish a second release; a rehearsal goes before it."""
        path = self.project.path / "src" / "main.cpp"
        path.write_text(path.read_text().replace(BEGIN, f'{BEGIN}  Serial.println("release {SECOND}");\n'))
        before = self.signed.read_bytes()
        self._deploy(SECOND)
        hold(self.signed.read_bytes() != before, "the second release is the first")
        self._otaseal("releases")
        self.offered = self.signed.read_bytes()
        at = len(self.offered) // 2
        self.tampered = self.offered[:at] + bytes([self.offered[at] ^ 1]) + self.offered[at + 1 :]
        return self._hooks()

    def step_refuse_tampered(self) -> str:
        """Offer it with one bit changed, from a server with a good certificate: refused."""
        said = self.refuses(self.issued(PRODUCT, "main"), self.tampered, "signature", 12)
        path = self.folder / "tampered.bin.signed"
        path.write_bytes(self.tampered)
        self._otaseal("verify", path, "--key", self.keys / "signing.pub", good=False)
        return said

    def step_refuse_other_authority(self) -> str:
        """Offer it, untouched, from a server whose certificate another authority made: refused."""
        other = Project(self.folder / "other", self.project.core).create()
        self._otaseal("init", "--project", other.path, "--product", "other", "--server-name", NAME, "--no-passphrase")
        return self.refuses(self.issued("other", "main"), self.offered, "certificate-chain", 62)

    def step_refuse_other_name(self) -> str:
        """Offer it, untouched, from a server of the right authority under another name: refused."""
        self._otaseal("pki", "server", "elsewhere", "--name", "elsewhere.example", "--product", PRODUCT)
        return self.refuses(self.issued(PRODUCT, "elsewhere"), self.offered, "certificate-chain", 56)

    def step_update(self) -> str:
        """Let the same device ask the update server: it downloads over verified TLS, installs and restarts."""
        outcome = self._poll(self.port)
        hold(outcome.result is Result.UPDATED, f"the device did not update: {outcome.failed}")
        hold(outcome.device.running == self.firmware.read_bytes(), "the device does not run what was built")
        return f"it runs release {SECOND}: {len(outcome.device.running)} bytes in flash are those of firmware.bin"

    def step_ask_again(self) -> str:
        """Ask again: 304, there is nothing newer."""
        return self._is_up_to_date()

    def _is_up_to_date(self) -> str:
        outcome = self._poll(self.port)
        hold((outcome.result, outcome.status) == (Result.UP_TO_DATE, 304), f"not up to date: {outcome.failed}")
        return "the server answers 304"

    def refuses(self, chain: Path, body: bytes, step: str, error: int) -> str:
        """Offer `body` from a server with the certificate `chain`; DemoError unless refused at `step` with `error`."""
        head = (("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body))))
        context = server_context(Credentials(chain, chain.with_name("key.pem")))
        running = self.device.running
        with Loopback(lambda _: response(200, head, body), context) as server:
            outcome = self._poll(server.port)
        hold(outcome.result is Result.REFUSED, f"not refused: {outcome.result.value}")
        failed = outcome.failed
        hold((failed.name, failed.error) == (step, error), f"refused for another reason: {failed}")
        hold(outcome.device.running == running, "another firmware runs")
        return f"refused at '{step}' with the device's error {error}: {failed.reason}; the old release runs on"

    def _poll(self, port: int) -> Outcome:
        url = f"https://{NAME}:{port}{PATH}"
        outcome = self.device.poll(url, host=HOST)
        self.device = outcome.device
        told = []
        for step in outcome.steps:
            told.append(f"{'ok' if step.ok else outcome.result.value}  {step.name}: {step.checked}")
            told += [] if step.ok else [f"device error {step.error}: {step.reason}"]
        self._record(f"(virtual device) GET {url}", "\n".join(told))
        return outcome

    def _deploy(self, version: str) -> None:
        self.project.environment["OTASEAL_VERSION"] = version
        self._pio("-t", "deploy")

    def _pio(self, *arguments: str) -> None:
        version = self.project.environment["OTASEAL_VERSION"]
        command = " ".join([f"OTASEAL_VERSION={version}", "pio", "run", *arguments])
        self._record(command, self.project.run(*arguments).output)

    def _otaseal(self, *arguments: str | Path, good: bool = True) -> None:
        """Run the command in the project; its exit code has to be 0 where it is to go well, and 1 where not."""
        command = [sys.executable, "-m", "otaseal", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self.project.path,
            env=self.project.environment_of_runs(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
        self._record(" ".join(["otaseal", *command[3:]]), done.stdout + done.stderr)
        hold(done.returncode == (0 if good else 1), f"exit code {done.returncode}\n{done.stdout}{done.stderr}")

    def issued(self, product: str, name: str) -> Path:
        """Return the chain of a server's certificate; its key lies beside it."""
        return self.pki / product / "issued" / "server" / name / "chain.pem"

    def _record(self, command: str, printed: str) -> None:
        self.ran.append(Ran(self.short(command), self.short(printed).strip("\n")))

    def short(self, text: str) -> str:
        """Return `text` with the paths that a reader has, too."""
        return text.replace(str(self.home), "~").replace(f"{ROOT}/", "")

    def _hooks(self) -> str:
        """Return what the hooks printed in this step."""
        said = (line for ran in self.ran for line in ran.printed.splitlines())
        return "\n".join(line for line in said if line.startswith("otaseal:"))


def _wrapped(text: str) -> str:
    """Return `text` for a terminal of 80 columns, an option on one line with its value."""
    kept = re.sub(r"( --?[a-z][a-z-]*) (?=[^-])", "\\1\xa0", text)
    margin = " " * 4
    lines = textwrap.wrap(
        kept,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin + "  " * text.startswith("$"),
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\xa0", " ")


def hold(so: object, otherwise: str) -> None:
    """Raise DemoError unless it is so; unlike an assertion, whatever the interpreter is told."""
    if not so:
        raise DemoError(otherwise)
