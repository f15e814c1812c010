"""A plan is read from its file, the one in the docs as well, and a rollout is told in lines that fit a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from otaseal.client.plans import MAX_PLAN_BYTES, preview_lines, read_plan, status_lines
from otaseal.errors import OtasealError
from otaseal.release.plan_fields import wave_fields
from otaseal.release.waves import Wave
from otaseal.terminal import fit

DOCS = Path(__file__).resolve().parents[2] / "docs" / "server.md"
NOTHING = {"devices": 0, "offered": 0, "downloaded": 0, "came_back": 0, "failed": 0, "silent": 0}


def test_the_plan_in_the_docs(tmp_path: Path) -> None:
    found = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    path = tmp_path / "rollout.toml"
    path.write_text(found[1], encoding="utf-8")
    waves, max_failed, patience = read_plan(path)
    assert [(wave.who, wave.soak, wave.approval) for wave in waves] == [
        ("tag ours and mac:5C:CF:7F:F0:04:CB", 0, ("alice",)),
        ("10 % of the others", 24 * 60, ()),
        ("all others", 0, ()),
    ]
    assert (max_failed, patience) == (3, 24 * 60)
    assert {wave.window.zone for wave in waves if wave.window} == {"Europe/Berlin"}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"[[wave]]\npercent = 10 %", "is not TOML: "),
        (b"\xff", "is not TOML: "),
        (b"x = " + b"[" * 5000, "is not TOML: "),
        (b"x = " + b"9" * 5000, "is not TOML: "),
        (b"[[wave]]\npercent = 2026-01-01", "wave 1: percent is '2026-01-01'"),
        (b"[[wave]]\nsoak = nan\npercent = 1", "wave 1: soak is 'nan'"),
        (b"#" * (MAX_PLAN_BYTES + 1), "bytes"),
    ],
)
def test_what_is_no_plan(content: bytes, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "rollout.toml").write_bytes(content)
    with pytest.raises(OtasealError) as caught:
        read_plan(tmp_path / "rollout.toml")
    assert "rollout.toml'" in caught.value.message
    assert wrong in caught.value.message


def wave(number: int, plan: Wave, state: str, **counts: int) -> dict[str, Any]:
    """Return a wave as the server shows it."""
    shown = {"number": number, "who": plan.who, "plan": wave_fields(plan), "state": state, "open": False}
    return {**shown, "opens": 1_800_000_000.0, "began": None, "nobody": None, **NOTHING, **counts}


def test_a_rollout_in_lines() -> None:
    answer = {
        "channel": "stable",
        "version": "2.0",
        "previous": "1.0",
        "state": "halted",
        "waves": [
            wave(1, Wave(tags=("ours",)), "done", devices=6, offered=6, downloaded=6, came_back=6),
            wave(2, Wave(percent=10), "running", devices=250, offered=220, downloaded=217, came_back=200, failed=12),
            wave(3, Wave(percent=100), "waiting", devices=2000),
        ],
        "rest": NOTHING,
        "pinned": 1,
        "granted": [],
        "waits_for": ["7 of 10 answers"],
        "halt": {"max_failed": 5, "failed": 12.0, "answered": 218.0, "needed": 10},
        "failed": [{"device": "mac:5C:CF:7F:F0:04:CB", "name": "cellar", "text": "the image is for another board"}],
    }
    lines = list(status_lines(answer))
    assert lines == [
        "rollout  stable: 2.0, before: 1.0: HALTED",
        "wave 1   done: 6 of 6 came back",
        "         tag ours",
        "wave 2   running: 200 of 250 came back, 12 failed, 8 under way, 30 not asked yet",
        "         10 % of the others",
        "wave 3   waiting: 2000 devices",
        "         all others",
        "pinned   1 device",
        "next     7 of 10 answers",
        "halts    when more than 5 % of 10 devices or more fail: 12 of 218 so far",
        "failed   mac:5C:CF:7F:F0:04:CB 'cellar': the image is for another board",
    ]
    assert max(map(len, fit("\n".join(lines), 80).split("\n"))) <= 80


def test_a_plan_in_lines(tmp_path: Path) -> None:
    (tmp_path / "rollout.toml").write_text(
        'zone = "UTC"\n[[wave]]\npercent = 10\nsoak = "25h"\nmax_failed = 0\napproval = "*"\n'
        '[[wave]]\npercent = 50\nwindow = "02:00-04:00"\ndays = "sat-sun"\n'
    )
    waves, _, _ = read_plan(tmp_path / "rollout.toml")
    shown = [wave(number, one, "waiting", devices=12 * number) for number, one in enumerate(waves, 1)]
    assert list(preview_lines({"waves": shown, "rest": {**NOTHING, "devices": 30}, "pinned": 0})) == [
        "wave 1: about 12 devices: 10 % of the others",
        "  at any time; next after 10 answers, or all, 1 d 1 h, at most 0 % failed, the approval of anybody",
        "wave 2: about 24 devices: 50 % of the others",
        "  02:00-04:00 sat, sun UTC, from 2027-01-15 08:00 UTC",
        "nobody else: 30 devices would wait for another plan",
    ]
