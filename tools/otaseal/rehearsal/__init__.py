"""Rehearsals: a virtual device plays an update with the real files and the live server, before any device does.

`sources`, `boards` and `setup` make a scenario of a project, `scenario` plays it, `renewal` plays new certificates,
`hostile` tries what must fail, `report`, `text` and `flash_map` say what happened.
"""

from __future__ import annotations

from dataclasses import replace

from ..client.client import Client
from ..client.deployment import Admitted
from .renewal import Renewal, before_renewing
from .report import Report, outcome, refusal
from .scenario import play
from .setup import DeviceOptions, Inputs, prepare, remote_state

__all__ = ["DeviceOptions", "Inputs", "Renewal", "Report", "before_publishing", "before_renewing", "outcome", "refusal"]


def before_publishing(client: Client, inputs: Inputs, admitted: Admitted) -> Report:
    """Rehearse what was `admitted` for one board and is to be published; the server is looked at and not changed.

    Raises what the client raises, InputError and ConfigError for files that cannot be rehearsed.
    """
    candidate = replace(inputs.candidate, admitted=admitted.release)
    channel = admitted.options.channel
    remote = remote_state(client, candidate.origin.product, channel, admitted.state, admitted.release.board_key)
    return play(prepare(replace(inputs, candidate=candidate), DeviceOptions(), remote))
