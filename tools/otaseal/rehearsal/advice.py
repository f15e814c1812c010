"""What to do about a step that fails: one table from cause to fix. Pure.

A row names what it needs of a step: its name, its cause, the fact behind it, the device's own number. The first row
that fits says the fix, so the rows that need most come first, and the last ones fit a step whatever is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..simulator.library import LibraryError
from ..simulator.report import Step

__all__ = ["ROWS", "Row", "fix", "row_of"]


@dataclass(frozen=True)
class Row:
    """A fix, and what a step must have for it: what is empty here can be anything there."""

    fix: str
    steps: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    error: int | None = None

    def fits(self, step: Step) -> bool:
        """Tell whether this is the fix of `step`."""
        wanted = ((self.steps, step.name), (self.causes, step.cause), (self.facts, step.fact))
        return all(not allowed or value in allowed for allowed, value in wanted) and self.error in (None, step.error)


_LAYOUT = "choose a layout with a smaller filesystem (board_build.ldscript), compress, or make the firmware smaller"
_MODE = (
    "build with the flash mode that the chips run in (board_build.flash_mode), or publish a gzip; with --flash-mode, "
    "name the mode that they run in"
)
_TRUST = "put the server's authority into the project's certificates, and ship them: -t uploadfs"
_CLIENT = (
    "give the device a certificate of the authority that the server asks for (--device-cert), "
    "neither revoked nor expired"
)
_OTHER_CHIP = "publish it as another product, or in another channel: it is not for this chip"

_CONNECTION = (
    Row("start the server, and check the name, the port and the firewall", ("handshake",), ("no-connection",)),
    Row("offer a suite that devices know: ECDHE with ChaCha20-Poly1305 or AES-GCM", ("handshake",), ("alert-40",)),
    Row("let the server's security level allow ECDHE with AES-GCM in TLS 1.2", ("handshake",), ("alert-71",)),
    Row("offer TLS 1.2 on the server: devices know no later one", ("handshake",), ("alert-70",)),
    Row("give devices a name that the server knows, in the URL", ("handshake",), ("alert-112",)),
    Row(_CLIENT, ("client-certificate",)),
    Row("name the port that speaks TLS 1.2: what answers there does not", ("handshake",), error=3),
    Row("let the server negotiate short records, or give the device a larger buffer", ("handshake",), facts=("F27",)),
    Row("lower the buffers with setBufferSizes, or free memory before the update", ("heap",)),
    Row("look at the server with 'otaseal pki check <host:port>'", ("handshake",)),
)
_CHAIN = (
    Row(
        "keep the server's present authority in the certificates beside the new one, until the server has changed",
        ("certificate-chain",),
        error=LibraryError.ARCHIVE_LOCKOUT,
    ),
    Row(_TRUST, ("certificate-chain",), facts=("F17",)),
    Row(
        "renew the server's certificate: otaseal pki renew; a server that runs takes it by itself",
        ("certificate-chain",),
        facts=("F20",),
    ),
    Row(
        "set the clock before the update (configTime), with the build's time as its floor",
        ("certificate-chain",),
        facts=("F25",),
    ),
    Row(
        "issue the server a certificate with the name or address that devices use: otaseal pki server",
        ("certificate-chain",),
        facts=("F22",),
    ),
    Row(
        "issue the certificate from the server authority, without critical extensions",
        ("certificate-chain",),
        facts=("F23",),
    ),
    Row("use an authority whose certificate says CA:TRUE", facts=("F18c",)),
    Row("use RSA of 2048 to 4096 bits or P-256 for the server's chain", facts=("F26",)),
    Row("send the chain in order, leaf first, as otaseal serve sends chain.pem", facts=("F27b",)),
    Row("use an authority with an RSA or a P-256 key", ("certificate-chain",), facts=("F19",)),
    Row(
        "look at the chain with 'otaseal pki check <host:port>', and at the project's certificates",
        ("certificate-chain",),
    ),
)
_STORE = (
    Row("set board_build.filesystem = littlefs, and ship it with -t uploadfs", facts=("F15",)),
    Row(
        "let PlatformIO build the image (-t buildfs): it has to be LittleFS 2.0 in the partition's own geometry",
        facts=("F15b",),
    ),
    Row("leave files out of the data folder: the archive needs room, and its index beside it", facts=("F19",)),
    Row("use an authority whose subject has at least 32 bytes, as those of 'otaseal pki' have", facts=("F18",)),
    Row("pack the archive with pack_certs.py, which makes one member of each certificate", facts=("F18b",)),
    Row("pack the archive with pack_certs.py or 'otaseal certs pack', and ship it with -t uploadfs", facts=("F16",)),
    Row("leave one of the two certificates with the same subject out", ("certificates",), facts=("F17",)),
    Row("build and ship the filesystem: pio run -t uploadfs", ("filesystem",)),
    Row("pack the certificates (pack_certs.py), and ship them: pio run -t uploadfs", ("certificates",)),
)
_ANSWER = (
    Row("give devices the URL that the redirection leads to: they follow none", ("answer",), ("redirect",)),
    Row(
        "serve devices without a password (a certificate identifies them), or put user:password@ into the URL",
        ("answer",),
        ("status-401",),
    ),
    Row("check the path: the server has nothing under this name", ("answer",), ("status-404", "missing")),
    Row(_MODE, ("answer",), ("flash_mode",)),
    Row(_LAYOUT, ("answer",), ("space",)),
    Row("publish the raw image for this core: custom_otaseal_compress = no", ("answer",), ("gzip_core",)),
    Row(_OTHER_CHIP, ("answer",), ("chip_size", "platform", "filesystem")),
    Row(
        "look at the server's log: it refuses this device by its address, its certificate or the path",
        ("answer",),
        ("status-403",),
    ),
    Row("look at the server's log: it fails by itself", ("answer",), ("server-error",)),
    Row("let the server send Content-Length and not chunk, as otaseal serve does", ("answer",), ("no-length",)),
    Row("let the server send the firmware as it is, without a transfer encoding", ("answer",), ("encoding",)),
    Row("send the file's MD5 as 32 hex digits in x-MD5, or no such header", ("answer",), ("md5-header",)),
    Row("name the port of a web server: what answers there is none", ("answer",), ("no-http",)),
    Row("look at the server: it takes the request and does not answer", ("answer",), ("no-answer",)),
    Row("look at the server's log: the answer is not the one that devices need", ("answer",)),
    Row("check that the server answers on that port", ("request",)),
)
_IMAGE = (
    Row(_LAYOUT, ("space",)),
    Row("publish what the build made, firmware.bin.signed, and not a page", ("first-byte",), facts=("F9",)),
    Row("build for the flash size of the device (board_build.ldscript)", ("first-byte", "image"), facts=("F10",)),
    Row("look at the server: it announces a body and sends none", ("first-byte",), ("no-body",)),
    Row("send the x-MD5 of the file that is served: it is another file's", ("write",), ("md5",)),
    Row("look at the connection and the server: the download did not come to its end", ("write",)),
    Row("publish what the build made: firmware.bin.signed", facts=("F9",)),
    Row(_MODE, facts=("F7",)),
    Row(
        "sign with the key whose public half the running firmware carries: 'otaseal doctor' compares them",
        facts=("F1",),
    ),
    Row("sign with an RSA key of 2048 to 4096 bits", facts=("F2",)),
    Row("this core verifies the legacy signature: give the fleet one bridge release that is signed so", facts=("F3",)),
    Row("sign with sign_firmware.py, which pads a gzip to a multiple of 4", facts=("F8",)),
    Row("publish the raw image for this core: custom_otaseal_compress = no", facts=("F8b",)),
    Row(
        "make the firmware smaller, or publish it raw: the gzip and what it becomes overlap in flash",
        ("copy",),
        facts=("F10",),
    ),
    Row("let the server give out a file with this build's own bytes: its MD5 is that of firmware.bin", facts=("F30",)),
    Row("build for the flash size of the device (board_build.ldscript)", ("image",)),
    Row("look at the chip's flash layout: eboot copies whole sectors", ("copy",)),
    Row("build the firmware again", ("boot",)),
)
_MANIFEST = (
    Row(
        "build with custom_otaseal_product set, so that the release carries a manifest",
        ("manifest",),
        error=LibraryError.NO_MANIFEST,
    ),
    Row(
        "sign with the otaseal that the devices' library belongs to: they do not know this manifest",
        ("manifest",),
        error=LibraryError.FORMAT,
    ),
    Row(
        "publish firmware as firmware, and certificates with 'otaseal certs deploy'",
        ("manifest",),
        error=LibraryError.KIND,
    ),
    Row(
        "build for this product (custom_otaseal_product), or publish it under its own",
        ("manifest",),
        error=LibraryError.PRODUCT,
    ),
    Row("build for this board, or publish each board in a channel of its own", ("manifest",), error=LibraryError.BOARD),
    Row(
        "set custom_otaseal_security_counter no lower than what devices run now",
        ("manifest",),
        error=LibraryError.COUNTER,
    ),
    Row(
        "publish another release: devices try one three times, and no more", ("manifest",), error=LibraryError.ATTEMPTS
    ),
    Row(
        "sign the certificates again: devices take none that were signed before those they have",
        ("manifest",),
        error=LibraryError.ARCHIVE_OLDER,
    ),
    Row("pack only the authorities that the server may ever need", ("answer",), error=LibraryError.ARCHIVE_SIZE),
    Row(
        "make room in the devices' filesystem, or pack fewer authorities", ("write",), error=LibraryError.ARCHIVE_WRITE
    ),
)
ROWS: Sequence[Row] = (*_MANIFEST, *_CONNECTION, *_CHAIN, *_ANSWER, *_IMAGE, *_STORE)


def row_of(step: Step) -> Row | None:
    """Return the row that fits a step that failed, None where none does."""
    return next((row for row in ROWS if row.fits(step)), None)


def fix(step: Step) -> str:
    """Return what a person does about `step`, empty where it did not fail."""
    row = None if step.ok else row_of(step)
    return "" if step.ok else "docs/rehearsal.md explains each step" if row is None else row.fix
