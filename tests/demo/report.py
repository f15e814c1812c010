"""The demonstration's report: one file that holds all it shows, for a wide screen and a phone, light and dark."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from html import escape
from importlib.metadata import version
from pathlib import Path

from otaseal import __version__
from otaseal.simulator.device import Device
from otaseal.simulator.flash import SECTOR, round_up, sketch_size

LONG = 16  # lines of output that are shown without being asked for
LINE, BAR, WIDTH = 38, 26, 330  # pixels of a flash map
INTRODUCTION = """\
Real here: PlatformIO, the hooks, every command, the update server, keys, certificates and TLS. <strong>The chip is
virtual</strong>: a model of what core, boot loader and the OtaSeal library do with a flash, which is a file; it does
not run the sketch. <strong>A test platform stands for the chip's toolchain and core</strong>: sizes are those of its
sketch, and of no real build. The server of a refused offer is a small one, with the update server's own TLS: otaseal
serve would not give that out. Flash maps are read off the flash, and not to scale; each poll writes an index of the
certificates into the filesystem."""
STYLE = """\
:root { color-scheme: light dark; --back: #fff; --text: #1c2126; --quiet: #57606a; --card: #f5f7f9; --line: #d0d7de;
  --good: #1a7f37; --bad: #cf222e; --firmware: #4a6fa5; --download: #d9962b; --filesystem: #8e6fb0; --system: #8b949e;
  --empty: #e6eaee; }
@media (prefers-color-scheme: dark) { :root { --back: #0f1318; --text: #e3e8ed; --quiet: #9aa5b1; --card: #181e25;
  --line: #343d47; --good: #4ac26b; --bad: #ff7b72; --empty: #2a323b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { line-height: 1.2; } h2 { font-size: 1.1rem; line-height: 1.35; margin: 0 0 .5rem; }
section { border: 1px solid var(--line); border-radius: 8px; padding: 1rem; margin: 1rem 0; }
.good { color: var(--good); } .bad { color: var(--bad); } .quiet, summary { color: var(--quiet); }
pre { margin: .4rem 0; padding: .6rem .7rem; border-radius: 6px; background: var(--card); white-space: pre-wrap;
  overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
pre.command { font-weight: bold; }
.proof { margin: .6rem 0 0; overflow-wrap: anywhere; white-space: pre-line; }
.maps { display: flex; flex-wrap: wrap; gap: 1rem 2rem; } figure { margin: .8rem 0 0; width: 330px; max-width: 100%; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--text); font: 13px ui-monospace, monospace; }
svg .name { font-family: system-ui, sans-serif; } svg rect { stroke: var(--line); }
""" + "\n".join(
    f".{kind} {{ fill: var(--{kind}); }}" for kind in ("firmware", "download", "filesystem", "system", "empty")
)


@dataclass(frozen=True)
class Ran:
    """A command, and what it printed."""

    command: str
    printed: str


@dataclass(frozen=True)
class Step:
    """What was done and seen; `before` and `after` are the device, None where there is none yet."""

    title: str
    ok: bool
    proves: str
    ran: tuple[Ran, ...]
    before: Device | None
    after: Device | None


@dataclass(frozen=True)
class Part:
    """Bytes `start` to `end` of a flash; `kind` is its colour."""

    name: str
    kind: str
    start: int
    end: int


def write(path: Path, steps: Sequence[Step]) -> None:
    """Write the report of `steps`."""
    now = datetime.now(timezone.utc)
    made = f"{now:%Y-%m-%d %H:%M} UTC, otaseal {__version__}, PlatformIO {version('platformio')}, {platform.system()}"
    verdict = "every step ended as it has to" if all(step.ok for step in steps) else "a step FAILED"
    body = "\n".join(_section(number, step) for number, step in enumerate(steps, 1))
    path.write_text(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>otaseal: the demonstration</title>
<style>
{STYLE}
</style>
</head>
<body>
<h1>From nothing to a device that updates itself</h1>
<p class="quiet">{escape(made)}: {len(steps)} steps, {verdict}</p>
<p>{INTRODUCTION}</p>
{body}
</body>
</html>
""",
        encoding="utf-8",
    )


def parts(flash: bytes, device: Device) -> tuple[Part, ...]:
    """Return what lies in `flash`, the whole of the device's or an erased one, as its bytes tell; without a gap."""
    layout = device.layout
    used = 0 if flash[:1] == b"\xff" else round_up(sketch_size(flash))
    written = [at for at in range(used, layout.fs_start, SECTOR) if not _is_blank(flash[at : at + SECTOR])]
    low, high = (written[0], written[-1] + SECTOR) if written else (layout.fs_start, layout.fs_start)
    empty = ", empty" if _is_blank(flash[layout.fs_start : layout.fs_end]) else ""
    found = (
        Part("firmware", "firmware", 0, used),
        Part("free", "empty", used, low),
        Part("downloaded image", "download", low, high),
        Part("free", "empty", high, layout.fs_start),
        Part(f"filesystem{empty}", "filesystem", layout.fs_start, layout.fs_end),
        Part("settings of core and SDK", "system", layout.fs_end, layout.flash_size),
    )
    return tuple(part for part in found if part.end > part.start)


def _is_blank(data: bytes) -> bool:
    return not data.strip(b"\xff")


def _section(number: int, step: Step) -> str:
    mark = '<span class="good">&#10003;</span>' if step.ok else '<span class="bad">FAILED</span>'
    ran = "\n".join(f'<pre class="command">$ {escape(ran.command)}</pre>{_output(ran.printed)}' for ran in step.ran)
    proof = f'<p class="proof {"good" if step.ok else "bad"}">{escape(step.proves)}</p>'
    return f"<section>\n<h2>{number}. {escape(step.title)} {mark}</h2>\n{ran}\n{proof}\n{_maps(step)}</section>"


def _output(printed: str) -> str:
    shown = f"<pre>{escape(printed)}</pre>"
    count = len(printed.splitlines())
    return shown if count <= LONG else f"<details><summary>what it printed: {count} lines</summary>{shown}</details>"


def _maps(step: Step) -> str:
    """Return the flash before and after the step, where the device took part in it."""
    if step.after is None or step.after is step.before:
        return ""
    erased = b"\xff" * step.after.layout.flash_size
    before = erased if step.before is None else step.before.flash
    first, second = (parts(flash, step.after) for flash in (before, step.after.flash))
    changed = {part for part in second if before[part.start : part.end] != step.after.flash[part.start : part.end]}
    shown = _figure("before", first, frozenset()) + _figure("after, * what changed", second, changed)
    return f'<div class="maps">{shown}</div>\n'


def _figure(caption: str, shown: Sequence[Part], changed: set[Part] | frozenset[Part]) -> str:
    """Return a map from the lowest address down, each part as high as every other: it is not to scale."""
    rows = []
    for row, part in enumerate(shown):
        top, note = row * LINE + 1, " *" if part in changed else ""
        size = f"{part.end - part.start:,} bytes".replace(",", " ")
        rows.append(
            f'<rect class="{part.kind}" x="1" y="{top}" width="{BAR}" height="{LINE}"/>'
            f'<text x="{BAR + 12}" y="{top + 16}">0x{part.start:06x} {size:>16}</text>'
            f'<text class="name" x="{BAR + 12}" y="{top + 32}">{escape(part.name)}{note}</text>'
        )
    height = len(shown) * LINE + 2
    label = escape(f"{caption}: " + ", ".join(f"{part.name} at 0x{part.start:06x}" for part in shown), quote=True)
    drawn = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(rows)}</svg>'
    return f'<figure><figcaption class="quiet">flash {caption}</figcaption>{drawn}</figure>'
