"""Two servers replaced one after the other by ones of a later otaseal, whose schema has more, while devices poll."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otaseal.store.postgresql.schema import MIGRATIONS
from support.cluster import ENVIRONMENT, Five
from support.command import TOOLS
from support.servers import World, until
from support.trial import Trial, trial

pytestmark = pytest.mark.proof

SCHEMA = "otaseal/store/postgresql/schema.py"
TABLES = ("documents", "blobs", "audit", "changes", "servers", "judged", "devices", "rollouts", "statements", "keys")
ADDS = "CREATE TABLE later (text text);" + "".join(
    f"ALTER TABLE {table} ADD COLUMN later text NOT NULL DEFAULT '';" for table in TABLES
)
ENDS = "DROP TABLE later;"
NOW = len(MIGRATIONS)


def later(folder: Path, migrations: str, readable_by: int) -> Path:
    """Return where an otaseal is whose schema is that of this one and some migrations."""
    tools = Path(shutil.copytree(TOOLS, folder, ignore=shutil.ignore_patterns("__pycache__")))
    schema = tools / SCHEMA
    text = schema.read_text() + f"MIGRATIONS = (*MIGRATIONS, {migrations})\n"
    schema.write_text(re.sub(r"(?m)^READABLE_BY = \d+$", f"READABLE_BY = {readable_by}", text))
    assert schema.read_text() != (TOOLS / SCHEMA).read_text()
    return tools


def otaseal(tools: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otaseal", *arguments]
    environment = ENVIRONMENT | {"PYTHONPATH": str(tools)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def version(five: Five) -> object:
    with five.connect() as connection:
        return connection.execute("SELECT version, readable_by FROM otaseal_schema").fetchone()


def replace(trial: Trial, name: str, tools: Path) -> None:
    """Replace a server by one of another otaseal, and change what is served then."""
    server = trial.five.servers[name]
    assert server.stop() == 0
    server.tools = tools
    server.start()
    assert trial.publish(f"2.{len(trial.record.requests)}", 100)
    trial.percent(100)


def test_servers_are_upgraded_one_after_the_other_while_devices_poll(world: World, tmp_path: Path) -> None:
    newer, newest = (
        later(tmp_path / "newer", repr(ADDS), 1),
        later(tmp_path / "newest", repr(ADDS) + "," + repr(ENDS), NOW + 2),
    )
    with trial(world) as tried:
        five = tried.five
        with tried.load():
            replace(tried, "a", newer)
            assert version(five) == (NOW + 1, 1)
            until(lambda: tried.server("b", "/healthz").body == b'{"status": "ok"}', "the older one is not well")
            replace(tried, "b", newer)
            replace(tried, "b", TOOLS)  # and back: it can read that
        assert [request.outcome for request in tried.record.requests] == ["done"] * 7
        assert [answer for answer in tried.record.answers if answer.status not in (200, 304)] == []
        assert tried.record.wrong_answers() == []
        for server in five.servers.values():
            assert "Traceback" not in server.log.read_text()
            assert server.stop() == 0
        assert otaseal(newest, "store", "check", five.url).stderr.startswith("otaseal: error: ")
        assert otaseal(newest, "store", "upgrade", five.url).returncode == 0
        assert version(five) == (NOW + 2, NOW + 2)
        for tools in (TOOLS, newer):
            refused = otaseal(tools, "store", "check", five.url)
            assert refused.returncode == 1
            assert re.fullmatch(
                r"otaseal: error: .* was made by a newer otaseal\notaseal: hint: .*\n", refused.stderr
            ), refused.stderr
