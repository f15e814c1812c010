"""Publishing a release by a form: the file that a build has signed, with the checks of a deployment.

What only the machine that builds can do is not done here: nothing is rehearsed, which the audit log says.
"""

from __future__ import annotations

from datetime import datetime, timezone

from ....errors import ConfigError
from ....names import check_name
from ....release.records import Origin, check_version
from ....release.stranding import Consent
from ...catalog import DEFAULT_CHANNEL
from ...operator_api import publishing
from ...operator_api.publishing import Publication
from ...operator_api.rollout_options import RolloutOptions
from ...operator_api.uploads import Upload
from ..forms import Asked, Field, Form
from ..page import Page, Visit, address
from .channel_forms import given_in

FIELDS = (
    Field("file", "Signed firmware", "file", note="firmware.bin.signed, as the build makes it."),
    Field("packed", "The same, compressed", "file", note="firmware.bin.gz.signed, if there is one."),
    Field("version", "Version"),
    Field("channel", "Channel", value=DEFAULT_CHANNEL),
    Field("percent", "Share of the devices, in per cent", "number", "10", least=0, most=100),
    Field("strand_devices", "Leave devices behind that cannot take it", "check"),
    Field("raise_counter", "Raise the security counter for good", "check"),
    Field("downgrade", "Even if it is not newer", "check"),
)
FORM = Form(
    "Publish a release",
    "Publish a release?",
    (
        "It is checked as a deployment is: signature, chip, sizes, and whom it would strand.",
        "It is not rehearsed: pio run -t deploy does that, too.",
    ),
    "Publish",
    FIELDS,
)


async def publish(page: Page, visit: Visit) -> Asked:
    """Ask for the files of a release, publish it, and show it."""
    product, form = page.product(visit), visit.form

    async def change() -> object:
        channel = check_name(form.get("channel", ""), "channel")
        files = [data for name in ("file", "packed") if (data := visit.files.get(name))]
        if not files:
            raise ConfigError("there is no file", "choose firmware.bin.signed")
        wanted = Publication(
            origin=Origin(product, check_version(form.get("version", "").strip()), _now()),
            boards=("",),
            channel=channel,
            options=RolloutOptions.parse(given_in(visit)),
            allow_downgrade="downgrade" in form,
            consent=Consent("raise_counter" in form, "strand_devices" in form),
            rehearsal="skipped",
            who=visit.caller.require(product, channel),
        )
        return await publishing.publish(page.context, Upload(files, {}), wanted)

    back, then = address(product, "releases"), address(product, "releases", form.get("version", ""))
    return Asked(FORM, back, change, then)


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
