"""Every command of `otaseal`: its module in `cli`, what it is for, and how it is called on this machine."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """The module in `cli` that registers a command, and what `otaseal --help` says it is for."""

    module: str
    summary: str


COMMANDS = {
    "init": Command("init", "set a PlatformIO project up: keys, certificates, platformio.ini"),
    "key": Command("key", "make, show, lock and unlock signing keys"),
    "pki": Command("pki", "authorities, and certificates for servers, devices and operators"),
    "certs": Command("certs", "CA certificates for devices"),
    "sign": Command("images", "sign a firmware image as the device verifies it"),
    "verify": Command("images", "check that a device with a public key would take a signed image and start it"),
    "inspect": Command(
        "images", "tell all about an image: core, flash, sketch MD5, signature, and what stock devices do with it"
    ),
    "provenance": Command("provenance", "sign who built a firmware, from what: in-toto, SLSA provenance v1"),
    "reproduce": Command("reproduce", "compare a firmware that was built again with the one that was released"),
    "delta": Command("delta", "make, apply and inspect patches from one firmware image to the next"),
    "serve": Command("serve", "serve firmware to devices, and take releases from operators"),
    "token": Command("tokens", "make, list and revoke the tokens of operators, on the server itself"),
    "trust": Command("trust", "say whose short-lived tokens the server takes: those of CI jobs (OpenID Connect)"),
    "claim": Command("claim", "make, list and revoke the codes by which devices ask for a certificate, on the server"),
    "deploy": Command("deploy", "publish a signed firmware, and confirm it by reading it back"),
    "releases": Command("release", "list the releases of a product and what its channels give out"),
    "log": Command("log", "list and verify the log of a product's releases, which their publishers sign"),
    "notes": Command("release", "say what a release is for: its notes, and whether it is one for security"),
    "report": Command("report", "report what runs where, how old it is, and how fast security releases arrive"),
    "support": Command("report", "say until when a product is supported"),
    "delete": Command("release", "delete a release that no channel gives out or can go back to"),
    "audit": Command("audit", "list who did what on an update server, the latest first"),
    "promote": Command("promote", "give a channel the release of another one, or a release by its version"),
    "rollout": Command("rollout", "show a rollout's waves; pause, resume, halt, approve, or serve one device now"),
    "rollback": Command("promote", "give a channel the release before"),
    "devices": Command("devices", "list the devices: what each runs, when it asked last, and whether it is stuck"),
    "store": Command("store", "make, check, prune, back up and restore a release store"),
    "rehearse": Command("rehearse", "play an update on a virtual device with the real files and the live server"),
    "doctor": Command("doctor", "examine a project and its update server, and say what to do next"),
    "sbom": Command("sbom", "show what a firmware is made of: its SBOM, or that of a release on the server"),
    "lock": Command("sbom", "write what PlatformIO has installed for a project, with hashes, to otaseal.lock"),
    "config": Command("config", "show the options, or the lines for platformio.ini"),
    "completion": Command("completion", "print what makes a shell complete otaseal's commands and options"),
}
_CALL = re.compile(rf"(?<![\w/.-])otaseal (?=(?:{'|'.join(COMMANDS)})\b)")


def program(python: str = sys.executable) -> str:
    """Return how otaseal is called here in a POSIX shell: by its name, if a shell finds that, else with `python`."""
    if shutil.which("otaseal"):
        return "otaseal"
    package = Path(__file__).resolve().parents[1]
    command = f"{shlex.quote(python)} -m otaseal"
    return command if package.name == "site-packages" else f"PYTHONPATH={shlex.quote(str(package))} {command}"


def runnable(text: str, python: str = sys.executable) -> str:
    """Return a hint in which each command of otaseal is called as it can be here."""
    return _CALL.sub(lambda _: f"{program(python)} ", text)
