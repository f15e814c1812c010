"""The GitHub Action: its steps, run as its runner's bash runs them, with the real PlatformIO and a real server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import files
from otaseal.keys.signers import private_key_pem
from otaseal.store.trusts import Trust, TrustFile
from support.command import TOOLS, Command, otaseal
from support.composite import Action, Finished
from support.hooks import ALL_HOOKS, SELF_UPDATING, opt_in
from support.issuer import issuing
from support.pio import Project
from support.repositories import git
from support.servers import StartServer, World, operator

__all__ = ["otaseal"]

pytestmark = [pytest.mark.build, pytest.mark.proof]

ROOT = TOOLS.parent
RELEASES = "/v1/products/blink/releases"
WORKFLOWS = "https://github.com/me/blink/.github/workflows/"
MakeProject = Callable[..., Project]
Run = Callable[..., Finished]


@pytest.fixture
def blink(project: MakeProject, world: World) -> Project:
    lines = [*opt_in(*ALL_HOOKS), "board_build.filesystem = littlefs", "custom_otaseal_product = blink"]
    made = project(*lines, sources={"main.cpp": SELF_UPDATING})
    made.write("certs/ca.pem", world.ca.read_text())
    made.environment["OTASEAL_REHEARSE"] = "yes"
    return made


@pytest.fixture
def run(blink: Project, tmp_path: Path) -> Run:
    """Return what runs the action in the project's folder, a job of its own each time."""
    jobs = iter(range(10))

    def begin(environment: Mapping[str, str] | None = None, **inputs: str) -> Finished:
        temporary = tmp_path / f"job{next(jobs)}"
        temporary.mkdir()
        variables = {**blink.environment_of_runs(), "PYTHONPATH": str(TOOLS), **(environment or {})}
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        return Action(ROOT).run(blink.path, temporary, variables, {"python": sys.executable, **given})

    return begin


def test_from_a_tag_to_a_release_that_is_accounted_for(
    start_server: StartServer,
    blink: Project,
    run: Run,
    world: World,
    rsa_key: rsa.RSAPrivateKey,
    tmp_path: Path,
    otaseal: Command,
) -> None:
    """No secret is kept but the key; the server takes what this workflow built, and nothing that another one did."""
    pem = private_key_pem(rsa_key, None).decode()
    server = start_server("--require-provenance", f"{WORKFLOWS}*")
    blink.run("-t", "lock", env={"OTASEAL_SIGNING_KEY": "env:KEY", "KEY": pem})
    git(blink.path, "init", "-q")
    git(blink.path, "add", "platformio.ini", "src", "otaseal.lock")
    git(blink.path, "commit", "-qm", "Blink")
    git(blink.path, "tag", "1.0.0")
    with issuing(world.chain, one=rsa_key) as issuer:
        trust = Trust(
            *("", "release", issuer.url, server.url, {"environment": "release"}, {}, ("blink/stable",)),
            authority=world.ca.read_text(),
        )
        TrustFile(server.store).add(trust, "local:tests")
        wanted = {f"OTASEAL_{name}": "yes" for name in ("SBOM", "LOCK", "PROVENANCE")}
        job = {**issuer.job(), "SSL_CERT_FILE": str(world.ca), "GITHUB_SERVER_URL": "https://github.com", **wanted}
        release = {**job, "GITHUB_WORKFLOW_REF": "me/blink/.github/workflows/release.yml@refs/tags/1.0.0"}
        publish = {"publish": "yes", "signing_key": pem, "server": server.url, "server_ca": str(world.ca)}
        published = run(release, **publish)
        assert published.failed is None, published.output
        assert list(published.codes)[-1] == "Publish"
        assert "nothing -> 1.0.0, for every device" in published.output
        assert pem.splitlines()[1] not in published.output + published.summary
        assert "blink 1.0.0 on ESP8266: devices would take this update" in published.summary.replace("\\", "")
        assert operator(server).get(RELEASES)["attachments"] == {"1.0.0": ["provenance", "sbom"]}

        shutil.copyfile(blink.build("firmware.bin.signed"), tmp_path / "before.signed")
        blink.write("src/main.cpp", SELF_UPDATING.replace("8080", "8081"))
        git(blink.path, "commit", "-qam", "Ask another port")
        git(blink.path, "tag", "1.1.0")
        checked = run(wanted, compare=str(tmp_path / "before.signed"))
        assert checked.failed is None, checked.output
        assert "Publish" not in checked.codes
        assert "| version | 1.0.0 | 1.1.0 | changed |" in checked.summary
        assert "% of the image, devices make this build of it |" in checked.summary
        assert "| keys that it trusts | SHA256:" in checked.summary
        assert "| ✅ | whole image | taken, and started |" in checked.summary

        foreign = {**job, "GITHUB_WORKFLOW_REF": "you/blink/.github/workflows/release.yml@refs/tags/1.1.0"}
        refused = run(foreign, **publish)
        assert refused.failed == "Publish"
        assert "https://github.com/you/blink" in refused.output
        assert "Ask another port" in refused.summary, "what the channel gives out is compared with, commits included"
    assert [one["version"] for one in operator(server).get(RELEASES)["releases"]] == ["1.0.0"]
    files.write_new(tmp_path / "token", f"{server.token}\n".encode(), files.PRIVATE_MODE)
    asked = ("--server", server.url, "--ca", world.ca, "--token-file", tmp_path / "token", "--product", "blink")
    assert "1.0.0" in otaseal("report", *asked, "--json").succeeded().out
    assert "framework-arduinoespressif8266" in otaseal("sbom", *asked, "--version", "1.0.0").succeeded().out


def test_a_check_that_fails_says_why_in_the_summary(blink: Project, run: Run) -> None:
    refused = run(publish="yes")
    assert refused.failed == "Choose the key and the environments"
    assert "there is no key to publish with" in refused.output
    assert run(publish="true").failed == "Choose the key and the environments"
    strange = run(environments='nodemcuv2" ; touch injected ; "')
    assert strange.failed == "Build and sign"
    assert not (blink.path / "injected").exists()

    blink.write("src/broken.cpp", "syntax error")
    assert run().failed == "Build and sign"
    (blink.path / "src" / "broken.cpp").unlink()
    # what is built is not what would be released
    other = run(environment={"OTASEAL_PRODUCT": "blink"}, version="1.0.0", compare="nowhere.bin")
    assert other.failed == "Rehearse the update, and say what changes"
    assert "nodemcuv2 could not be rehearsed" in other.summary
    assert "nowhere.bin" in other.summary


def test_it_installs_itself(tmp_path: Path) -> None:
    """Without dependencies, which are there already, so that no index is asked."""
    packages = str(Path(pytest.__file__).parents[1])
    quiet = {"PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1", "PYTHONPATH": packages}
    folder = tmp_path / "checkout"
    for name in ("tools", "extra_scripts", "firmware"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("action.yml", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    done = Action(folder).run(tmp_path, tmp_path, {**path, **quiet}, {}, only=1)
    assert done.failed is None, done.output
    assert (tmp_path / "otaseal" / "bin" / "otaseal").is_file()
