"""Rehearsals: a virtual ESP8266 plays an update with the real files and the live server, before any device does.

The parts: `sources` and `setup` make a scene of a project, `play` plays it, `renewal` plays new certificates, `hostile`
tries what must fail, `report`, `text` and `picture` say what happened.
"""

from __future__ import annotations

from dataclasses import replace

from ..client.client import Admitted, Client
from ..errors import OtasealError, VerificationError
from . import renewal
from .play import perform
from .renewal import Renewal
from .report import Report
from .setup import Choices, Materials, prepare, remote_state

__all__ = ["Choices", "Materials", "Renewal", "Report", "before_publishing", "before_renewing", "refusal"]


def before_publishing(client: Client, materials: Materials, admitted: Admitted) -> Report:
    """Rehearse what was `admitted` and is about to be published; the server is looked at and not changed.

    Raises what the client raises, InputError and ConfigError for files that cannot be rehearsed.
    """
    candidate = replace(materials.candidate, admitted=admitted.release)
    remote = remote_state(client, candidate.origin.product, admitted.options.channel, admitted.state)
    return perform(prepare(replace(materials, candidate=candidate), Choices(), remote))


def before_renewing(client: Client, wanted: Renewal) -> Report:
    """Rehearse certificates that are about to be published; the server is looked at and not changed.

    Raises as `before_publishing`.
    """
    return renewal.rehearse(client, wanted)


def refusal(report: Report) -> OtasealError:
    """Return the error for a rehearsal that failed, which keeps a release from being published."""
    failed = report.failed
    assert failed is not None
    what = failed.reason or failed.checked
    return VerificationError(
        f"the rehearsal fails at '{failed.name}': {what}", failed.fix or "otaseal rehearse shows every step"
    )
