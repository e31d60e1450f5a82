"""What a stage changes: the Leffa loss, the resolution, the learning rate."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from lightning import Callback, Trainer

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Stage

STAGES = [
    Stage("diffusion", steps=2, height=16, width=16, batch_size=2, learning_rate=1e-2),
    Stage("leffa", 2, height=32, width=24, batch_size=2, learning_rate=1e-3, leffa_loss=True),
]


@dataclass(frozen=True)
class Step:
    """What one optimiser step was trained with."""

    size: tuple[int, int]
    leffa_loss_on: bool
    rate: float
    leffa_loss_took_part: bool


class Diary(Callback):
    """Writes down every step."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.rate = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PersonGenerationModule, batch: Batch, batch_idx: int
    ) -> None:  # type: ignore[override]
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: PersonGenerationModule,
        outputs: dict[str, object],
        batch: Batch,
        batch_idx: int,
    ) -> None:  # type: ignore[override]
        size = (batch["source"].shape[-2], batch["source"].shape[-1])
        took_part = outputs["result"].selected > 0  # type: ignore[attr-defined]
        self.steps.append(Step(size, pl_module.leffa_loss_on, self.rate, took_part))


@pytest.fixture
def train(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
) -> Callable[..., list[Step]]:
    """Trains the stages with these settings of the module, and gives its diary."""

    def run(**settings: float) -> list[Step]:
        diary = Diary()
        module = make_module(STAGES, **settings)
        make_trainer(STAGES, diary).fit(module, make_datamodule(STAGES))
        return diary.steps

    return run


def test_each_stage_has_its_resolution_rate_and_loss(train: Callable[..., list[Step]]) -> None:
    first, second = Step((16, 16), False, 1e-2, False), Step((32, 24), True, 1e-3, True)
    assert train() == [first, first, second, second]


def test_the_warm_up_scales_the_rate_of_the_stage(train: Callable[..., list[Step]]) -> None:
    rates = [step.rate for step in train(warmup_steps=4)]
    assert rates == pytest.approx([0.25e-2, 0.5e-2, 0.75e-3, 1e-3])


def test_a_loss_that_is_off_is_never_turned_on(train: Callable[..., list[Step]]) -> None:
    steps = train(leffa_loss=False)
    assert [step.leffa_loss_on for step in steps] == [False] * 4
    assert [step.leffa_loss_took_part for step in steps] == [False] * 4


def test_a_loss_in_which_no_sample_can_take_part_is_refused(
    make_module: Callable[..., PersonGenerationModule],
) -> None:
    make_module(STAGES[:1], max_timestep=0)
    with pytest.raises(ValueError, match=r"max_timestep=0 .*: no sample can take part"):
        make_module(STAGES, max_timestep=0)


def test_a_loss_that_no_layer_is_fine_enough_for_is_refused(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
) -> None:
    module = make_module(STAGES[1:])
    module.leffa_loss.min_resolution = 0.9
    with pytest.raises(ValueError, match=r"min_resolution=0\.9: no attention layer of"):
        make_trainer(STAGES[1:]).fit(module, make_datamodule(STAGES[1:]))
