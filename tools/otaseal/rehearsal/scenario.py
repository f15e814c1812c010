"""Run a rehearsal in phases: admission, the live server's TLS, the update, further polls, the content of the flash.

The virtual device polls the live server where there is one, which shows name, chain and TLS. A release that is not
published yet comes from a server on the loopback interface, with the bytes and headers that devices will get. The
report lists what the two together leave open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from urllib.parse import urlsplit

from ..errors import InputError
from ..release.records import Release
from ..simulator.certstore import ARCHIVE, Entry, load_store
from ..simulator.device import Device
from ..simulator.esp32.device import Esp32Device
from ..simulator.filesystem import read_file
from ..simulator.pico.device import PicoDevice
from ..simulator.report import Outcome, Result, Step
from . import patches, power_cuts, trial
from .advice import explained
from .candidate import Candidate, CandidateServer
from .flash_map import FlashMap, flash_maps, slot_maps
from .loopback import HOST, Loopback, TemporaryAuthority, parse_head
from .report import Phase, Report

DEFAULT_HOST = "localhost"
NOT_FOUND = 404
NO_IMAGE = ("board", "platform")
"""The server's reasons for 403 where it has no image for the board of a device, or cannot tell the board."""
DOWNLOAD = "a device downloads the candidate from this machine, and restarts"
PATCHED = "a device downloads it as a patch of what it runs, {}"
WHOLE = "whole image"
NO_MAC = ""
"""A MAC that says nothing: a rehearsal leaves no trace among the devices that the live server has seen."""
LOOP_FIX = "let the server answer 304 to a device that reports this firmware's sketch MD5, as otaseal serve does"
LOOP_FIX_ON_PICO = (
    "let the sketch say its version when it asks, another one in each release, or use the OtaSeal library: a device "
    "takes the same image under another version again and again"
)
SKETCH = "the sketch: that it sets the clock, mounts the filesystem and asks at all"
ALWAYS_OPEN = (SKETCH, "the radio")
OPEN_ON_ESP32 = (
    SKETCH,
    "TLS as mbedTLS judges it: it was judged by BearSSL's narrower rules",
    "the boot loader that the device has: with one without rollback, firmware that restarts before begin() stays",
    "the radio",
)
OPEN_ON_PICO = (f"{SKETCH}, and without the OtaSeal library that it says its version", "the radio")


@dataclass(frozen=True)
class Scenario:
    """What is rehearsed: a candidate, the device with the old firmware, and the devices' URL of a live server.

    `known` are the server's releases, `polls` how often the device asks: from the second time on it must be told that
    it is up to date. `unknown`: the server has nothing for its board yet, or cannot know what it runs. `patch` is from
    what the device runs, None where it gets none. `notes` are added to what is not checked; `lacking` is what another
    rehearsal could check.
    """

    candidate: Candidate
    device: Device
    url: str | None = None
    known: tuple[Release, ...] = field(default=(), repr=False)
    polls: int = 2
    unknown: bool = False
    patch: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


def play(scenario: Scenario) -> Report:
    """Run the rehearsal; a failed step ends the phases that depend on it, and is reported, not raised."""
    phases = [_admission(scenario.candidate)]
    if scenario.device.anchors is None:
        phases.append(_trust(scenario.device))
    outcome: Outcome | None = None
    if scenario.url is not None:
        phase, outcome = poll_live(scenario.device, scenario.url, scenario.candidate, unknown=scenario.unknown)
        phases.append(phase)
    if outcome is not None and _installed(outcome, scenario.candidate):
        phases[-1] = replace(phases[-1], way="from the live server")
        phases += _poll_again(scenario, outcome, scenario.url or "")
    else:
        phases += _serve(scenario)
    refused = patches.refusals([step for phase in phases for step in phase.steps])
    unchecked = (*scenario.notes, _open_question(scenario), *_always_open(scenario.device))
    return Report(tuple(phases), _maps(scenario), unchecked, (*scenario.lacking, *refused), scenario.device.chip_name)


def _always_open(device: Device) -> tuple[str, ...]:
    """Return what no rehearsal can tell of such a device."""
    if isinstance(device, Esp32Device):
        return OPEN_ON_ESP32
    return OPEN_ON_PICO if isinstance(device, PicoDevice) else ALWAYS_OPEN


