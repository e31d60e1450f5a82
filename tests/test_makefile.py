"""`make eval`: what it runs, without running it."""

import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def told(folder: Path, *arguments: str) -> str:
    """The last command that `make eval` would run in a folder."""
    make = ["make", "-n", "-C", str(folder), "-f", str(REPOSITORY / "Makefile"), "eval"]
    environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    done = subprocess.run([*make, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return next(line for line in done.stdout.splitlines()[::-1] if "evaluate.py" in line)


def run(folder: Path, name: str, age: int) -> None:
    """A run that was trained so many seconds ago."""
    checkpoints = folder / "outputs" / name / "checkpoints"
    checkpoints.mkdir(parents=True)
    written = checkpoints.stat().st_mtime - age
    os.utime(checkpoints, (written, written))


def test_the_run_that_was_trained_last_is_evaluated_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "pyproject.toml").touch()
    run(tmp_path, "tryon/first", 20)
    run(tmp_path, "demo/runs/second", 10)
    run(tmp_path, "pose/third", 30)
    command = told(tmp_path, "DATASET=viton_paired", "PROTOCOL=ladi")
    assert "evaluate.py dataset=viton_paired ckpt=outputs/demo/runs/second protocol=ladi" in command
    assert "ckpt=mine.ckpt" in told(tmp_path, "DATASET=viton_paired", "CKPT=mine.ckpt")
