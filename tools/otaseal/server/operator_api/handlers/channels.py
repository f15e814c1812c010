"""Endpoints that point a channel at a release: promote, roll back, set the share of the devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ....errors import ConfigError
from ....names import check_name
from ....release.records import check_version
from ....release.stranding import Consent
from .. import channel_changes
from ..channel_changes import Target
from ..rollout_options import NAMES, RolloutOptions
from ..uploads import read_json
from .context import OperatorContext
from .fields import flag_in

if TYPE_CHECKING:
    from starlette.requests import Request

SET_ASIDE = "set_aside"
CONSENT = tuple(field.name for field in fields(Consent))


async def promote(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Point a channel at what another one points at, or at a version: `{"from": ...}` or `{"version": ...}`."""
    target = Target(*context.channel(request))
    body = await read_json(request, ("from", "version", *NAMES, *CONSENT))
    if ("from" in body) is ("version" in body):
        raise ConfigError("neither or both of 'from' and 'version'", "give the channel or the version to promote")
    if "from" in body:
        version = channel_changes.proven_version(context, target.product, check_name(str(body["from"]), "channel"))
    else:
        version = check_version(str(body["version"]))
    return await channel_changes.promote(context, target, version, RolloutOptions.parse(body), _consent(body))


async def percent(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Set to how many per cent of the devices a channel's release goes; a halted rollout goes on.

    With `set_aside` the failures so far do not count any more.
    """
    target = Target(*context.channel(request))
    body = await read_json(request, (*NAMES, SET_ASIDE))
    set_aside = flag_in(body, SET_ASIDE)
    options = RolloutOptions.parse({"percent": None, **{name: body[name] for name in NAMES if name in body}})
    return await channel_changes.set_percent(context, target, options, set_aside=set_aside)


async def rollback(context: OperatorContext, request: Request) -> dict[str, Any]:
    """Point a channel back at the last version that all its devices had."""
    target = Target(*context.channel(request))
    return await channel_changes.roll_back(context, target, _consent(await read_json(request, CONSENT)))


def _consent(body: Mapping[str, Any]) -> Consent:
    """Return what the operator agrees to: the fields of CONSENT, each true or false; raises ConfigError."""
    return Consent(**{name: flag_in(body, name) for name in CONSENT})
