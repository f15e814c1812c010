"""Completion in a real bash: what `otaseal completion bash` prints, and what Tab makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.command import TOOLS, process

SCRIPT = """
source completion.bash
COMP_WORDS=({words}) COMP_CWORD={index}
_shtab_otaseal "${{COMP_WORDS[0]}}" "${{COMP_WORDS[{index}]}}" "${{COMP_WORDS[{index} - 1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("completion")
    (made / "completion.bash").write_text(process("completion", "bash", cwd=made).succeeded().out)
    (made / "firmware.bin").touch()
    (made / "data").mkdir()
    return made


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["otaseal", "si"], {"sign"}),
        (["otaseal", "reh"], {"rehearse"}),
        (["otaseal", "certs", "pa"], {"pack"}),
        (["otaseal", "sign", "--passphrase"], {"--passphrase-file"}),
        (["otaseal", "devices", "--state", "st"], {"stuck"}),
        (["otaseal", "sign", "firm"], {"firmware.bin"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_tab_offers(folder: Path, words: list[str], offered: set[str]) -> None:
    script = SCRIPT.format(words=" ".join(words), index=len(words) - 1)
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert not done.stderr
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_their_own(shell: str, tmp_path: Path) -> None:
    assert "sign" in process("completion", shell, cwd=tmp_path).succeeded().out


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(TOOLS)!r}); sys.modules['shtab'] = None\n"
        "from otaseal.cli import main; sys.exit(main(['completion', 'bash']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "otaseal: error: the package 'shtab' is missing"
    assert ".[completion]" in done.stderr.splitlines()[1]
