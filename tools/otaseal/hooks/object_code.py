"""Which functions of a compiled object refer to a symbol, and which functions a linked program has, by their ELF files.

A linker that drops unused sections keeps no list of who calls whom. The objects have one: each section's relocations.
What is read was made by the compiler of this very build; bytes that are no ELF file are an InputError all the same.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from ..errors import InputError

MAGIC = b"\x7fELF"
LITTLE_ENDIAN = 1
ALLOCATED = 2
"""Flag of a section that is part of the running program; relocations of debug information are none of it."""
SYMBOLS, RELOCATIONS_WITH_ADDEND, RELOCATIONS = 2, 4, 9
CODE, DATA = 2, 1
"""Kinds of symbols: a function, a variable."""
LITERALS, TEXT = ".literal", ".text"
"""On Xtensa the constants of a function, addresses of other functions among them, have a section beside its own."""
LTO = ".gnu.lto_"
"""Begins the names of sections in an object whose code is made when it is linked."""


class _Section(NamedTuple):
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int


class _Symbol(NamedTuple):
    name: str
    kind: int
    section: int


class ElfFile:
    """An object or a program, of 32 or 64 bits, little-endian: all chips of the ESP32 family, and hosts of tests."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != MAGIC or len(data) < 64 or data[5] != LITTLE_ENDIAN:
            raise InputError("this is no ELF file of a little-endian chip", "build it again")
        self._data = data
        self._wide = data[4] == 2

    @cached_property
    def functions(self) -> frozenset[str]:
        """The names of all functions and variables that are defined here, as the compiler spells them."""
        return frozenset(symbol.name for symbol in self._symbols if symbol.section and symbol.kind in (CODE, DATA))

    @property
    def is_bytecode(self) -> bool:
        """Whether its code is made when it is linked: until then nobody can tell who calls what."""
        return any(section.name.startswith(LTO) for section in self._sections)

    def users(self, wanted: re.Pattern[str]) -> frozenset[str]:
        """Return the names of the functions that refer to a symbol of another object whose name matches `wanted`."""
        targets = {n for n, symbol in enumerate(self._symbols) if not symbol.section and wanted.match(symbol.name)}
        places = {
            section.info
            for section in self._sections
            if section.kind in (RELOCATIONS, RELOCATIONS_WITH_ADDEND) and targets.intersection(self._referred(section))
        }
        return frozenset(name for place in places for name in self._names_in(place))

    def _names_in(self, place: int) -> Iterator[str]:
        """Yield the functions and variables in a section, or in the one whose constants it holds."""
        if place >= len(self._sections):
            return
        section = self._sections[place]
        if not section.flags & ALLOCATED:
            return
        names = {section.name, re.sub(rf"^\{LITERALS}", TEXT, section.name)}
        for symbol in self._symbols:
            inside = symbol.section < len(self._sections) and self._sections[symbol.section].name in names
            if symbol.section and inside and symbol.kind in (CODE, DATA):
                yield symbol.name

    def _referred(self, section: _Section) -> Iterator[int]:
        """Yield the numbers of the symbols that a section of relocations names."""
        step = (8 if section.kind == RELOCATIONS else 12) * (2 if self._wide else 1)
        word, shift = (struct.Struct("<8xQ"), 32) if self._wide else (struct.Struct("<4xI"), 8)
        for start in range(section.offset, section.offset + section.size, step):
            yield self._unpack(word, start)[0] >> shift

    @cached_property
    def _sections(self) -> list[_Section]:
        table = self._unpack(struct.Struct("<Q" if self._wide else "<I"), 0x28 if self._wide else 0x20)[0]
        step, count, names_index = self._unpack(struct.Struct("<3H"), 0x3A if self._wide else 0x2E)
        layout = struct.Struct("<IIQ8xQQII" if self._wide else "<III4x4I")
        rows = [self._unpack(layout, table + number * step) for number in range(count)]
        names = rows[names_index][3] if names_index < count else 0
        return [_Section(self._text(names + row[0]), *row[1:]) for row in rows]

    @cached_property
    def _symbols(self) -> list[_Symbol]:
        layout = struct.Struct("<IBxHQQ" if self._wide else "<IIIBxH")
        symbols = []
        for table in (section for section in self._sections if section.kind == SYMBOLS):
            names = self._sections[table.link].offset if table.link < len(self._sections) else 0
            for start in range(table.offset, table.offset + table.size, layout.size):
                fields = self._unpack(layout, start)
                info, section = (fields[1], fields[2]) if self._wide else (fields[3], fields[4])
                symbols.append(_Symbol(self._text(names + fields[0]), info & 0xF, section))
        return symbols

    def _text(self, start: int) -> str:
        end = self._data.find(b"\0", start)
        return self._data[start:end].decode("utf-8", "replace")

    def _unpack(self, layout: struct.Struct, start: int) -> tuple[int, ...]:
        try:
            return layout.unpack_from(self._data, start)
        except (struct.error, OverflowError) as error:
            raise InputError("an ELF file of this build is cut short", "build it again") from error
