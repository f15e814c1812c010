"""A rehearsal, act by act: the server's admission, the live server's TLS, the update, the second poll, the flash.

What runs is the virtual device; what it meets is the live server where there is one, and for a release that is not
published yet a server of our own on the loopback interface. The two together are what devices will get: the live server
shows name, chain and TLS, and the loopback gives the very bytes and headers that it will send. What stays open between
them is named in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from urllib.parse import urlsplit

from ..errors import InputError
from ..release.records import Release
from ..simulator.certstore import CertStore, Entry
from ..simulator.device import Device, Outcome
from ..simulator.filesystem import mount, read_file
from ..simulator.flash import free_space
from ..simulator.report import Result, Step
from .advice import fix
from .answers import CandidateServer
from .candidate import Candidate
from .loopback import HOST, Loopback
from .picture import FlashMap, flash_maps
from .report import Act, Line, Report, lines
from .throwaway import StandIn

__all__ = ["ALWAYS_OPEN", "ARCHIVE", "DEFAULT_HOST", "NOBODY", "Scene", "meeting", "perform", "stand_in"]

DEFAULT_HOST = "localhost"
ARCHIVE = "/certs.ar"
MODE_OFFSET = 2
NOT_FOUND = 404
DOWNLOAD = "a device downloads the candidate from this machine, and restarts"
NOBODY = ""
"""A MAC that says nothing: a rehearsal leaves no trace among the devices that the live server has seen."""
LOOP_FIX = "let the server answer 304 to a device that reports this firmware's sketch MD5, as otaseal serve does"
ALWAYS_OPEN = (
    "the sketch: that it sets the clock, mounts the filesystem and asks at all",
    "power cuts while the image is copied, after which the chip may not start, and the radio",
)


@dataclass(frozen=True)
class Scene:
    """What is rehearsed: a candidate, the device that runs the old firmware, and the devices' URL of the live server.

    `url` None: no live server. `known` are the releases that the server has, `polls` how often the device asks: the
    second time it must be told that it is up to date. `notes` are added to what is not checked; `lacking` is what other
    rehearsals can check.
    """

    candidate: Candidate
    device: Device
    url: str | None = None
    known: tuple[Release, ...] = field(default=(), repr=False)
    polls: int = 2
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def perform(scene: Scene) -> Report:
    """Return what happened; a step that fails ends the acts that need it, and nothing raises for what is wrong."""
    acts = [_admission(scene)]
    if scene.device.anchors is None:
        acts.append(_trust(scene))
    outcome: Outcome | None = None
    if scene.url is not None:
        act, outcome = meeting(scene.device, scene.url, lambda outcome: _arrived(outcome, scene))
        acts.append(act)
    if outcome is not None and _arrived(outcome, scene):
        acts += _again(scene, outcome, scene.url or "")
    else:
        acts += _serve(scene)
    notes = (*scene.notes, *_open_questions(scene), *ALWAYS_OPEN)
    return Report(tuple(acts), _maps(scene), notes, scene.lacking)


def stand_in(device: Device) -> tuple[StandIn, Device]:
    """Return a throw-away authority as of the device's own clock, and the device that trusts it and nothing else."""
    made = StandIn.create(device.clock or datetime.now(timezone.utc))
    return made, replace(device, anchors=(made.root,), session=None)


def same_image(flash_image: bytes, wanted: bytes) -> bool:
    """Tell whether what runs is `wanted`; byte 2 holds the chip's flash mode, whatever the image said (F7)."""
    rest = MODE_OFFSET + 1
    return flash_image[:MODE_OFFSET] == wanted[:MODE_OFFSET] and flash_image[rest:] == wanted[rest:]


def _admission(scene: Scene) -> Act:
    refusal = scene.candidate.refusal
    files = ", ".join(f"{len(form.data)} bytes" for form in scene.candidate.forms)
    if refusal is None:
        release = scene.candidate.release
        shown = f"{release.product} {release.version}: {files}, core {release.core_release or 'unknown'}"
        return Act("the update server admits the release", (Line("admission", shown),))
    return Act(
        "the update server admits the release",
        (Line("admission", files, False, reason=refusal.message, fix=refusal.hint),),
    )


def _trust(scene: Scene) -> Act:
    """Look at every certificate that the device would find, and not only at the one that the server needs."""
    device = scene.device
    mounted = mount(device.flash, device.layout)
    told = [
        Line(
            "filesystem",
            f"LittleFS at 0x{device.layout.fs_start:06x}",
            not mounted.reason,
            0,
            mounted.reason,
            mounted.fact,
        )
    ]
    archive = read_file(device.flash, device.layout, ARCHIVE) if not mounted.reason else None
    if archive is None:
        told.append(Line("certificates", ARCHIVE, False, reason="it is not in the filesystem", fact="F15"))
    else:
        told += [_member(number, entry) for number, entry in enumerate(CertStore.load(archive).entries)]
    repaired = [replace(line, fix=fix(Step(line.name, line.checked, line.ok, fact=line.fact))) for line in told]
    return Act("what the device trusts", tuple(repaired))


