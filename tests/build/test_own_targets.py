"""A project that has targets of the names that ship.py gives to its own: the project's stay, and otaseal says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.pki import Authority, Role
from support.hooks import ALL_HOOKS, SELF_UPDATING, opt_in, write_key
from support.pio import Project, Run

pytestmark = [pytest.mark.build, pytest.mark.proof]

MakeProject = Callable[..., Project]
TARGETS = ("uploadall", "rehearse", "deploy", "deploycerts", "enroll")
# PlatformIO's way to declare a target, and SCons's own, which was the only one before.
WAYS = {
    "custom": 'env.AddCustomTarget("{name}", None, ["echo own {name} ran"], title="Own {name}")',
    "alias": 'env.AlwaysBuild(env.Alias("{name}", [], ["echo own {name} ran"]))',
}


def listing(made: Project) -> dict[str, str]:
    """Return the title of each target that PlatformIO lists."""
    lines = made.run("--list-targets").stdout.splitlines()
    rows = (line.split(maxsplit=3) for line in lines if line.startswith("nodemcuv2"))
    return {name: title for _, _, name, title in rows}


def notes(run: Run) -> list[str]:
    return [line for line in run.output.splitlines() if line.startswith("otaseal: note:")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["pre", "post", "last"])
def test_the_projects_own_targets_stay(
    way: str, first: str, project: MakeProject, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Wherever the project's script stands: before ours, after them, or before the platform's builder."""
    lines = opt_in(*ALL_HOOKS)
    own = f"  {'pre' if first == 'pre' else 'post'}:own.py"
    lines.insert(len(lines) if first == "last" else 1, own)
    key = write_key(tmp_path / "signing.key", rsa_key)
    made = project(*lines, key, "board_build.filesystem = littlefs", sources={"main.cpp": SELF_UPDATING})
    authority = Authority.create(role=Role.SERVER, product="blink", now=datetime.now(timezone.utc))
    made.write("certs/ca.pem", authority.certificate_pem)
    names = ("deploy", "uploadall")
    made.write("own.py", "\n".join(['Import("env")', *(WAYS[way].format(name=name) for name in names), ""]))
    run = made.run("-t", "deploy", "-t", "uploadall")
    assert [run.stdout.count(f"own {name} ran") for name in names] == [2, 2], "SCons shows the command, and it prints"
    assert "custom_otaseal_server" not in run.output
    assert "Connecting" not in run.output
    assert "Remembering the shipped certificates" not in run.output
    (note,) = notes(run)
    assert "called 'deploy', 'uploadall', and so otaseal's is not there" in note
    if (way, first) == ("custom", "last"):
        listed = listing(made)
        assert [listed[name].startswith("Own") for name in names] == [True, True]
        assert listed["deploycerts"].startswith("Deploy Certificates")
        assert "no update server" in made.run("-t", "deploycerts", check=False).stderr
        assert "own deploy ran" in made.run("-t", "buildfs", "-t", "deploy").stdout, "it may need no firmware"


def test_where_no_name_is_taken_scripts_can_add_to_ours(
    project: MakeProject, flash: Path, tmp_path: Path, rsa_key: rsa.RSAPrivateKey
) -> None:
    """Actions and dependencies, whether the project's script stands before or behind ours."""
    key = write_key(tmp_path / "signing.key", rsa_key)
    script = [
        'Import("env")',
        'env.AddPreAction("uploadall", "echo BEFORE uploadall")',
        'env.AddPostAction("uploadall", "echo AFTER uploadall")',
        'env.Depends("uploadall", env.Command("#made.txt", [], "echo DEPENDENCY > $TARGET"))',
    ]
    made = project(sources={"main.cpp": SELF_UPDATING}, data={"hello.txt": b"hello"})
    made.write("more.py", "\n".join([*script, ""]))
    hooks = opt_in("verify_updates", "sign_firmware", "ship")
    for lines in ([*hooks, "  post:more.py"], [hooks[0], "  post:more.py", *hooks[1:]]):
        made.configure([*lines, key, "board_build.filesystem = littlefs", f"upload_port = {flash}"])
        (made.path / "made.txt").unlink(missing_ok=True)
        run = made.run("-t", "uploadall")
        assert notes(run) == []
        before, during, after = (
            run.stdout.index(text) for text in ("BEFORE uploadall", "Connecting", "AFTER uploadall")
        )
        assert before < during < after
        assert (made.path / "made.txt").read_text() == "DEPENDENCY\n"
    assert set(TARGETS) <= set(listing(made))
