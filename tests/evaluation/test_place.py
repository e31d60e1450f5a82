"""Where an evaluation writes when nobody says so: the same place for the same pictures."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import pytest

from leffa.evaluation.folder import EvaluationFolder
from leffa.run import compose, evaluate
from leffa.run.program import program


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    file.touch()
    return file


def place(ckpt: Path, *others: str) -> str:
    chosen = ["dataset=synthetic_tryon", f"ckpt={ckpt}"]
    return str(compose("evaluate", [*chosen, *others]).paths.output_dir)


def test_the_same_command_goes_on_in_the_same_folder(checkpoint: Path) -> None:
    run = checkpoint.parents[1]
    assert place(run) == place(run, "batch_size=2", "devices=2", "hardware=gpu_24gb")
    assert place(run).startswith("outputs/evaluate_synthetic_tryon/")
    assert "_run_" in place(run)


@pytest.mark.parametrize(
    "other",
    ["limit=2", "sampler.seed=7", "protocol=ladi", "dataset.root=elsewhere", "weights=raw"],
)
def test_other_pictures_or_scores_lie_elsewhere(checkpoint: Path, other: str) -> None:
    run = checkpoint.parents[1]
    assert place(run, other) != place(run)


def test_a_run_that_was_trained_on_is_evaluated_anew(checkpoint: Path) -> None:
    run = checkpoint.parents[1]
    before = place(run)
    os.utime(checkpoint, (0, checkpoint.stat().st_mtime + 1))
    assert place(run) != before


def test_a_folder_that_was_exported_again_is_evaluated_anew(tmp_path: Path) -> None:
    settings = tmp_path / "leffa.json"
    settings.touch()
    before = place(tmp_path)
    os.utime(settings, (0, settings.stat().st_mtime + 1))
    assert place(tmp_path) != before


@pytest.mark.parametrize(
    ("chosen", "lacking"),
    [(["dataset=synthetic_tryon"], "ckpt"), (["dataset=folder", "ckpt=x"], "dataset.root")],
)
def test_what_must_be_given_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    fresh_hydra: None,
    chosen: list[str],
    lacking: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *chosen, *quiet])
    with pytest.raises(SystemExit):
        program("evaluate", evaluate)
    message = f"error: {lacking} must be given: add {lacking}=... to the command line"
    assert capsys.readouterr().err.strip() == message


def test_an_evaluation_leaves_a_folder_of_somebody_else_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "anna.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"images: exists, .* another paths\.output_dir"):
        EvaluationFolder(tmp_path).claim({"dataset": "viton"})
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


@pytest.mark.usefixtures("fresh_hydra")
def test_a_read_only_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(**_: Any) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    chosen = ["dataset=synthetic_tryon", "ckpt=none", f"paths.output_dir='{tmp_path}/new'"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *chosen])
    with pytest.raises(SystemExit):
        program("evaluate", evaluate)
    told = f"error: {tmp_path}: cannot be written to (Read-only file system); give another "
    assert capsys.readouterr().err == f"{told}paths.output_dir\n"


def test_an_evaluation_goes_on_whatever_the_order_of_its_settings(tmp_path: Path) -> None:
    EvaluationFolder(tmp_path).claim({"height": 64, "width": 48})
    EvaluationFolder(tmp_path).claim({"width": 48, "height": 64})
    with pytest.raises(ValueError, match="other settings"):
        EvaluationFolder(tmp_path).claim({"width": 48, "height": 32})