def _member(number: int, entry: Entry) -> Line:
    reasons = {
        "overflow": ("its subject is shorter than 32 bytes: a look-up writes over the heap", "F18"),
        "crash": ("it is not exactly one certificate: a look-up resets the device", "F18b"),
        "dead": ("nothing ever finds it, and it counts all the same", "F16"),
    }
    reason, fact = reasons.get(entry.verdict, ("", ""))
    shown = {"anchor": "an authority", "pin": "good for itself only"}.get(entry.verdict, "useless")
    return Line("certificates", f"member {number}, {entry.length} bytes: {shown}", not reason, 0, reason, fact)


def meeting(device: Device, url: str, arrived: Callable[[Outcome], bool]) -> tuple[Act, Outcome]:
    """Poll the live server as a device without a name; that it has nothing, or something else, is no fault here.

    `arrived` tells whether a device that was updated has what it was meant to have.
    """
    outcome = replace(device, mac=NOBODY).poll(url)
    steps = list(outcome.steps)
    if outcome.status == NOT_FOUND and steps and outcome.failed is not None and outcome.failed.name == "answer":
        at = steps.index(outcome.failed)
        found = Line("answer", "404: nothing is published there yet, which is what deploying changes")
        told: tuple[Line, ...] = (*lines(steps[:at]), found)
    elif outcome.result is Result.UP_TO_DATE:
        told = lines(steps)
    elif outcome.ok and not arrived(outcome):
        at = next((number for number, step in enumerate(steps) if step.name == "answer"), len(steps) - 1)
        told = (*lines(steps[: at + 1]), Line("release", "another release than the one that is rehearsed is given out"))
    else:
        told = lines(steps)
    return Act(f"a device meets the live server: {url}", told), outcome


def _serve(scene: Scene) -> list[Act]:
    """Update from the loopback, then ask again, then look at the flash."""
    authority, device = stand_in(scene.device)
    name = urlsplit(scene.url).hostname if scene.url else None
    name = name or DEFAULT_HOST
    path = f"/{scene.candidate.origin.product}/firmware.bin.signed"
    server = CandidateServer(scene.candidate, device.running, scene.known)
    with Loopback(server, authority.context([name])) as loopback:
        url = f"https://{_bracketed(name)}:{loopback.port}{path}"
        outcome = device.poll(url, host=HOST)
        if outcome.ok and not _arrived(outcome, scene):
            reason = "the server says that the device is up to date"
            found = Line("release", "304", False, reason=reason, fix="name what devices run now with --from")
            told = (*lines(outcome.steps), found)
            return [Act(DOWNLOAD, told)]
        acts = [Act(DOWNLOAD, lines(outcome.steps))]
        if outcome.ok:
            acts += _again(scene, outcome, url, HOST)
    return acts


def _again(scene: Scene, outcome: Outcome, url: str, host: str | None = None) -> Iterator[Act]:
    """Yield what the flash holds, and each further poll, which has to find nothing new (F30)."""
    yield _compare(scene, outcome)
    for number in range(2, scene.polls + 1):
        following = replace(outcome.device, mac=NOBODY, session=None).poll(url, host=host)
        told = lines(following.steps)
        if following.result is Result.UPDATED:
            reason = "the device is given the same release again, and would update for ever"
            told = (*told, Line("loop", f"poll {number}", False, reason=reason, fact="F30", fix=LOOP_FIX))
        yield Act(f"poll {number}: it is told that it is up to date", told)


def _compare(scene: Scene, outcome: Outcome) -> Act:
    device, wanted = outcome.device, scene.candidate.raw
    layout = device.layout
    same = same_image(device.running, wanted)
    kept = _keeps_certificates(scene.device, device)
    lost = "" if kept else "the update changed its archive"
    return Act(
        "the flash holds what was built",
        (
            Line("image", f"{len(wanted)} bytes at 0x000000", same, reason="" if same else "they are not the build's"),
            Line("filesystem", f"{layout.fs_size} bytes", kept, reason=lost),
        ),
    )


def _keeps_certificates(before: Device, after: Device) -> bool:
    """Tell whether the archive is still there; the index beside it is written anew at every start (F19)."""
    there = slice(before.layout.fs_start, before.layout.fs_end)
    if before.flash[there] == after.flash[there]:
        return True
    archives = [read_file(state.flash, state.layout, ARCHIVE) for state in (before, after)]
    return archives[0] is not None and archives[0] == archives[1]


def _arrived(outcome: Outcome, scene: Scene) -> bool:
    """Tell whether the device runs the candidate because of this poll."""
    if outcome.result is not Result.UPDATED:
        return False
    try:
        return same_image(outcome.device.running, scene.candidate.raw)
    except InputError:
        return False


def _open_questions(scene: Scene) -> Iterator[str]:
    if scene.url is None:
        yield "the live server's name, chain and TLS: no server was given"
    else:
        yield "that the live server sends the candidate's bytes: deploy reads them back and compares"


def _maps(scene: Scene) -> tuple[FlashMap, ...]:
    device = scene.device
    old = device.layout.fs_start - free_space(device.flash, device.layout)
    smallest = min(len(form.data) for form in scene.candidate.forms)
    try:
        new = len(scene.candidate.raw)
    except InputError:
        new = 0
    return flash_maps(device.layout, old, smallest, new)


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
