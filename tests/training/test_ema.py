"""The running average of the weights: what it is, that it stays apart, and who looks at it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor

from leffa.data.datamodule import PersonDataModule
from leffa.inference.checkpoints import weights_of
from leffa.training.callbacks.checkpoints import Checkpoints
from leffa.training.callbacks.ema import WeightAverage
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Stage

STAGES = [Stage("only", steps=3, height=16, width=16, batch_size=2, learning_rate=1e-2)]
NAME = "model.generative_unet.conv_out.bias"


class Watch(Callback):
    """Remembers one weight after each step, and during validation."""

    def __init__(self) -> None:
        self.steps: list[Tensor] = []
        self.validated: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.steps.append(pl_module.get_parameter(NAME).detach().clone())

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        self.validated.append(pl_module.get_parameter(NAME).detach().clone())


@pytest.fixture
def fit(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
) -> Callable[[WeightAverage], tuple[Watch, PersonGenerationModule, dict[str, Any]]]:
    def run(average: WeightAverage) -> tuple[Watch, PersonGenerationModule, dict[str, Any]]:
        watch, module = Watch(), make_module(STAGES)
        saver = Checkpoints(str(tmp_path / "checkpoints"))
        callbacks = (average, watch, saver, StageSchedule([1]))
        trainer = make_trainer(STAGES, *callbacks, checkpoints=True, validate=True)
        trainer.fit(module, make_datamodule(STAGES, val_samples=2))
        path = tmp_path / "checkpoints" / "last.ckpt"
        return watch, module, torch.load(path, weights_only=True)

    return run


Fit = Callable[[WeightAverage], tuple[Watch, PersonGenerationModule, dict[str, Any]]]


def test_the_average_is_the_written_out_recursion(fit: Fit, model: LightningModule) -> None:
    watch, module, saved = fit(WeightAverage(decay=0.15))
    expected = model.get_parameter(NAME.removeprefix("model.")).detach().clone()
    for decay, weight in zip((1 / 10, 0.15, 0.15), watch.steps, strict=True):
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(saved["ema"]["weights"][NAME], expected)
    assert saved["ema"]["updates"] == 3
    # The run ends with its own weights; Lightning's callback would have put the average there.
    assert torch.equal(module.get_parameter(NAME), watch.steps[-1])
    assert torch.equal(saved["state_dict"][NAME], watch.steps[-1])
    assert saved["ema"]["weights"].keys() == saved["state_dict"].keys()


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback")
def test_lightnings_own_average_ends_a_run_by_overwriting_its_weights(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
) -> None:
    """Why it is not taken: the same run, made longer, would go on from other weights."""
    watch, module, theirs = Watch(), make_module(STAGES), EMAWeightAveraging(decay=0.5)
    trainer = make_trainer(STAGES, theirs, watch, StageSchedule([1]))
    trainer.fit(module, make_datamodule(STAGES))
    assert len(watch.steps) == 3
    assert not torch.equal(module.get_parameter(NAME), watch.steps[-1])


@pytest.mark.parametrize("validate", [True, False])
def test_validation_looks_at_the_average_if_asked(fit: Fit, validate: bool) -> None:
    watch, _, saved = fit(WeightAverage(decay=0.5, validate=validate))
    wanted = saved["ema"]["weights"][NAME] if validate else watch.steps[-1]
    assert torch.equal(watch.validated[-1], wanted)


def test_a_checkpoint_gives_the_weights_that_are_asked_for() -> None:
    raw, average = {"w": torch.ones(1)}, {"w": torch.zeros(1)}
    plain = {"state_dict": raw}
    both = plain | {"ema": {"weights": average, "updates": 1}}
    path = Path("a.ckpt")
    assert weights_of(both, None, path)["w"] == 0
    assert weights_of(both, "ema", path)["w"] == 0
    assert weights_of(both, "raw", path)["w"] == 1
    assert weights_of(plain, None, path)["w"] == 1
    with pytest.raises(ValueError, match=r"ckpt=a\.ckpt: has no averaged weights"):
        weights_of(plain, "ema", path)
    with pytest.raises(ValueError, match="weights=best: is neither ema nor raw"):
        weights_of(plain, "best", path)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_an_error(decay: float) -> None:
    with pytest.raises(ValueError, match=r"callbacks\.ema\.decay must lie in \[0, 1\)"):
        WeightAverage(decay)