def with_temporary_authority(device: Device) -> tuple[TemporaryAuthority, Device]:
    """Return a throw-away authority as of the device's own clock, and the device that trusts it and nothing else."""
    authority = TemporaryAuthority.create(device.clock or datetime.now(timezone.utc))
    return authority, replace(device, anchors=(authority.root,), session=None)


def _admission(candidate: Candidate) -> Phase:
    refusal = candidate.refusal
    files = ", ".join(f"{len(form.data)} bytes" for form in candidate.forms)
    if refusal is not None:
        step = Step("admission", files, False, reason=refusal.message, fix=refusal.hint)
    else:
        release = candidate.release
        core = f"core {release.core_release or 'unknown'}" if release.flash_mode is not None else release.chip
        step = Step("admission", f"{release.product} {release.version}: {files}, {core}")
    return Phase("the update server admits the release", (step,))


def _trust(device: Device) -> Phase:
    """Judge every certificate in the device's filesystem, not only the one that the server needs."""
    loaded = load_store(device.flash, device.layout, device.free_heap, auto_format=True)
    members = [_member(number, entry) for number, entry in enumerate(loaded.store.entries)]
    return Phase("what the device trusts", explained([loaded.steps[0], *(members or loaded.steps[1:])]))


def _member(number: int, entry: Entry) -> Step:
    use = {"anchor": "an authority", "pin": "good for itself only"}.get(entry.verdict, "useless")
    checked = f"member {number}, {entry.length} bytes: {use}"
    if entry.verdict == "dead":
        return Step(
            "certificates", checked, False, reason="nothing ever finds it, and it counts all the same", fact="F16"
        )
    reason, fact = entry.crash or ("", "")
    return Step("certificates", checked, not reason, reason=reason and f"it {reason}", fact=fact)


def poll_live(
    device: Device, url: str, candidate: Candidate | None = None, *, unknown: bool = True
) -> tuple[Phase, Outcome]:
    """Poll the live server as a device without a MAC; a server with no release, or another one, has not failed.

    Nor has one that knows neither the device nor its board, where the device is `unknown` to it. `candidate` is what
    the device is meant to have after an update, None where any firmware will do.
    """
    before, outcome = patches.polled(replace(device, mac=NO_MAC), url)
    steps, failed = outcome.steps, outcome.failed
    answer = next((number for number, step in enumerate(steps) if step.name == "answer"), len(steps) - 1)
    if outcome.status == NOT_FOUND and failed is not None and failed.name == "answer":
        nothing = Step("answer", "404: nothing is published there yet, which is what deploying changes")
        steps = (*steps[:answer], nothing)
    elif unknown and failed is not None and failed.name == "answer" and failed.cause in NO_IMAGE:
        steps = (*steps[:answer], Step("answer", "403: nothing there is known to be for this board yet"))
    elif outcome.result is Result.UPDATED and candidate is not None and not _installed(outcome, candidate):
        other = Step("release", "another release than the one that is rehearsed is given out")
        steps = (*steps[: answer + 1], other)
    return Phase(f"a device meets the live server: {url}", explained((*before, *steps))), outcome


def _serve(scenario: Scenario) -> list[Phase]:
    """Update from the loopback, as a whole and by a patch, then ask again, then look at the flash."""
    authority, device = with_temporary_authority(scenario.device)
    name = (urlsplit(scenario.url).hostname if scenario.url else None) or DEFAULT_HOST
    server = CandidateServer(scenario.candidate, device.running, scenario.known, scenario.patch)
    with Loopback(server, authority.context(name)) as loopback:
        host = f"[{name}]" if ":" in name else name
        url = f"https://{host}:{loopback.port}/{scenario.candidate.origin.product}/firmware.bin.signed"
        outcome = replace(device, whole_only=True).poll(url, host=HOST)
        steps = explained(outcome.steps)
        if outcome.ok and not _installed(outcome, scenario.candidate):
            reason, fix = "the server says that the device is up to date", "name what devices run now with --from"
            return [Phase(DOWNLOAD, (*steps, Step("release", "304", False, reason=reason, fix=fix)), WHOLE)]
        phases = [Phase(DOWNLOAD, steps, WHOLE)]
        if outcome.ok:
            phases.append(power_cuts.phase(device, scenario.candidate))
            phases += trial.give_way(outcome.device)
            phases += _patched(scenario, server, outcome, device, url)
            phases += _poll_again(scenario, outcome, url, HOST)
    return phases


