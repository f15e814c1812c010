"""The device library's decoder of patches, compiled for this computer with sanitizers: many cases in one run."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from otaseal.delta import applying
from otaseal.delta.errors import PatchError, WrongBaseError, WrongTargetError
from otaseal.errors import LaterFormatError
from support import peers
from support.firmware import LIBRARY, SANITIZERS, WARNINGS, run_compiler, run_program

MAIN = Path(__file__).resolve().parent.parent / "firmware" / "patch" / "decode.cpp"
SOURCES = [LIBRARY / "otaseal" / f"{name}.cpp" for name in ("address_map", "instructions", "patch", "range_decoder")]
NONE, CONNECT, SPACE, FLASH, WRONG_BASE, DAMAGED = 0, 11, 26, 28, 60, 61


@dataclass(frozen=True)
class Case:
    """A patch on its way to a device: how many bytes of it come at once, and which end breaks at its which call."""

    base: bytes
    patch: bytes
    piece: int = 512
    broken: int = 0
    call: int = 0
    md5: str | None = None

    def serialise(self) -> bytes:
        digits = (hashlib.md5(self.base, usedforsecurity=False).hexdigest() if self.md5 is None else self.md5).encode()
        numbers = (self.piece, self.broken, self.call, len(digits), len(self.base), len(self.patch))
        return struct.pack("<6I", *numbers) + digits + self.base + self.patch


@dataclass(frozen=True)
class Made:
    """The library's error, 0 for none, and what came out."""

    error: int
    image: bytes


@dataclass(frozen=True)
class PatchDecoder:
    """The compiled program; its files are in `folder`."""

    program: Path
    folder: Path

    @classmethod
    def compile(cls, folder: Path, *defined: str) -> PatchDecoder:
        """Compile it in a folder, by default as for a core with Xtensa instructions."""
        compiler, made = peers.tool("g++", "g++"), folder / "decode"
        objects = []
        for source in (*SOURCES, MAIN):
            standard = "-std=c++17" if source == MAIN else "-std=gnu++11"  # the oldest that a core has (F84)
            objects.append(folder / f"{source.stem}.o")
            options = [standard, "-fno-rtti", "-O1", "-g1", *WARNINGS, *SANITIZERS, f"-I{LIBRARY}", *defined]
            run_compiler([compiler, *options, "-c", source, "-o", objects[-1]])
        run_compiler([compiler, *SANITIZERS, "-o", made, *objects])
        return cls(made, folder)

    def decode(self, cases: Iterable[Case]) -> list[Made]:
        """Return what comes of each case."""
        asked, answered = self.folder / "cases", self.folder / "results"
        with asked.open("wb") as file:
            for case in cases:
                file.write(case.serialise())
        run_program(self.program, asked, answered)
        data, found, place = answered.read_bytes(), [], 0
        while place < len(data):
            error, size = struct.unpack_from("<II", data, place)
            place += 8 + size
            found.append(Made(error, data[place - size : place]))
        return found


def expected(base: bytes, patch: bytes) -> Made:
    """Return what the decoder in Python says, in the library's numbers; the image only where there is no error.

    Another image than announced is none there: on a device its signature refuses it.
    """
    image = bytearray()
    try:
        for piece in applying.pieces(base, [patch]):
            image += piece
    except WrongBaseError:
        return Made(WRONG_BASE, b"")
    except WrongTargetError:
        pass
    except (PatchError, LaterFormatError):
        return Made(DAMAGED, b"")
    return Made(NONE, bytes(image))
