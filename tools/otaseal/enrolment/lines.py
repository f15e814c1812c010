"""What a host and a device say to each other over a serial line to enrol the device. Pure: lines in, values out.

    host    otaseal hello
    device  otaseal device <name> <proof key, 64 hex digits> <certificate request, base64>
    host    otaseal certificate <DER, base64>          where an authority signs
    device  otaseal ok, or otaseal error <number>      to a certificate; an error to a hello as well

A line ends in LF, with or without CR. Whatever does not begin with `otaseal` and a word of this table is the sketch's
own output, and so is what a device echoes.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from ..errors import ConfigError, InputError
from ..pki.enrolment import Request, decode_request

MAX_LINE = 1200
"""Characters, without its end: what the library has room for."""
HELLO = "otaseal hello"
_SAID = re.compile(rb"otaseal (device|ok|error)(?: (.*))?")
_DEVICE = re.compile(r"([0-9a-f]{12}|[0-9A-F]{2}(?::[0-9A-F]{2}){5}) ([0-9a-fA-F]{64}) (\S+)")
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True)
class Device:
    """Who is on the line: `name` is its MAC address, `proof_key` (32 bytes) what it proves its requests with."""

    name: str
    proof_key: bytes = field(repr=False)
    request: Request


@dataclass(frozen=True)
class Outcome:
    """How it ended on the device: with its `error` number, or 0 where all went well."""

    error: int


def parse(line: bytes) -> Device | Outcome | None:
    """Return what a device says in a line, without its end; None for the sketch's own output.

    Raises InputError for a line of ours that is damaged, and for a request that is not to be signed or is another
    device's.
    """
    said = _SAID.fullmatch(line)
    if said is None:
        return None
    word, rest = said[1].decode(), (said[2] or b"").decode("ascii", "replace")
    if word == "device":
        return _device(rest)
    if word == "ok" and not rest:
        return Outcome(0)
    if word == "error" and _NUMBER.fullmatch(rest):
        return Outcome(int(rest))
    raise _damaged(word)


def certificate_line(der: bytes) -> str:
    """Return the line that brings a device its certificate; raises ConfigError where the library has no room for it."""
    line = f"otaseal certificate {base64.b64encode(der).decode()}"
    if len(line) > MAX_LINE:
        raise ConfigError(
            f"a certificate of {len(der)} bytes does not fit into a line of {MAX_LINE} characters",
            "the product's name is in it several times: a shorter one makes it fit",
        )
    return line


def _device(rest: str) -> Device:
    match = _DEVICE.fullmatch(rest)
    if match is None:
        raise _damaged("device")
    digits = match[1].replace(":", "").upper()
    name = ":".join(digits[at : at + 2] for at in range(0, 12, 2))
    request = decode_request(match[3])
    if request.device != name:
        raise InputError(
            f"the device says that it is '{name}', and asks for a certificate of '{request.device}'",
            "update the OtaSeal library in its firmware",
        )
    return Device(name, bytes.fromhex(match[2]), request)


def _damaged(word: str) -> InputError:
    # The rest of the line has the device's proof key in it, which has no place in a message.
    return InputError(
        f"the line 'otaseal {word} ...' of the device is damaged",
        "check the cable and the speed, and try again; nothing else may print while it enrols",
    )
