"""The two programs: what they print and leave where something is wrong, and what changed."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from leffa.run.__main__ import main as as_module
from leffa.run.config import changes
from leffa.run.program import program

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.usefixtures("fresh_hydra")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("train", []), ("evaluate", ["dataset=synthetic_tryon", "ckpt=run"])],
)
def test_a_folder_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    arguments: list[str],
) -> None:
    (tmp_path / "file").touch()
    output = f"paths.output_dir={tmp_path / 'file' / 'run'}"
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, output, *quiet])
    with pytest.raises(SystemExit) as stop:
        program(name, lambda cfg: None)
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'file'}: cannot be written to")
    assert line.endswith("; give another paths.output_dir")


@pytest.mark.usefixtures("fresh_hydra")
@pytest.mark.parametrize("experiment", [[], ["experiment=pose_synthetic"]])
def test_what_the_command_line_changed_is_told_from_the_experiment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, experiment: list[str]
) -> None:
    """With no experiment chosen, from the defaults."""
    output = f"paths.output_dir={tmp_path}"
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    monkeypatch.setattr(sys, "argv", ["train.py", *experiment, "seed=3", output, *quiet])
    found: list[dict[str, Any]] = []
    program("train", lambda cfg: found.append(changes(cfg)))
    assert found[0]["seed"] == (0, 3)
    assert {key.split(".")[0] for key in found[0]} == {"seed", "paths"}


@pytest.mark.usefixtures("fresh_hydra")
@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        ("train", ["experiment=tryon_synthetic"], "hardware.micro_batch"),
        ("evaluate", ["dataset=synthetic_tryon", "ckpt=run"], "batch_size"),
    ],
)
def test_a_full_gpu_is_answered_with_the_key_that_needs_less(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    arguments: list[str],
    key: str,
) -> None:
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    output = f"paths.output_dir={tmp_path}"
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, output, *quiet])

    def task(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    with pytest.raises(SystemExit) as stop:
        program(name, task)
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the GPU has too little free memory: ")
    assert f"give a smaller {key}, " in line


def test_an_installed_package_has_both_programs_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, misspelt in (("train", "experiment=finetun"), ("evaluate", "dataset=viton_pared")):
        monkeypatch.setattr(sys, "argv", ["leffa.run", name, misspelt])
        with pytest.raises(SystemExit) as stop:
            as_module()
        assert stop.value.code == 1
        assert "; did you mean " in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["leffa.run", "fit"])
    with pytest.raises(SystemExit, match=r"usage: python -m leffa.run {train,evaluate} KEY=VALUE"):
        as_module()


@pytest.mark.slow
def test_the_program_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    """The whole program once, in a process of its own."""
    nowhere = tmp_path / "nowhere"
    chosen = ["experiment=viton_256", "debug=tiny", f"data.root={nowhere}"]
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "train.py", *chosen, f"paths.output_dir={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"},
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(f"error: {nowhere}: ")


QUICK = """
import sys, time
from leffa.run.program import evaluation_job, program, train_job

for words in (["train", "--help"], ["evaluate", "-h"], ["train", "--cfg", "job", "seed=7"]):
    sys.argv = [f"{words[0]}.py", *words[1:]]
    program(words[0], {"train": train_job, "evaluate": evaluation_job}[words[0]])
print(time.process_time(), sorted({"torch", "lightning", "diffusers"} & set(sys.modules)))
"""


def test_help_and_configuration_wait_for_no_network_library() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *shown, last = done.stdout.splitlines()
    seconds, imported = last.split(" ", 1)
    assert imported == "[]" and float(seconds) < 3
    train, evaluate = (
        next(n for n, line in enumerate(shown) if line.startswith(f"usage: python {name}.py"))
        for name in ("train", "evaluate")
    )
    assert evaluate - train < 40  # a screen
    assert "  leffa_loss: off on" in shown and "seed: 7" in shown


def test_a_configuration_that_lacks_a_choice_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--cfg", "job"])
    with pytest.raises(SystemExit):
        program("evaluate", lambda cfg: None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: You must specify") and "; dataset is one of: " in line
