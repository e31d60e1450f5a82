"""`leffa prepare`."""

from pathlib import Path

import pytest

from leffa.cli import main
from leffa.commands.options import usable_cores


def test_the_command_makes_masks(maskless: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prepare", "masks", str(maskless), "--recipe", "hr_viton", "--workers", "1"]
    for _ in range(2):
        assert main(command) == 0
        assert str(maskless / "test/agnostic-mask") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["masks", "."], "--recipe is missing"),
        (["masks", ".", "--recipe", "mine"], "recipe=mine: choose one of"),
        (["masks", ".", "--recipe", "hr_viton"], "masks are made for viton_hd"),
        (["matches", ".", "--label-set", "atr"], "--label-set goes with `leffa prepare masks`"),
        (["matches", "nowhere"], "nowhere: no such folder"),
        (["deepfashion", "."], "train.lst: no such list"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not any(tmp_path.iterdir())


def test_workers_are_as_many_as_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm gives a job a few of a node's."""
    monkeypatch.setattr("os.cpu_count", lambda: 128)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    assert usable_cores() == 128
