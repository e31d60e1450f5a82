"""The studies of `benchmarks/`: what they keep, and that their settings are settings."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.mark.slow
@pytest.mark.parametrize("study", ["attention_study", "dit_study"])
def test_every_setting_composes(script: Script, study: str) -> None:
    module = script(study)
    names = list(module.settings())
    planned = (
        module.trials(names, 500, 1) if study == "attention_study" else module.trials(names, 1)
    )
    for trial in planned:
        compose("train", trial.training)
        for told in trial.evaluations.values():
            compose("evaluate", [*told, "ckpt=none"])
