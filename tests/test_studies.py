"""The studies of `benchmarks/`: what they keep, and that their settings are settings."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leffa.run import compose

Script = Callable[[str], Any]


def test_numbers_of_finished_trials_are_added_to_what_is_known(
    script: Script, tmp_path: Path
) -> None:
    store, out = tmp_path / "study.json", tmp_path / "runs"
    store.write_text('{"elsewhere": {"psnr": 20.0}}')
    for name in ("finished", "running"):
        (out / name).mkdir(parents=True)
    (out / "finished" / "result.json").write_text('{"psnr": 21.0}')
    known = script("trials").collect(store, out)
    assert known == {"elsewhere": {"psnr": 20.0}, "finished": {"psnr": 21.0}}
    assert json.loads(store.read_text()) == known


def test_a_cell_has_mean_and_range(script: Script) -> None:
    cell = script("trials").cell
    assert cell([], 1) == "-"
    assert cell([1.26], 1) == "1.3"
    assert cell([1.0, 4.0, 2.0], 1) == "2.3 (1.0 to 4.0)"


def test_a_table_has_a_row_for_each_setting_with_runs(script: Script) -> None:
    numbers = {"paired/psnr": 20.0, "paired/flow_layers/a/epe_px": 3.0}
    known = {
        "start": numbers,
        "none_500_seed0": numbers,
        "none_500_seed1": {},
        "oracle_1_2000_seed0": numbers,
    }
    rows = script("attention_study").rows(known, 500)
    assert {name: len(runs) for name, runs in rows.items() if runs} == {"start": 1, "none": 2}
    columns = {"paired/psnr": ("PSNR", 1), "ssim": ("SSIM", 3)}
    lines = script("trials").table("loss", columns, rows).splitlines()
    assert lines[2:] == ["| start | 1 | 20.0 | - |", "| none | 2 | 20.0 | - |"]
    blocks = script("dit_study").rows({"fitdit_all_seed2": numbers})["fitdit_all"]
    assert [run["best_layer"] for run in blocks] == [3.0]


@pytest.mark.slow
@pytest.mark.parametrize("study", ["attention_study", "dit_study", "from_base"])
def test_every_setting_composes(script: Script, study: str) -> None:
    module = script(study)
    names = list(module.settings())
    planned = (
        module.trials(names, 500, 1) if study == "attention_study" else module.trials(names, 1)
    )
    assert_composes(planned)


@pytest.mark.slow
def test_every_setting_on_photographs_composes(script: Script) -> None:
    module, viton, taef2, start = script("photographs"), Path("v"), Path("t"), Path("s")
    assert_composes([module.baseline(viton, taef2)])
    assert_composes(module.trials(list(module.LOSSES), 1, viton, taef2, start))


def assert_composes(planned: Iterable[Any]) -> None:
    for trial in planned:
        compose("train", trial.training)
        for told in trial.evaluations.values():
            compose("evaluate", [*told, "ckpt=none"])


def test_a_trial_goes_on_from_the_one_that_begins_alike(script: Script, tmp_path: Path) -> None:
    trials = script("trials")
    trial = trials.Trial("all_seed0", 3, ["a"], {}, "none_seed0", 2)
    first = tmp_path / "none_seed0" / "checkpoints" / "step_000002.ckpt"
    own = tmp_path / "all_seed0" / "checkpoints" / "last.ckpt"
    for path, resumed in ((None, "auto"), (first, str(first)), (own, "auto")):
        if path:
            path.parent.mkdir(parents=True)
            path.touch()
        assert trials.resumes(tmp_path / "all_seed0", trial) == resumed
    assert trials.resumes(tmp_path / "new", trials.Trial("new", 3, ["a"], {})) == "auto"


def test_a_trial_is_scored_on_the_way_and_at_the_end(script: Script, tmp_path: Path) -> None:
    scored = script("trials").scored
    assert scored(tmp_path, "curve@250") == tmp_path / "checkpoints" / "step_000250.ckpt"
    assert scored(tmp_path, "final") == tmp_path


def test_the_layer_that_matches_best_is_found_in_each_run(script: Script) -> None:
    key = "final/flow_layers/{}/epe_px"
    numbers = {key.format("a"): 3.0, key.format("b"): 2.0, "final/flow_layers/b/pck_3": 0.1}
    rows = script("from_base").rows({"pose_none_seed1": numbers, "cfld_none_seed0": {}})
    assert [run["best_layer"] for run in rows["pose_none"]] == [2.0]
    assert rows["cfld_none"] == [{}]
    at_matches = {"paired/flow_layers/a/match_epe_px": 4.0}
    rows = script("photographs").rows({"baseline": at_matches, "none_seed0": {}})
    assert [run["best_layer"] for run in rows["baseline"]] == [4.0]
    assert rows["none"] == [{}]


def test_where_a_loss_helps_is_measured_by_pixels(script: Script) -> None:
    """An image with an edge on its left half; the flow looks straight ahead but in its last row."""
    module = script("attention_by_region")
    true = np.zeros((1, 4, 8, 3), np.float32)
    true[:, :, :2] = 1
    y, x = np.meshgrid(np.linspace(-1, 1, 4), np.linspace(-1, 1, 8), indexing="ij")
    flow = np.stack([x, y], -1)[None].astype(np.float32)
    flow[:, 3] += (2 / 7, 0)
    assert module.motion(flow[0]) == pytest.approx(np.eye(4)[3][:, None].repeat(8, 1), abs=1e-5)
    masks = module.regions(true, flow, np.ones((1, 4, 8), bool))
    assert masks["detail"][0, 0].tolist() == [False, True, True] + [False] * 5
    assert masks["moved"].sum() == 8
    assert masks["moved"][0, 3].all()
    wrong = true + 0.1 * masks["moved"][..., None]
    scores = module.psnr(wrong, true, {name: masks[name] for name in ("garment", "moved")})
    assert scores == pytest.approx({"garment": 26.0206, "moved": 20.0}, abs=1e-3)
