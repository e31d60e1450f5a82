"""What is said where a run resumes with other settings than it began with."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leffa.run import compose
from leffa.run.config import resolved
from leffa.run.resuming import changed_settings, check_resumed
from leffa.synthetic.write import write_viton_hd
from leffa.training.checkpoints import ResumePoint


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    return resolved(compose("train", ["experiment=tryon_synthetic", "paths.output_dir=run"]))


def test_names_the_settings_that_decide_the_result(before: dict[str, Any]) -> None:
    now = copy.deepcopy(before)
    now["leffa_loss"]["layers"] = "all"
    now["curriculum"]["stages"][0]["steps"] = 7
    now["data"]["root"], now["hardware"]["micro_batch"] = "elsewhere", 1
    now["trainer"]["devices"], now["paths"]["data_dir"] = 2, "elsewhere"
    del now["leffa_loss"]["max_sigma"]  # a key that one of the two versions does not know
    assert sorted(changed_settings(before, now)) == [
        "curriculum.stages.0.steps 500 -> 7",
        "leffa_loss.layers ['up_blocks.2.attentions.1'] -> all",
    ]
    assert changed_settings(before, copy.deepcopy(before)) == []


@pytest.mark.parametrize(
    ("complete", "in_sweep", "said"),
    [
        (False, False, None),
        (True, False, "is of a complete run with other settings (seed 0 -> 1"),
        (False, True, "is of a run with other settings (seed 0 -> 1"),
    ],
)
def test_a_run_that_cannot_take_them_is_refused(
    before: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    complete: bool,
    in_sweep: bool,
    said: str | None,
) -> None:
    point = ResumePoint(Path("run/checkpoints/step_000002.ckpt"), 2, before, None)
    check_resumed(point, before, complete, in_sweep)
    assert caplog.messages == []
    longer = {**before, "curriculum": {**before["curriculum"], "cooldown_steps": 9}}
    if not complete:
        check_resumed(point, longer, complete, in_sweep)
        assert "other than before: curriculum.cooldown_steps 300 -> 9" in caplog.text
        caplog.clear()
    now = {**before, "seed": 1, "inspect_timestep": 100}
    if said is None:
        check_resumed(point, now, complete, in_sweep)
        (line,) = caplog.messages
        assert "settings other than before: seed 0 -> 1, inspect_timestep 200 -> 100" in line
        return
    with pytest.raises(ValueError) as caught:
        check_resumed(point, now, complete, in_sweep)
    assert str(caught.value).startswith(f"{point.path}: {said}")


def test_a_complete_run_is_not_the_result_of_other_settings(
    train_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    """Nor is what it says of itself rewritten; with its own settings it has nothing left to do."""
    data, run = tmp_path / "data", tmp_path / "run"
    write_viton_hd(data, train=4, test=2, height=64, width=48)
    train_tiny("tryon_synthetic", data, run)
    again = ("tryon_synthetic", data, run, "resume=auto")
    train_tiny(*again)
    with pytest.raises(
        ValueError, match=r"is of a complete run with other settings \(leffa_loss\."
    ):
        train_tiny(*again, "leffa_loss.weight=5")
    assert "weight: 5" not in (run / "config.yaml").read_text()
