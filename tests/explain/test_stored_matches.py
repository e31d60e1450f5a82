"""`leffa explain` on photographs: errors at stored matches."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from leffa.cli import main
from leffa.data.batch import Batch
from leffa.data.matches import format_matches
from leffa.data.published import VitonHD
from leffa.evaluation.flows import flow_values
from leffa.explain.attention import read_attention
from leffa.explain.view import View, flow_error, flow_scores
from leffa.io.atomic import write_text
from leffa.losses.request import FlowRequest
from leffa.models.leffa import LeffaModel

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="module")
def photograph(batch: Batch) -> Batch:
    """A pair with 12 matches, filled up as in a larger batch, and without ground-truth flow."""
    matches = torch.rand(1, 14, 4, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    matches[:, 12:] = math.nan
    result: Batch = {**batch, "matches": matches}
    del result["flow"], result["flow_valid"]
    return result


def test_the_errors_are_those_of_an_evaluation(model: LeffaModel, photograph: Batch) -> None:
    seen = read_attention(model, photograph, torch.zeros(1, 2), [200], 0.5).layers[200]
    expected = flow_values(model, photograph, FlowRequest(0.5, min_resolution=0.0), [200])
    assert len(expected) > 2
    for name, values in expected.items():
        scores = flow_scores(seen, View(200, name), photograph)
        assert scores.keys() == {"match_epe_px", "match_pck_3", "match_spread"}
        assert scores["match_epe_px"] == pytest.approx(values["match_epe_px"], abs=1e-3)
        assert flow_error(seen, View(200, name), photograph) == scores["match_epe_px"]
    assert flow_scores(seen, View(200), photograph)["match_epe_px"] > 0  # of all layers


def test_the_ground_truth_comes_first_where_both_are_known(
    model: LeffaModel, batch: Batch, photograph: Batch
) -> None:
    seen = read_attention(model, batch, torch.zeros(1, 2), [200], 0.5).layers[200]
    both: Batch = {**batch, "matches": photograph["matches"]}
    scores = flow_scores(seen, View(200), both)
    assert scores["epe_px"] != scores["match_epe_px"]
    assert flow_error(seen, View(200), both) == scores["epe_px"]
    none: Batch = {**photograph, "matches": photograph["matches"][:, 12:]}
    assert flow_error(seen, View(200), none) is None


def test_page_and_numbers_tell_them_with_what_needs_no_network(
    synthetic: Path, weights: list[Path], tmp_path: Path
) -> None:
    root = Path(shutil.copytree(synthetic, tmp_path / "data"))
    shutil.rmtree(root / "test/flow")
    record = VitonHD(root, "test")[0]
    matches = np.random.default_rng(0).uniform(0.35, 0.6, (12, 4)).astype(np.float32)
    text = format_matches(record, ((WIDTH, HEIGHT), (WIDTH, HEIGHT)), "test@1", matches)
    write_text(root / f"test/matches/{record.name}.json", text)
    places = ["dataset.prepare=null", f"dataset.root={root}"]
    places += [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
    chosen = [part for place in places for part in ("--set", place)]
    out = tmp_path / "out"
    usual = ["--out", str(out), "--device", "cpu", "--timesteps", "200", "--ckpt", str(weights[0])]
    assert main(["explain", "--dataset", "synthetic_tryon", *chosen, *usual]) == 0
    numbers = json.loads((out / f"{record.name}.json").read_text())
    every = numbers["models"]["before"]["200"]["all"]
    assert every["epe_px"] is None and every["match_epe_px"] > 0
    flows = numbers["baselines"]
    assert flows["flow/match_pairs"] == 1
    page = (out / f"{record.name}.html").read_text()
    told = f"identity flow {flows['flow_identity/match_epe_px']:.1f} px"
    assert "trusted matches" in page and told in page
    assert '"errors":[[' in page
