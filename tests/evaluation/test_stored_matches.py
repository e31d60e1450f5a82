"""Attention read at stored matches: with identity and constant flow, and the number of pairs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leffa.data.matches import format_matches
from leffa.data.published import VitonHD
from leffa.evaluation import Evaluation
from leffa.evaluation.flows import flow_values
from leffa.io.atomic import write_text
from leffa.losses.request import FlowRequest

from .test_flow_scores import HEIGHT, WIDTH, Oracle, batches

Evaluate = Callable[..., Evaluation]


def store(root: Path, counts: list[int], flows: bool = True) -> None:
    """Stored matches of the test pairs, so many of the ground-truth flow of each."""
    for count, record in zip(counts, VitonHD(root, "test"), strict=False):
        assert record.flow is not None
        with np.load(record.flow) as arrays:
            flow, (y, x) = arrays["flow"], np.nonzero(arrays["valid"])
        chosen = np.linspace(0, len(x) - 1, count).astype(int)
        here = np.stack([x, y], axis=1)[chosen]
        there = (flow[y, x][chosen] + 1) / 2 * (WIDTH - 1, HEIGHT - 1)
        matches = (np.concatenate([here, there], axis=1) + 0.5) / (WIDTH, HEIGHT, WIDTH, HEIGHT)
        sizes = ((WIDTH, HEIGHT), (WIDTH, HEIGHT))
        text = format_matches(record, sizes, "test@1", matches.astype(np.float32).clip(0, 1))
        write_text(root / "test/matches" / f"{record.name}.json", text)
    if not flows:
        shutil.rmtree(root / "test/flow")


@pytest.fixture
def photographs(synthetic: Path, tmp_path: Path) -> Path:
    """A copy that is as photographs are: without ground-truth flow, but with some matches."""
    root = Path(shutil.copytree(synthetic, tmp_path / "photographs"))
    store(root, [0, 12, 40, 0, 7], flows=False)
    return root


def test_a_perfect_flow_has_no_error_at_matches_either(synthetic: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(synthetic, tmp_path / "both"))
    store(root, [20, 0, 5, 1, 1])
    found = [flow_values(Oracle(), each, FlowRequest(), [100]) for each in batches(root)]
    for values, count in zip(found, (20, 0, 5), strict=True):
        assert ("match_epe_px" in values["layer"]) == (count > 0)
        if count:
            assert values["layer"]["match_epe_px"] == pytest.approx(0, abs=0.05)  # 6 digits stored
            assert values["layer"]["match_pck_3"] == 1


def test_photographs_are_scored_at_their_matches(
    run_evaluation: Evaluate, photographs: Path, tmp_path: Path
) -> None:
    evaluation = run_evaluation(tmp_path / "out", f"dataset.root={photographs}")
    metrics = evaluation.metrics
    assert metrics["flow/match_pairs"] == 2  # of the first four
    for name in ("flow", "flow_identity", "flow_constant"):
        assert metrics[f"{name}/match_epe_px"] > 0
        assert 0 <= metrics[f"{name}/match_pck_3"] <= 1
        assert f"{name}/epe_px" not in metrics
    means = [
        json.loads(path.read_bytes()) for path in sorted((tmp_path / "out/flow").glob("*.json"))
    ]
    layer = next(iter(means[0]))
    per_pair = [
        values[layer]["match_epe_px"] for values in means if "match_epe_px" in values[layer]
    ]
    assert metrics[f"flow_layers/{layer}/match_epe_px"] == pytest.approx(np.mean(per_pair))
    assert len(means) == 4 and len(per_pair) == 2
    told = (tmp_path / "out/metrics.md").read_text()
    assert "at the trusted matches of 2 of 4 pairs" in told
    result = json.loads((tmp_path / "out/metrics.json").read_text())
    assert result["metrics"]["flow/match_epe_px"] == metrics["flow/match_epe_px"]


def test_other_matches_are_read_anew_and_pictures_kept(
    run_evaluation: Evaluate, photographs: Path, synthetic: Path, tmp_path: Path
) -> None:
    arguments = tmp_path / "out", f"dataset.root={photographs}"
    first = run_evaluation(*arguments)
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/images").iterdir()}
    shutil.copytree(synthetic / "test/flow", photographs / "test/flow")
    store(photographs, [3, 5, 2, 30, 1], flows=False)
    second = run_evaluation(*arguments)
    assert second.metrics["flow/match_pairs"] == 4
    assert second.metrics["flow/match_epe_px"] != first.metrics["flow/match_epe_px"]
    assert pictures == {path: path.stat().st_mtime_ns for path in pictures}


def test_matches_of_some_pairs_only_are_refused_before_any_work(
    run_evaluation: Evaluate, photographs: Path, tmp_path: Path
) -> None:
    sorted((photographs / "test/matches").iterdir())[2].unlink()
    with pytest.raises(ValueError, match=r"1 of 4 pairs have no file of trusted matches, first 50"):
        run_evaluation(tmp_path / "out", f"dataset.root={photographs}")
    assert not (tmp_path / "out/images").exists()


def test_unpaired_pairs_have_no_matches(
    run_evaluation: Evaluate, photographs: Path, tmp_path: Path
) -> None:
    unpaired = ["dataset.records.pairs=unpaired", "dataset.paired=false", "limit=2"]
    metrics = run_evaluation(tmp_path / "out", f"dataset.root={photographs}", *unpaired).metrics
    assert not any("match" in key for key in metrics)


def test_matches_outside_of_the_mask_are_no_test(photographs: Path) -> None:
    (batch, *_) = (each for each in batches(photographs) if len(each["matches"][0]))
    inside = batch["mask"][0, 0] > 0
    x, y = ((batch["matches"][0, :, :2] + 1) / 2 * torch.tensor([WIDTH - 1, HEIGHT - 1])).round().T
    assert inside[y.long(), x.long()].all()
