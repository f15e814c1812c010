"""The target `enroll`, which `ship` declares: the device on the cable gets its certificate, and its key is registered.

The port is the one that an upload would take; where uploads go over the air, that of PlatformIO's monitor. Speed and
control lines are the monitor's, too.
"""

from __future__ import annotations

import os

from ..settings import Settings
from . import build


def declare(env: build.Env, options: Settings) -> None:
    """Declare the target; what is missing for it is said when it is asked for."""

    def work(env: build.Env) -> str:
        from ..enrolment import bench, means
        from ..enrolment.port import Port
        from ..pki.enrolment import ENROLLED_DAYS

        signing, registry = means.of(options, build.path(env, "."), os.environ, ENROLLED_DAYS)
        lines = {name: env.GetProjectOption(f"monitor_{name}", None) for name in ("dtr", "rts")}
        with Port(_port(env), int(env.GetProjectOption("monitor_speed")), **lines) as port:
            print(f"otaseal: waiting for the device at {port.name}, {port.baud} baud", flush=True)
            enrolled = bench.enroll(port, signing, registry)
        return "\n".join(f"otaseal: {line}" for line in enrolled.lines())

    env.AddCustomTarget(
        "enroll",
        None,
        [build.action(env, work, "Enrolling the device")],
        title="Enroll Device",
        description="Give the device on the cable a certificate for its own key, and tell the update server its key",
    )


def _port(env: build.Env) -> str:
    """Return the serial port, looked for as for an upload where none is named; without one PlatformIO ends the run."""
    env = env.Clone()
    if build.uploads_over_the_air(env):
        env.Replace(UPLOAD_PORT=env.GetProjectOption("monitor_port", None) or "")
    env.AutodetectUploadPort()
    return str(env.subst("$UPLOAD_PORT"))
