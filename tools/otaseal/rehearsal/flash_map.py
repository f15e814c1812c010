"""The flash map before, during and after an update: bars for a terminal, or an SVG. Pure: sizes in, text out.

A region smaller than a cell of the bar still gets one, so that it is visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.sax.saxutils import escape

from ..chips.esp8266 import sectors
from ..simulator.esp32.device import Esp32Device
from ..simulator.esp32.table import Partition
from ..simulator.flash import Layout

CELLS = 64
LEGEND_COLUMNS = 2
WIDTH, LEFT, ROW, BAR = 960, 90, 92, 40  # pixels of the SVG


class _Kind(NamedTuple):
    """How a kind of region is drawn: its character, its colour on a terminal (SGR) and in SVG, and its legend."""

    sign: str
    terminal: str
    colour: str
    legend: str


KINDS = {
    "old": _Kind("#", "44", "#4a6fa5", "the firmware that runs"),
    "new": _Kind("N", "42", "#2e8b57", "the new firmware"),
    "staged": _Kind("+", "43", "#e0a030", "the update, staged"),
    "free": _Kind(".", "100", "#f0f0f0", "free"),
    "filesystem": _Kind("=", "45", "#8e6fb0", "filesystem"),
    "system": _Kind(":", "47", "#9a9a9a", "settings of core and SDK"),
}


@dataclass(frozen=True)
class Region:
    """Bytes `start` to `end` of flash; `kind` is a key of KINDS."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class FlashMap:
    """The flash at one moment, in regions without a gap from 0 to its end."""

    title: str
    regions: tuple[Region, ...]


def flash_maps(layout: Layout, old: int, staged: int, new: int, *, inside: bool = False) -> tuple[FlashMap, ...]:
    """Return the flash before the update, when it is staged, and after it; sizes in bytes, 0 for what there is not.

    The update is staged below the filesystem, or `inside` of it.
    """
    maps = []
    if old:
        maps.append(_map(layout, "before", old, "old"))
        maps += [_map(layout, "staged", old, "old", staged, inside=inside)] if staged else []
    return (*maps, _map(layout, "after", new, "new")) if new else tuple(maps)


def slot_maps(device: Esp32Device, staged: int, new: int) -> tuple[FlashMap, ...]:
    """Return the same for an ESP32, where the update is written to the next slot and stays there."""
    running, following = device.running_slot, device.table.next_slot(device.running_slot)
    held = {running: ("old", device.used)}
    maps = [_divided(device, "before", held)]
    if following is not None and following != running:
        maps += (
            [_divided(device, "staged", held | {following: ("staged", min(staged, following.size))})] if staged else []
        )
        maps += [_divided(device, "after", held | {following: ("new", min(new, following.size))})] if new else []
    return tuple(maps)


def _divided(device: Esp32Device, title: str, held: Mapping[Partition, tuple[str, int]]) -> FlashMap:
    """Return the map of a partition table with what is `held` in some of its slots."""
    regions, at, layout = [], 0, device.layout
    for row in sorted(device.table.rows, key=lambda row: row.offset):
        kind, used = held.get(row, ("free", 0))
        is_slot = row in device.table.slots or row in held
        rest = "free" if is_slot else "filesystem" if row.offset == layout.fs_start else "system"
        end = row.offset + sectors(used)
        regions += [Region("system", at, row.offset), Region(kind, row.offset, end), Region(rest, end, row.end)]
        at = row.end
    regions.append(Region("system", at, layout.flash_size))
    return FlashMap(title, tuple(region for region in regions if region.end > region.start))


def bars(maps: Sequence[FlashMap], colours: bool = False) -> list[str]:
    """Return the maps as lines for a terminal, with a scale and the legend of what occurs."""
    if not maps:
        return []
    lines = []
    for flash_map in maps:
        kinds = [KINDS[name] for name in _cells(flash_map.regions)]
        drawn = "".join(f"\033[{kind.terminal}m{kind.sign}" if colours else kind.sign for kind in kinds)
        reset = "\033[0m" if colours else ""
        lines.append(f"{flash_map.title:<8}|{drawn}{reset}|")
    lines.append(_scale(maps[0].regions))
    legend = [f"{kind.sign} {kind.legend}" for kind in _used(maps)]
    for start in range(0, len(legend), LEGEND_COLUMNS):
        row = "".join(f"{label:<27}" for label in legend[start : start + LEGEND_COLUMNS])
        lines.append(f"{'':<9}{row}".rstrip())
    return lines


