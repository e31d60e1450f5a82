"""`make eval`: what it runs, without running it."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from leffa.run import compose
from leffa.run.config import resolved

REPOSITORY = Path(__file__).parents[1]


def told(folder: Path, *arguments: str) -> str:
    """The command that `make eval` would run in a folder."""
    make = ["make", "-n", "-C", str(folder), "-f", str(REPOSITORY / "Makefile"), "eval"]
    environment = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    done = subprocess.run([*make, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return next(" ".join(line.split()) for line in lines if " evaluate.py" in line)


def run(folder: Path, name: str, age: int) -> None:
    """A run that was trained so many seconds ago."""
    checkpoints = folder / "outputs" / name / "checkpoints"
    checkpoints.mkdir(parents=True)
    written = checkpoints.stat().st_mtime - age
    os.utime(checkpoints, (written, written))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where make finds what it needs."""
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_run_that_was_trained_last_is_evaluated_unless_another_is_named(folder: Path) -> None:
    places = ["tryon/first", "demo/runs/second", "named", "sweeps/tau/0/run", "pose/third"]
    for age, name in enumerate(places[::-1]):
        run(folder, name, 10 * age)
    for number, name in enumerate(places[::-1]):
        command = told(folder, "DATASET=viton_paired", "PROTOCOL=ladi")
        assert f"evaluate.py dataset=viton_paired ckpt=outputs/{name} protocol=ladi" in command
        os.utime(folder / "outputs" / name / "checkpoints", (number, number))
    assert "ckpt=mine.ckpt" in told(folder, "DATASET=viton_paired", "CKPT=mine.ckpt")


def test_a_real_data_set_is_evaluated_on_all_gpus_of_a_machine(folder: Path) -> None:
    given = ["DATASET=vitonhd_unpaired", "CKPT=run", "ROOT=/data/viton_hd", "DEVICES=8"]
    more = "ARGS=hardware=gpu_80gb precision=bf16-mixed"
    _, overrides = told(folder, *given, more).split("evaluate.py ")
    config = resolved(compose("evaluate", shlex.split(overrides)))
    assert config["dataset"]["records"]["root"] == "/data/viton_hd"
    assert (config["devices"], config["precision"]) == (8, "bf16-mixed")
    assert config["hardware"]["num_workers"] > 0
