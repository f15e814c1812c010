"""What to do about a step that fails: tables from cause to fix. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..simulator.error_numbers import TlsError
from ..simulator.library import LibraryError
from ..simulator.report import Step

_LAYOUT = "choose a layout with a smaller filesystem (board_build.ldscript), compress, or make the firmware smaller"
_MODE = (
    "build with the flash mode that the chips run in (board_build.flash_mode), or publish a gzip; with --flash-mode, "
    "name the mode that they run in"
)
_CLIENT = (
    "give the device a certificate of the authority that the server asks for (--device-cert), "
    "neither revoked nor expired"
)
_LOCKOUT = "keep the server's present authority in the certificates beside the new one, until the server has changed"
_FORMAT = "sign with the otaseal that the devices' library belongs to: they do not know this manifest"
_RESIGN = "sign the certificates again: devices take none that were signed before those they have"
_CHECK_SERVER = "look at the server with 'otaseal pki check <host:port>'"
_CHECK_CHAIN = "look at the chain with 'otaseal pki check <host:port>', and at the project's certificates"
_OPEN = "serve devices without a password (a certificate identifies them), or put user:password@ into the URL"
_OTHER_CHIP = "publish it as another product, or in another channel: it is not for this chip"
_NOT_FOUND = "check the path: the server has nothing under this name"
_FLASH_SIZE = "build for the flash size of the device (board_build.ldscript)"
_ROOM = (
    "make the filesystem larger (board_build.filesystem_size, by cable), leave files out of it, or make the firmware "
    "smaller: the update is a file in it"
)
_SLOTS = (
    "choose a partition table with two slots that are large enough (board_build.partitions, as min_spiffs.csv), "
    "and write it by cable, or make the firmware smaller"
)
_UNCOMPRESSED = "publish the raw image for this core: custom_otaseal_compress = no"

_REBUILD = "build the firmware again"

FIXES: Mapping[str, Mapping[str | int, str]] = {
    "manifest": {
        LibraryError.NO_MANIFEST: "build with custom_otaseal_product set, so that the release carries a manifest",
        LibraryError.FORMAT: _FORMAT,
        LibraryError.KIND: "publish firmware as firmware, and certificates with 'otaseal certs deploy'",
        LibraryError.PRODUCT: "build for this product (custom_otaseal_product), or publish it under its own",
        LibraryError.BOARD: "build for this board, or publish each board in a channel of its own",
        LibraryError.COUNTER: "set custom_otaseal_security_counter no lower than what devices run now",
        LibraryError.ATTEMPTS: "publish another release: devices try one three times, and no more",
        LibraryError.ARCHIVE_OLDER: _RESIGN,
    },
    "handshake": {
        "no-connection": "start the server, and check the name, the port and the firewall",
        "alert-40": "offer a suite that devices know: ECDHE with ChaCha20-Poly1305 or AES-GCM",
        "alert-71": "let the server's security level allow ECDHE with AES-GCM in TLS 1.2",
        "alert-70": "offer TLS 1.2 on the server: devices know no later one",
        "alert-112": "give devices a name that the server knows, in the URL",
        TlsError.UNSUPPORTED_VERSION: "name the port that speaks TLS 1.2: what answers there does not",
        "F27": "let the server negotiate short records, or give the device a larger buffer",
        "F26": _CHECK_SERVER,
        "": _CHECK_SERVER,
    },
    "client-certificate": {"": _CLIENT},
    "heap": {"": "lower the buffers with setBufferSizes, or free memory before the update"},
    "certificate-chain": {
        "lockout": _LOCKOUT,
        "F17": "put the server's authority into the project's certificates, and ship them: -t uploadfs",
        "F20": "renew the server's certificate: otaseal pki renew; a server that runs takes it by itself",
        "F25": "set the clock before the update (configTime), with the build's time as its floor",
        "F22": "issue the server a certificate with the name or address that devices use: otaseal pki server",
        "F23": "issue the certificate from the server authority, without critical extensions",
        "F19": "use an authority with an RSA or a P-256 key",
        "": _CHECK_CHAIN,
    },
    "request": {"": "check that the server answers on that port"},
    "answer": {
        "redirect": "give devices the URL that the redirection leads to: they follow none",
        "status-401": _OPEN,
        "status-404": _NOT_FOUND,
        "missing": _NOT_FOUND,
        "flash_mode": _MODE,
        "space": _LAYOUT,
        "slot": _SLOTS,
        "gzip_core": _UNCOMPRESSED,
        "chip_size": _OTHER_CHIP,
        "platform": _OTHER_CHIP,
        "board": "publish a release with an image for this board: custom_otaseal_environments names all of them",
        "filesystem": _OTHER_CHIP,
        "status-403": "look at the server's log: it refuses this device by its address, its certificate or the path",
        "server-error": "look at the server's log: it fails by itself",
        "no-length": "let the server send Content-Length and not chunk, as otaseal serve does",
        "encoding": "let the server send the firmware as it is, without a transfer encoding",
        "md5-header": "send the file's MD5 as 32 hex digits in x-MD5, or no such header",
        "no-http": "name the port of a web server: what answers there is none",
        "no-answer": "look at the server: it takes the request and does not answer",
        LibraryError.ARCHIVE_SIZE: "pack only the authorities that the server may ever need",
        "": "look at the server's log: the answer is not the one that devices need",
    },
    "space": {"F55": _ROOM, "F87": _SLOTS, "F92": _SLOTS, "": _LAYOUT},
    "first-byte": {
        "no-body": "look at the server: it announces a body and sends none",
        "F9": "publish what the build made, firmware.bin.signed, and not a page",
        "F10": _FLASH_SIZE,
        "F87": "publish what the build made, firmware.bin.signed, for the chip that devices have",
        "F88": "publish what the build made, firmware.bin.signed, for the chip that devices have",
    },
    "activation": {"": "build it again: the boot loader would not start it"},
    "write": {
        "md5": "send the x-MD5 of the file that is served: it is another file's",
        "F55": _ROOM,
        LibraryError.ARCHIVE_WRITE: "make room in the devices' filesystem, or pack fewer authorities",
        "": "look at the connection and the server: the download did not come to its end",
    },
    "patch": {
        "F30b": "report this with both images: devices take the whole image after it",
        "": "look at the connection and the server: the patch did not come to its end",
    },
    "image": {"": _FLASH_SIZE},
    "copy": {
        "F10": "make the firmware smaller, or publish it raw: the gzip and what it becomes overlap in flash",
        "F55": "build it again, and publish it raw (custom_otaseal_compress = no): what is copied is not whole",
        "": "look at the chip's flash layout: eboot copies whole sectors",
    },
    "order": {"": _ROOM},
    "trial": {
        LibraryError.UNREACHED: "let the server answer the new firmware with 304, under the name, at the path and "
        "by the certificates that it has",
    },
    "boot": {"F56": "build it for the chip that devices have: another one's is taken, and loses them", "": _REBUILD},
    "filesystem": {
        "F55": "keep board_build.filesystem_size as devices have it: another one goes onto them by cable",
        "": "build and ship the filesystem: pio run -t uploadfs",
    },
    "certificates": {
        "F17": "leave one of the two certificates with the same subject out",
        "": "pack the certificates (pack_certs.py), and ship them: pio run -t uploadfs",
    },
}
"""By step, and there by cause, by the device's own number, by fact, and "" for whatever else is wrong with it."""