def _patched(scenario: Scenario, server: CandidateServer, whole: Outcome, device: Device, url: str) -> Iterator[Phase]:
    """Yield how the device takes the patch, where the server has one for it; a refused one is followed by the whole."""
    if scenario.patch is None:
        return
    before, outcome = patches.polled(device, url, HOST)
    steps = (*before, *outcome.steps)
    if any(step.name == "patch" for step in steps):
        good = not outcome.ok or _installed(outcome, scenario.candidate)
        same = Step("image", "the build's", good, reason="" if good else "what comes out is not the build's")
        sizes = f"{len(scenario.patch)} bytes in place of {server.whole_size(parse_head(whole.request))}"
        yield Phase(PATCHED.format(sizes), explained((*steps, *([same] if outcome.ok else []))), f"patch, {sizes}")


def _poll_again(scenario: Scenario, outcome: Outcome, url: str, host: str | None = None) -> Iterator[Phase]:
    """Yield what the flash holds, and each further poll, which has to find nothing new (F30)."""
    yield _compare(scenario, outcome.device)
    device = _next(outcome.device, scenario.candidate)
    for number in range(2, scenario.polls + 1):
        again = device.poll(url, host=host)
        by_version = isinstance(outcome.device, PicoDevice) and outcome.device.identity is None
        fix = LOOP_FIX_ON_PICO if by_version else LOOP_FIX
        steps = (*explained(again.steps), *trial.confirmation(device, again.device))
        if again.result is Result.UPDATED:
            reason = "the device is given the same release again, and would update for ever"
            steps = (*steps, Step("loop", f"poll {number}", False, reason=reason, fact="F30", fix=fix))
        yield Phase(f"poll {number}: it is told that it is up to date", steps)
        device = _next(again.device, scenario.candidate)


def _next(device: Device, candidate: Candidate) -> Device:
    """Return the device as it asks the next time; of a Pico's new sketch it is taken that it says its version (F57)."""
    if isinstance(device, PicoDevice) and device.identity is None:
        device = replace(device, version=candidate.origin.version)
    return replace(device, mac=NO_MAC, session=None)


def _compare(scenario: Scenario, after: Device) -> Phase:
    built = scenario.candidate.raw
    same, kept = after.runs(built), _keeps_certificates(scenario.device, after)
    image, filesystem = f"{len(built)} bytes at 0x{after.address:06x}", f"{after.layout.fs_size} bytes"
    return Phase(
        "the flash holds what was built",
        (
            Step("image", image, same, reason="" if same else "they are not the build's"),
            Step("filesystem", filesystem, kept, reason="" if kept else "the update changed its archive"),
        ),
    )


def _keeps_certificates(before: Device, after: Device) -> bool:
    """Tell whether the archive is as it was; the index beside it is written anew at every start (F19)."""
    partition = slice(before.layout.fs_start, before.layout.fs_end)
    if before.flash[partition] == after.flash[partition]:
        return True
    return read_file(before.flash, before.layout, ARCHIVE) == read_file(after.flash, after.layout, ARCHIVE)


def _installed(outcome: Outcome, candidate: Candidate) -> bool:
    """Tell whether the device runs the candidate because of this poll."""
    if outcome.result is not Result.UPDATED:
        return False
    try:
        return outcome.device.runs(candidate.raw)
    except InputError:
        return False


def _open_question(scenario: Scenario) -> str:
    if scenario.url is None:
        return "the live server's name, chain and TLS: no server was given"
    return "that the live server sends the candidate's bytes: deploy reads them back and compares"


def _maps(scenario: Scenario) -> tuple[FlashMap, ...]:
    device = scenario.device
    smallest = min(len(form.data) for form in scenario.candidate.forms)
    try:
        new = len(scenario.candidate.raw)
    except InputError:
        new = 0
    if isinstance(device, Esp32Device):
        return slot_maps(device, smallest, new)
    return flash_maps(device.layout, device.used, smallest, new, inside=isinstance(device, PicoDevice))
