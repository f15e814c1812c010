"""Who builds, as provenance says it: the workflow of GitHub Actions, else what the project's options name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from ..errors import ConfigError
from ..release.provenance import URI, Build
from ..release.records import Origin
from ..settings import Settings
from . import source_version

_HINT = "name it as a URI: custom_otaseal_builder = https://ci.example.com/blink, or --builder"


def describe_build(options: Settings, origin: Origin, environment: Mapping[str, str], **parameters: str) -> Build:
    """Return how a release of this `origin` is built; raises ConfigError where nothing says by whom.

    `environment` is the process's own: what GitHub Actions sets names workflow and run. `parameters` are added to
    those of the release.
    """
    server, workflow = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_WORKFLOW_REF", "")
    builder = options.builder or (f"{server}/{workflow}" if server and workflow else "")
    if not URI.fullmatch(builder):
        what = f"the builder '{builder[:80]}' is no URI" if builder else "nothing says who builds, for the provenance"
        raise ConfigError(what, _HINT)
    finished = source_version.source_date(environment)
    when = datetime.now(timezone.utc) if finished is None else datetime.fromtimestamp(finished, timezone.utc)
    return Build(
        builder=builder,
        parameters={"product": origin.product, "version": origin.version, "board": origin.board, **parameters},
        commit=origin.git_commit,
        finished=when.strftime("%Y-%m-%dT%H:%M:%SZ"),
        invocation=_run(server, environment),
    )


def _run(server: str, environment: Mapping[str, str]) -> str:
    """Return the URI of a run of GitHub Actions, "" elsewhere."""
    repository, run = environment.get("GITHUB_REPOSITORY"), environment.get("GITHUB_RUN_ID")
    if not server or not repository or not run:
        return ""
    return f"{server}/{repository}/actions/runs/{run}/attempts/{environment.get('GITHUB_RUN_ATTEMPT', '1')}"