FIXES_BY_FACT: Mapping[str, str] = {
    "F1": "sign with the key whose public half the running firmware carries: 'otaseal doctor' compares them",
    "F2": "sign with an RSA key of 2048 to 4096 bits",
    "F3": "this core verifies the legacy signature: give the fleet one bridge release that is signed so",
    "F7": _MODE,
    "F8": "sign with sign_firmware.py, which pads a gzip to a multiple of 4",
    "F8b": _UNCOMPRESSED,
    "F9": "publish what the build made: firmware.bin.signed",
    "F15": "set board_build.filesystem = littlefs, and ship it with -t uploadfs",
    "F15b": "let PlatformIO build the image (-t buildfs): it has to be LittleFS 2.0 in the partition's own geometry",
    "F113": "let whatever stands in front of the server hand parts of a file on as the server sends them",
    "F16": "pack the archive with pack_certs.py or 'otaseal certs pack', and ship it with -t uploadfs",
    "F18": "use an authority whose subject has at least 32 bytes, as those of 'otaseal pki' have",
    "F18b": "pack the archive with pack_certs.py, which makes one member of each certificate",
    "F18c": "use an authority whose certificate says CA:TRUE",
    "F19": "leave files out of the data folder: the archive needs room, and its index beside it",
    "F26": "use RSA of 2048 to 4096 bits or P-256 for the server's chain",
    "F27b": "send the chain in order, leaf first, as otaseal serve sends chain.pem",
    "F30": "let the server give out a file with this build's own bytes: its MD5 is that of firmware.bin",
}
"""What helps at any step, where the step's own table has nothing for the fact."""


def fix(step: Step) -> str:
    """Return what a person does about `step`, empty where it did not fail."""
    if step.ok:
        return ""
    fixes = FIXES.get(step.name, {})
    own = next((fixes[key] for key in (step.cause, step.error, step.fact) if key and key in fixes), None)
    return own or FIXES_BY_FACT.get(step.fact) or fixes.get("", "docs/rehearsal.md explains each step")


def explained(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return the device's steps with the fix of the one that failed."""
    return tuple(replace(step, fix=fix(step)) for step in steps)
