"""What a build uses of what PlatformIO has installed: platform, packages, and the libraries that it compiles.

PlatformIO's builder knows them when the extra scripts run: what its Library Dependency Finder has found is built by
then, as nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..sbom.parts import Kind, Part, read_part
from ..sbom.trees import Trees
from . import build

_KINDS = {"framework": Kind.FRAMEWORK, "toolchain": Kind.TOOLCHAIN}


def platform_and_packages(env: build.Env) -> Iterator[Part]:
    """Yield the platform, and those of its packages that this run needs."""
    from platformio.package.version import get_original_version

    platform = env.PioPlatform()
    about = {**_installed(Path(platform.get_dir())), "name": platform.name, "version": str(platform.version)}
    yield read_part(Kind.PLATFORM, Path(platform.get_dir()), about)
    for package in platform.get_installed_packages(with_optional=False):
        kind = _KINDS.get(platform.get_package_type(package.metadata.name), Kind.TOOL)
        part = read_part(kind, Path(package.path), _of_metadata(package.metadata))
        yield replace(part, upstream=get_original_version(part.version) or "")


def libraries(env: build.Env, packages: Sequence[Part]) -> Iterator[Part]:
    """Yield the libraries that are compiled, those of the project and of the platform's `packages` included."""
    places = {part.folder.resolve(): part.name for part in packages}
    for library in built(env):
        folder = Path(library.path)
        about = _installed(folder)
        part = read_part(Kind.LIBRARY, folder, about or {"version": str(library.version or "")})
        around = [place for place in places if folder.resolve().is_relative_to(place)]
        yield replace(part, within=places[max(around, key=lambda place: len(place.parts))] if around else "")


def built(env: build.Env) -> list[Any]:
    """Return what PlatformIO's Library Dependency Finder has chosen."""
    return [library for library in env.GetLibBuilders() if library.is_built]


def trees(env: build.Env) -> Trees:
    """Return the hashes of folders, of which the project's workspace keeps what was computed."""
    return Trees(build.path(env, "$PROJECT_WORKSPACE_DIR") / "otaseal" / "trees.json")


def with_tree(part: Part, known: Trees) -> Part:
    """Return a part with the hash of its files; raises SystemFaultError."""
    return replace(part, tree=known.digest(part.folder))


def _installed(folder: Path) -> Mapping[str, str]:
    """Return what PlatformIO noted when it installed a folder; nothing of one that it did not."""
    from platformio.package.meta import PackageItem

    metadata = PackageItem(str(folder)).metadata
    return {} if metadata is None else _of_metadata(metadata)


def _of_metadata(metadata: Any) -> Mapping[str, str]:
    spec = metadata.spec
    about = {"name": metadata.name, "version": str(metadata.version or "")}
    if spec is not None:
        about |= {"owner": spec.owner or "", "uri": spec.uri or ""}
    return about
