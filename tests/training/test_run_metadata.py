"""What a run leaves to read: its log, which goes on, and its page."""

import csv
import errno
import re
from pathlib import Path

import pytest
import wandb
import yaml
from PIL import Image

from leffa.run import compose, train
from leffa.training.checkpoints import link
from leffa.training.curves import read_curves
from leffa.training.loggers import RunCSVLogger, RunWandbLogger, begin_logs
from leffa.training.report import write_report
from leffa.training.run_metadata import differences, write_run_metadata


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logged(folder: Path, steps: range, goes_on_after: int, column: str = "train/loss") -> None:
    logger = RunCSVLogger(str(folder))
    begin_logs([logger], goes_on_after, {})
    for step in steps:
        logger.log_metrics({column: float(step)}, step)
    logger.save()


def test_a_log_goes_on_after_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    logged(tmp_path, range(5), 0)
    logged(tmp_path, range(3, 6), 3, column="val/ssim")  # new columns too
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1", "2", "3", "4", "5"]
    assert [row["train/loss"] for row in rows(tmp_path)] == ["0.0", "1.0", "2.0", "", "", ""]
    assert [row["val/ssim"] for row in rows(tmp_path)] == ["", "", "", "3.0", "4.0", "5.0"]


def test_a_log_that_was_cut_in_a_line_goes_on(tmp_path: Path) -> None:
    logged(tmp_path, range(5), 0)
    path = tmp_path / "logs" / "metrics.csv"
    path.write_bytes(path.read_bytes()[:-3])
    logged(tmp_path, range(4, 6), 4)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1", "2", "3", "4", "5"]


def test_a_log_survives_a_disk_that_is_full_when_a_column_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    logged(tmp_path, range(3), 0)
    before = rows(tmp_path)
    logger = RunCSVLogger(str(tmp_path))
    begin_logs([logger], 3, {})
    logger.log_metrics({"val/ssim": 1.0}, 3)
    with monkeypatch.context() as disk, pytest.raises(OSError, match="No space left"):
        disk.setattr("csv.DictWriter.writerows", fail)
        logger.save()
    assert rows(tmp_path) == before


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    logged(tmp_path, range(5), 0)
    logged(tmp_path, range(2), 0)
    assert [row["step"] for row in rows(tmp_path)] == ["0", "1"]


def test_each_job_of_a_sweep_is_a_wandb_run_of_its_own_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        logger = RunWandbLogger("leffa", "a", str(folder))
        begin_logs([logger], 0, {"leffa_loss": {"temperature": number}})
        run = logger.experiment
        assert run.id == (folder / "wandb_id.txt").read_text()
        assert run.config["leffa_loss"]["temperature"] == number
        logger.finalize("success")


def test_wandb_without_a_key_is_told_before_the_run_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def login(**_: object) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ValueError, match=r"type `wandb login`, or set WANDB_MODE=offline to log"):
        RunWandbLogger("leffa", "a", str(tmp_path))


def test_a_resumed_run_keeps_its_wandb_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    first = RunWandbLogger("leffa", "a", str(tmp_path))
    first.id_file.write_text(first.version or "")
    second, third = (RunWandbLogger("leffa", "a", str(tmp_path)) for _ in range(2))
    begin_logs([second], 7, {})
    begin_logs([third], 0, {})
    assert second.version == first.version
    assert third.version != first.version


def test_a_second_name_replaces_what_had_it(tmp_path: Path) -> None:
    for name in ("one", "two", "last"):
        (tmp_path / name).write_text(name)
    link(tmp_path / "one", tmp_path / "last")
    link(tmp_path / "two", tmp_path / "last")
    link(tmp_path / "two", tmp_path / "last")  # has it already
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / "last").read_text() == "two"
    (tmp_path / "two").unlink()
    assert (tmp_path / "last").read_text() == "two"


def test_differences_leave_out_groups_and_what_is_equal() -> None:
    before = {"a": {"b": 1}, "a.b": 1, "c": 2, "gone": 3}
    after = {"a": {"b": 4}, "a.b": 4, "c": 2, "new": 5}
    assert differences(before, after) == {"a.b": (1, 4), "gone": (3, None), "new": (None, 5)}


def test_the_page_holds_curves_pictures_changes_and_environment(tmp_path: Path) -> None:
    logged(tmp_path, range(5), 0)
    (tmp_path / "images").mkdir()
    for step in range(5):
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / f"step_{step:06d}.png")
    changes = {"seed": (0, 1), "stages": (None, [{"name": "leffa", "steps": 5}])}
    write_run_metadata(tmp_path, {"name": "<tryon>"}, changes, 0)
    write_run_metadata(tmp_path, {"name": "<tryon>"}, changes, 3)
    page = write_report(tmp_path, "training, 5 of 9 steps").read_text()
    assert "<title>&lt;tryon&gt;</title>" in page
    assert "training, 5 of 9 steps" in page
    assert page.count("data:image/png;base64,") == 3
    assert "<th>seed</th><td>0</td><td>1</td>" in page
    assert "<td>-</td><td>- name: leffa\n  steps: 5</td>" in page
    assert ">Loss</text>" in page
    assert not re.search(r'(src|href)="(?!data:|#)', page), "the page is self-contained"
    starts = yaml.safe_load((tmp_path / "environment.yaml").read_text())
    assert [start["from_step"] for start in starts] == [0, 3]


def test_the_page_of_a_run_that_has_nothing_yet(tmp_path: Path) -> None:
    assert "<p>None.</p>" in write_report(tmp_path, "training").read_text()


def test_a_curve_leaves_out_what_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,a,b\n0,1.5,\n1,nan,2\n")
    assert read_curves(path) == {"a": [(0.0, 1.5)], "b": [(1.0, 2.0)]}


def test_a_run_leaves_a_folder_of_somebody_else_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine: 1\n")
    told = r"config\.yaml: exists, and .* has no environment\.yaml, .* another paths\.output_dir"
    with pytest.raises(ValueError, match=told):
        train(compose("train", ["experiment=tryon_synthetic", f"paths.output_dir={tmp_path}"]))
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
