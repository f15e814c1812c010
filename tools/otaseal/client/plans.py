"""A rollout on the operator's side: its plan read from `rollout.toml`, shown before it starts, and how it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import ConfigError, SystemFaultError, counted
from ..release.plan_fields import PlanFile, parse_file, wave_fields
from ..release.rollout import MIN_OUTCOMES
from ..release.waves import ANYBODY, Wave
from ..release.windows import local_time
from .client import Client, product_path

if sys.version_info >= (3, 11):
    import tomllib
else:
    try:
        import tomli as tomllib
    except ImportError:  # a build of before 3.11 that has no plan needs none
        tomllib = None

MAX_PLAN_BYTES = 64 * 1024
MINUTES = ((24 * 60, "d"), (60, "h"), (1, "min"))


def read_plan(path: Path) -> PlanFile:
    """Return the plan in a file; raises ConfigError with its name, InputError where it cannot be read."""
    return parse_plan(files.read_bounded(path, MAX_PLAN_BYTES, "plan of a rollout"), str(path))


def parse_plan(data: bytes, path: str) -> PlanFile:
    """Return the plan in the bytes of a file; raises ConfigError with its name."""
    if tomllib is None:
        raise SystemFaultError("a plan in a file needs the package tomli", f'"{sys.executable}" -m pip install tomli')
    try:
        return parse_file(tomllib.loads(data.decode()))
    except (ValueError, RecursionError) as error:  # a number of too many digits is none of tomllib's own errors
        raise ConfigError(f"'{path}' is not TOML: {error}", "docs/server.md has an example of a plan") from error
    except ConfigError as error:
        raise ConfigError(f"'{path}': {error.message}", error.hint) from error


def preview(client: Client, product: str, channel: str, waves: Iterable[Wave]) -> Mapping[str, Any]:
    """Return what the server says the waves would be; raises as `Client.publish`."""
    fields = [wave_fields(wave) for wave in waves]
    answer: Mapping[str, Any] = client.post(rollout_path(product, channel, "preview"), {"waves": fields})
    return answer


def rollout_path(product: str, channel: str, *action: str) -> str:
    """Return the path of a channel's rollout, or of what can be done to it."""
    return product_path(product, "channels", channel, "rollout", *action)


def preview_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield for a person who would be in the waves, and when."""
    waves = answer["waves"]
    for wave in waves:
        about = "about " if wave["plan"].get("percent", 0) not in (0, 100) else ""
        yield f"wave {wave['number']}: {about}{counted(wave['devices'], 'device')}: {wave['who']}"
        when = _when(wave)
        gate = _gate(wave["plan"]) if wave is not waves[-1] else ""
        yield f"  {'; '.join(filter(None, (when, gate)))}"
        if wave.get("nobody"):
            waits = "" if wave is waves[-1] else ": the wave waits for one, or for otaseal rollout approve --now"
            yield f"  {wave['nobody']}{waits}"
        elif missing := wave.get("missing"):  # which a server of before does not tell
            yield f"  no device to update: {', '.join(missing)}"
    if answer["rest"]["devices"]:
        yield f"nobody else: {counted(answer['rest']['devices'], 'device')} would wait for another plan"
    if answer["pinned"]:
        yield f"pinned: {counted(answer['pinned'], 'device')} would stay with what they run"


def status_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield for a person where a rollout stands."""
    before = f", before: {answer['previous']}" if answer["previous"] else ""
    yield f"rollout  {answer['channel']}: {answer['version']}{before}: {answer['state'].upper()}"
    for wave in answer["waves"]:
        yield f"wave {wave['number']}   {wave['state']}: {_progress(wave)}"
        yield f"         {'; '.join(filter(None, (wave['who'], _when(wave) if wave['plan'].get('window') else '')))}"
    if answer["rest"]["devices"]:
        yield f"others   {counted(answer['rest']['devices'], 'device')}, in no wave"
    if answer["pinned"]:
        yield f"pinned   {counted(answer['pinned'], 'device')}"
    if answer["granted"]:
        yield f"granted  {', '.join(answer['granted'])}"
    if answer["waits_for"]:
        yield f"next     {'; '.join(answer['waits_for'])}"
    halt = answer["halt"]
    limit = f"when more than {halt['max_failed']} % of {halt['needed']} devices or more fail"
    yield f"halts    {limit}: {halt['failed']:.0f} of {halt['answered']:.0f} so far"
    for one in answer["failed"]:
        name = f" '{one['name']}'" if one["name"] else ""
        yield f"failed   {one['device']}{name}: {one['text']}"


def _progress(wave: Mapping[str, Any]) -> str:
    """Return what became of the devices of a wave, in words."""
    if not wave["offered"]:
        return counted(wave["devices"], "device")
    under_way = wave["offered"] - wave["came_back"] - wave["failed"] - wave["silent"]
    parts = {
        "failed": wave["failed"],
        "silent": wave["silent"],
        "under way": under_way,
        "not asked yet": wave["devices"] - wave["offered"],
    }
    said = [f"{wave['came_back']} of {wave['devices']} came back"]
    return ", ".join(said + [f"{count} {what}" for what, count in parts.items() if count])


def _when(wave: Mapping[str, Any]) -> str:
    plan = wave["plan"]
    if "window" not in plan:
        return "at any time"
    days = f" {', '.join(plan['days'])}" if plan.get("days") else ""
    opens = "open now" if wave["open"] else f"from {local_time(wave['opens'], plan['zone'])}"
    return f"{plan['window']}{days} {plan['zone']}, {opens}"


def _gate(plan: Mapping[str, Any]) -> str:
    """Return what has to be before the next wave begins."""
    names = " or ".join("anybody" if name == ANYBODY else name for name in plan.get("approval", ()))
    needs = [f"{counted(plan.get('answers', MIN_OUTCOMES), 'answer')}, or all"]
    if plan.get("soak"):
        needs.append(_duration(plan["soak"]))
    if "max_failed" in plan:
        needs.append(f"at most {plan['max_failed']} % failed")
    if names:
        needs.append(f"the approval of {names}")
    return f"next after {', '.join(needs)}"


def _duration(minutes: int) -> str:
    parts = []
    for unit, name in MINUTES:
        count, minutes = divmod(minutes, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts)
