"""The report's table, and which finished parts are reused."""

from pathlib import Path

import pytest

from leffa.demo.report import metrics_table
from leffa.demo.reuse import claim, fingerprint, finish
from leffa.training.curves import running_mean


def test_the_table_marks_the_best_model_and_no_baseline() -> None:
    table = metrics_table(
        {
            "baseline": {"flow/epe_px": 15.0, "paired/psnr": 9.0, "paired/ssim": 0.1},
            "control": {"flow/epe_px": 9.0, "paired/psnr": 20.0, "paired/ssim": 0.8},
            "leffa": {"flow/epe_px": 8.5, "paired/psnr": 20.0, "paired/ssim": 0.8},
            "identity": {"flow/epe_px": 8.0},
            "constant": {"flow/epe_px": 14.0, "flow/spread": 0.0},
            "true": {"flow/spread": 0.3},
        }
    )
    best = [text for _, _, cells in table["rows"] for text, is_best in cells if is_best]
    assert best == ["0.800", "20.00", "8.50", "0.800", "20.00"]
    assert ("EPE (px)", "↓") in table["head"]
    assert ("SSIM", "↑") in table["head"]


def test_a_running_mean_looks_back_only() -> None:
    points = [(0.0, 2.0), (1.0, 4.0), (2.0, 9.0)]
    assert running_mean(points, 2) == [(0, 2.0), (1, 3.0), (2, 6.5)]


def test_a_part_is_done_once_for_the_same_settings(tmp_path: Path) -> None:
    folder = tmp_path / "part"
    mark = fingerprint(["steps=2"])
    assert claim(folder, mark)
    (folder / "half").touch()
    assert claim(folder, mark), "an interrupted part is not finished"
    assert not (folder / "half").exists()
    finish(folder, mark)
    assert not claim(folder, mark)
    assert claim(folder, mark, fresh=True)
    finish(folder, mark)
    assert claim(folder, fingerprint(["steps=3"]))


def test_a_folder_of_somebody_else_is_not_emptied(tmp_path: Path) -> None:
    mine = tmp_path / "runs" / "control"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"control: was not made by .* the demo; rename it"):
        claim(mine, fingerprint(["steps=2"]), fresh=True)
    assert (mine / "thesis.txt").read_text() == "mine"


def test_a_fingerprint_depends_on_what_the_part_builds_on() -> None:
    assert fingerprint(["a"], "x") != fingerprint(["a"], "y")
    assert fingerprint(["a"], "x") == fingerprint(["a"], "x")