def svg(maps: Sequence[FlashMap], title: str) -> str:
    """Return the maps as an SVG document, 960 pixels wide, with addresses and sizes."""
    height = 64 + ROW * len(maps) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="20" y="34" font-size="18" font-weight="bold">{escape(title)}</text>',
    ]
    for number, flash_map in enumerate(maps):
        parts += _row(flash_map, 64 + ROW * number)
    parts += _legend(maps, height - 18)
    return "\n".join([*parts, "</svg>", ""])


def _map(layout: Layout, title: str, sketch: int, kind: str, staged: int = 0, *, inside: bool = False) -> FlashMap:
    """Return the map of one moment; the staged update ends where the filesystem does, or where it begins (F10)."""
    used, high = sectors(sketch), layout.fs_end if inside else layout.fs_start
    low = high - sectors(staged)
    pieces = [
        Region(kind, 0, used),
        Region("free", used, min(low, layout.fs_start)),
        *([] if inside else [Region("staged", low, high)]),
        Region("filesystem", layout.fs_start, low if inside else layout.fs_end),
        *([Region("staged", low, high)] if inside else []),
        Region("system", layout.fs_end, layout.flash_size),
    ]
    return FlashMap(title, tuple(region for region in pieces if region.end > region.start))


def _cells(regions: Sequence[Region]) -> list[str]:
    """Return the kind of each of the bar's cells; every region has one at least, taken from the largest."""
    size = regions[-1].end
    counts = [max(1, round(CELLS * (region.end - region.start) / size)) for region in regions]
    counts[counts.index(max(counts))] += CELLS - sum(counts)
    return [region.kind for region, count in zip(regions, counts, strict=True) for _ in range(count)]


def _scale(regions: Sequence[Region]) -> str:
    """Return the line below the bars: where the filesystem begins, and where the flash ends."""
    line = [" "] * (CELLS + 24)
    line[9:17] = f"0x{0:06x}"
    start = next((region.start for region in regions if region.kind == "filesystem"), None)
    if start is not None:
        at = 9 + _cells(regions).index("filesystem")
        line[at : at + 8] = f"0x{start:06x}"
    end = 9 + CELLS - 8
    if not "".join(line[end - 1 : end + 8]).strip():
        line[end : end + 8] = f"0x{regions[-1].end:06x}"
    return "".join(line).rstrip()


def _used(maps: Sequence[FlashMap]) -> list[_Kind]:
    names = {region.kind for flash_map in maps for region in flash_map.regions}
    return [kind for name, kind in KINDS.items() if name in names]


def _row(flash_map: FlashMap, top: int) -> list[str]:
    size, span = flash_map.regions[-1].end, WIDTH - LEFT - 20
    parts = [f'<text x="20" y="{top + 26}" font-weight="bold">{escape(flash_map.title)}</text>']
    last = -100.0
    for region in flash_map.regions:
        x, width = LEFT + span * region.start / size, max(1.5, span * (region.end - region.start) / size)
        label = f"{(region.end - region.start) // 1024} KiB"
        tip = f"{KINDS[region.kind].legend}: 0x{region.start:06x} to 0x{region.end:06x}, {label}"
        parts.append(
            f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{KINDS[region.kind].colour}" '
            f'stroke="#333333" stroke-width="0.6"><title>{escape(tip)}</title></rect>'
        )
        if x - last > 62:
            anchor = ' text-anchor="end"' if x > WIDTH - 70 else ""
            at = x + width if anchor else x
            text = f'<text x="{at:.1f}" y="{top + BAR + 15}" font-size="11"{anchor}>0x{region.start:06x}</text>'
            parts.append(text)
            last = x
        if width > 8 * len(label):
            colour = "#333333" if region.kind in ("free", "staged") else "#ffffff"
            parts.append(
                f'<text x="{x + width / 2:.1f}" y="{top + 25}" text-anchor="middle" fill="{colour}">{label}</text>'
            )
    return parts


def _legend(maps: Sequence[FlashMap], base: int) -> list[str]:
    parts, x = [], LEFT
    for kind in _used(maps):
        parts.append(
            f'<rect x="{x}" y="{base - 11}" width="12" height="12" fill="{kind.colour}" stroke="#333333" '
            f'stroke-width="0.6"/><text x="{x + 17}" y="{base}" font-size="12">{escape(kind.legend)}</text>'
        )
        x += 32 + round(6.3 * len(kind.legend))
    return parts
