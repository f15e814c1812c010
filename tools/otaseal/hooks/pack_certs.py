"""post: CA certificates become `data/certs.ar` before the filesystem image is built, as part of that image's node.

Hooking the alias `buildfs` would come too late, and never for `uploadfs` (F32). The archive is looked at in every
filesystem run, because SCons misses a file that a person edited, and written only when its bytes change.
"""

from __future__ import annotations

from datetime import datetime, timezone

from .. import cert_packing, files
from ..errors import ConfigError
from ..settings import Settings
from . import build

__all__ = ["attach"]


@build.attaching
def attach(env: build.Env, options: Settings) -> None:
    """Declare the archive as something that the filesystem image depends on."""
    if "nobuild" in build.requested():
        return
    image = build.filesystem_image(env)
    if not image.has_builder():
        return
    _guard_over_the_air(env)
    archive = build.path(env, "$PROJECT_DATA_DIR") / cert_packing.ARCHIVE_NAME

    def work(env: build.Env) -> str:
        packed = cert_packing.pack_project(options, archive.parent, build.path(env, "."), datetime.now(timezone.utc))
        for finding in packed.findings:
            build.warn(str(finding))
        changed = files.write_if_changed(archive, packed.archive)
        state = "written" if changed else "unchanged"
        plural = "" if len(packed.anchors) == 1 else "s"
        return f"otaseal: {archive.name} holds {len(packed.anchors)} CA certificate{plural}, {state}"

    node = env.Command(env.File(str(archive)), [], build.action(env, work, "Packing certificates into $TARGET"))
    env.Precious(node)  # SCons would delete the old archive first, and a failure would leave none
    env.NoCache(node)
    env.AlwaysBuild(node)
    env.Depends(image, node)


def _guard_over_the_air(env: build.Env) -> None:
    """Refuse a filesystem upload over the air to a device that verifies: it would erase first and refuse then (F14)."""

    def work(env: build.Env) -> None:
        if build.uploads_over_the_air(env) and env.get(build.VERIFY_UPDATES):
            raise ConfigError(
                "a filesystem upload over the air erases the certificates, and then the device refuses the image",
                "ship certificates over the wire: pio run -t uploadfs --upload-port <serial port>",
            )

    for target in {"uploadfs", "uploadfsota"} & build.requested():
        env.AddPreAction(target, build.action(env, work, "Checking the way to the device"))
