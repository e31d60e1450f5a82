"""A run beside a recorded one: bands, a warning outside of them, and the page that shows them."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.training.callbacks.health import Health
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import StepResult
from leffa.training.reference import load_reference, make_bands, record
from leffa.training.report import write_report
from leffa.training.stages import Stage

STEPS = 20


def log_of(folder: Path, values: list[float]) -> None:
    """A run whose first bucket had these losses, one a step."""
    (folder / "logs").mkdir(parents=True)
    rows = [f"{step},{value}" for step, value in enumerate(values)]
    head = "step,health/diffusion_0_500"
    (folder / "logs" / "metrics.csv").write_text("\n".join([head, *rows]) + "\n")


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two windows of ten steps: around 1.0, then around 0.5."""
    log_of(tmp_path / "run", [0.9, 1.1] * 5 + [0.4, 0.6] * 5)
    record(tmp_path / "run", tmp_path / "curve.json", window=10)
    return tmp_path / "curve.json"


def test_a_band_is_two_deviations_around_the_mean_of_its_window(recorded: Path) -> None:
    first, second = load_reference(str(recorded)).bands["health/diffusion_0_500"]
    assert (first.step, second.step) == (10, 20)
    # Ten values 0.1 from their mean: a sample deviation of 0.1 x sqrt(10 / 9).
    assert first.high == pytest.approx(1.0 + 2 * 0.1 * (10 / 9) ** 0.5, abs=1e-5)
    assert second.low == pytest.approx(0.5 - 2 * 0.1 * (10 / 9) ** 0.5, abs=1e-5)


def test_a_window_of_few_values_has_no_band() -> None:
    curves = {"health/diffusion_0_500": [(0.0, 1.0), (5.0, 2.0)], "train/loss": [(0.0, 1.0)] * 9}
    assert make_bands(curves, 10) == {"health/diffusion_0_500": ()}


@pytest.mark.parametrize(("loss", "warned"), [(0.8, False), (3.0, True)])
def test_warns_of_a_loss_beyond_the_band(
    make_module: Callable[..., PersonGenerationModule],
    batch: Batch,
    recorded: Path,
    caplog: pytest.LogCaptureFixture,
    loss: float,
    warned: bool,
) -> None:
    health = Health(buckets=2, reference=str(recorded))
    module = make_module([Stage("only", 1, 32, 24, 2, 1e-3)])
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    losses = torch.tensor([loss])
    result = StepResult(losses.mean(), losses, torch.tensor([3]), torch.zeros(()))
    with caplog.at_level(logging.WARNING):
        for step in range(1, STEPS // 2 + 1):
            steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
            steps.total.completed = step
            for _ in range(2):  # micro-batches
                health.on_train_batch_end(trainer, module, {"result": result}, batch, 0)
    assert ("health/diffusion_0_500 was 3.0000 over the last 10 steps" in caplog.text) is warned
    assert caplog.text.count("a healthy run has") == warned


def test_the_page_shows_the_band(recorded: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert 'class="band' not in write_report(run, "training").read_text()
    config = {"name": "a", "callbacks": {"health": {"reference": str(recorded)}}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    page = write_report(run, "training").read_text()
    assert page.count('class="band') == 1
    assert "shaded: a healthy run" in page


def test_the_shipped_curves_hold_every_bucket_of_the_run() -> None:
    reference = load_reference("tryon_synthetic")
    assert list(reference.bands) == [
        f"health/diffusion_{low}_{low + 250}" for low in (0, 250, 500, 750)
    ]
    for windows in reference.bands.values():
        assert [window.step for window in windows] == list(range(100, 701, 100))
        assert all(0 <= window.low < window.high < 1 for window in windows)


def test_curves_that_are_not_there_or_not_ours_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="reference=nowhere: no such file; shipped are try"):
        load_reference("nowhere")
    for content in ([], {"window": 3}, {"window": 3, "bands": {"a": [[1]]}}):
        path = tmp_path / "other.json"
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match="is not a recorded run"):
            load_reference(str(path))
