"""The report's sentences follow from the numbers, and its charts and table show them."""

from pathlib import Path

import pytest

from leffa.demo.findings import Rows, findings
from leffa.demo.report import metrics_table
from leffa.demo.results import running_mean
from leffa.demo.reuse import claim, fingerprint, finish


def rows(
    control: float, leffa: float, psnr: float = 20.0, ssim: float = 0.8
) -> dict[str, dict[str, float]]:
    """Results with these flow errors; the pictures are the model's with the loss."""
    return {
        "baseline": {"flow/epe_px": 15.0, "paired/psnr": 9.0, "paired/ssim": 0.1},
        "control": {"flow/epe_px": control, "paired/psnr": 20.0, "paired/ssim": 0.8},
        "leffa": {"flow/epe_px": leffa, "paired/psnr": psnr, "paired/ssim": ssim},
        "identity": {"flow/epe_px": 8.0},
        "constant": {"flow/epe_px": 14.0, "flow/spread": 0.0},
        "true": {"flow/spread": 0.3},
    }


@pytest.mark.parametrize(
    ("found", "flow", "check"),
    [
        (rows(12.0, 3.0), "75% closer to the true position", "only the model with the loss"),
        (rows(4.0, 6.0), "50% farther from the true position", "both models clearly beat"),
        (rows(15.0, 15.2), "made no clear difference", "neither model clearly beats"),
        (rows(4.0, 12.0), "200% farther", "only the model without the loss"),
    ],
)
def test_flow_sentences_follow_from_the_numbers(found: Rows, flow: str, check: str) -> None:
    sentences = findings(found)
    assert flow in sentences[0]
    assert check in sentences[1]
    assert "straight ahead" in sentences[1]


@pytest.mark.parametrize(
    ("psnr", "ssim", "verdict"),
    [
        (21.0, 0.85, "better with"),
        (21.0, 0.80, "better with"),
        (19.0, 0.80, "worse with"),
        (21.0, 0.75, "disagree"),
        (20.1, 0.801, "no clear difference"),
    ],
)
def test_the_sentence_on_pictures_follows_from_the_numbers(
    psnr: float, ssim: float, verdict: str
) -> None:
    assert verdict in findings(rows(10.0, 5.0, psnr, ssim))[2]


def test_the_table_marks_the_best_model_and_no_baseline() -> None:
    table = metrics_table(rows(control=9.0, leffa=8.5))
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
