"""The LightningModule under a real trainer: accumulation, a resumed run, validation."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.data.packed import unpack
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.inspection import warp_values
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Curriculum, Stage

Make = Callable[..., PersonGenerationModule]
MakeData = Callable[..., PersonDataModule]
MakeTrainer = Callable[..., Trainer]
Start = Callable[..., tuple[PersonGenerationModule, list[str]]]
Whole = tuple[PersonGenerationModule, list[str], Path]

RESUMES = "ignore:You're resuming from a checkpoint that ended before the epoch"
UNSAVED = "ignore:Be aware that when using `ckpt_path`"  # a resumed run saves nothing here

STAGES = [
    Stage("first", steps=2, height=16, width=16, batch_size=2, learning_rate=1e-2),
    Stage("second", 4, height=32, width=24, batch_size=4, learning_rate=1e-3, leffa_loss=True),
]
PICTURES = ("reference", "source", "loss_region")
LARGEST = 2  # the second stage accumulates two micro-batches
ACCUMULATE = [1, 2]


class Dealt(Callback):
    """Remembers the name of every sample."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: PersonGenerationModule, batch: Batch, batch_idx: int
    ) -> None:  # type: ignore[override]
        self.names += batch["name"]


def weights(module: PersonGenerationModule) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.model.named_parameters()}


def assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], msg=lambda text, name=name: name + text)


def test_accumulated_micro_batches_are_one_step_with_their_mean_gradient(
    make_module: Make, make_datamodule: MakeData, make_trainer: MakeTrainer
) -> None:
    """Each sample has a generator of its own, by its place in the stage."""
    stages = [
        Stage("only", 1, height=32, width=24, batch_size=4, learning_rate=0.1, leffa_loss=True)
    ]
    trained = make_module(stages)
    trainer = make_trainer(stages, StageSchedule([2]))
    trainer.fit(trained, make_datamodule(stages, largest=2))

    by_hand = make_module(stages)
    by_hand.model.train()
    loader = make_datamodule(stages, largest=2).train_dataloader()
    for index, batch in enumerate(map(unpack, loader)):
        seeds = [hash((0, 0, draw)) % 2**63 for draw in range(2 * index, 2 * index + 2)]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        loss = by_hand.objective(by_hand.model, batch, by_hand.leffa_loss, generators).loss
        (loss / 2).backward()
    assert index == 1
    with torch.no_grad():
        for parameter in by_hand.model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    assert_equal(weights(trained), weights(by_hand))


@pytest.fixture(scope="module")
def start(make_module: Make, make_datamodule: MakeData, make_trainer: MakeTrainer) -> Start:
    """Trains stages, saving each step to `<save>/step=N.ckpt`; gives the module and the names
    dealt."""

    def start(
        stages: list[Stage],
        largest: int,
        accumulate: list[int],
        save: Path | None = None,
        resume: Path | None = None,
    ) -> tuple[PersonGenerationModule, list[str]]:
        module, dealt = make_module(stages), Dealt()
        callbacks = [StageSchedule(accumulate), dealt]
        if save:
            callbacks += [ModelCheckpoint(save, "{step}", every_n_train_steps=1, save_top_k=-1)]
        trainer = make_trainer(stages, *callbacks, checkpoints=bool(save))
        data = make_datamodule(stages, largest)
        trainer.fit(module, data, ckpt_path=resume, weights_only=True)
        assert trainer.global_step == sum(stage.steps for stage in stages)
        return module, dealt.names

    return start


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A run that nothing interrupted: its module, the names dealt, its checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    return *start(STAGES, LARGEST, ACCUMULATE, save=folder), folder


@pytest.mark.filterwarnings(RESUMES, UNSAVED)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(start: Start, whole: Whole) -> None:
    module, every, saved = whole
    for done in (2, 5):
        resumed, rest = start(STAGES, LARGEST, ACCUMULATE, resume=saved / f"step={done}.ckpt")
        images = min(done, 2) * 2 + max(done - 2, 0) * 4
        assert rest == every[images:]
        assert_equal(weights(resumed), weights(module))
    _, rest = start(STAGES, 4, [1, 1], resume=saved / "step=4.ckpt")  # in other micro-batches
    assert rest == every[12:]


@pytest.mark.filterwarnings(RESUMES, UNSAVED)
def test_a_capped_run_goes_on_within_its_stage(start: Start, whole: Whole, tmp_path: Path) -> None:
    capped = list(Curriculum(STAGES, max_steps=3).stages)
    start(capped, LARGEST, ACCUMULATE, save=tmp_path)
    resumed, rest = start(STAGES, LARGEST, ACCUMULATE, resume=tmp_path / "step=3.ckpt")
    module, every, _ = whole
    assert rest == every[8:]
    assert_equal(weights(resumed), weights(module))


def test_training_leaves_the_autoencoder_as_it_was(
    make_module: Make,
    make_datamodule: MakeData,
    make_trainer: MakeTrainer,
    build_model: Callable[[], LeffaModel],
) -> None:
    module = make_module(STAGES[:1])
    make_trainer(STAGES[:1]).fit(module, make_datamodule(STAGES[:1]))
    before = build_model().state_dict()
    changed = {
        name.split(".")[0]
        for name, value in module.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"reference_unet", "generative_unet"}


def test_networks_that_come_in_evaluation_mode_are_trained(
    make_module: Make, make_datamodule: MakeData, make_trainer: MakeTrainer, model: LeffaModel
) -> None:
    model.eval()  # as diffusers loads them
    make_trainer(STAGES[:1]).fit(make_module(STAGES[:1], model), make_datamodule(STAGES[:1]))
    assert all(module.training for module in model.generative_unet.modules())
    assert not any(module.training for module in model.vae.modules())


def test_validation_is_the_same_each_time(
    make_module: Make, make_datamodule: MakeData, make_trainer: MakeTrainer
) -> None:
    module, stages = make_module(STAGES[1:]), STAGES[1:]
    measured = []
    for _ in range(2):
        data = make_datamodule(stages, val_samples=2)
        measured.append(
            make_trainer(stages, validate=True).validate(module, data, verbose=False)[0]
        )
    assert measured[0] == measured[1]
    expected = {"ssim", "masked_psnr", "diffusion_t100", "diffusion_t800"} | {
        f"flow/{key}" for key in ("epe_px", "pck_3", "spread", "warp_error", "peak_mass", "entropy")
    }
    assert {f"val/{key}" for key in expected} <= measured[0].keys()


def test_validation_encodes_each_picture_once(
    make_module: Make,
    make_datamodule: MakeData,
    make_trainer: MakeTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, stages = make_module(STAGES[1:]), STAGES[1:]
    encode, encoded = module.model.vae.encode, []
    monkeypatch.setattr(module.model.vae, "encode", lambda x: encoded.append(x) or encode(x))
    data = make_datamodule(stages, val_samples=2)
    make_trainer(stages, validate=True).validate(module, data, verbose=False)
    assert len(encoded) == len(module.model.pictures)  # of the one batch


def test_validation_does_not_change_the_training(
    make_module: Make, make_datamodule: MakeData, make_trainer: MakeTrainer
) -> None:
    stages = [replace(stage, steps=1) for stage in STAGES]  # each is validated at its end
    with_, without = make_module(stages), make_module(stages)
    for module, validate in ((with_, True), (without, False)):
        data = make_datamodule(stages, val_samples=2)
        make_trainer(stages, validate=validate).fit(module, data)
    assert_equal(weights(with_), weights(without))


class BlackMasks(Callback):
    """Empties what two metrics look into, for the first samples of each batch."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self.names: list[str] = []

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: PersonGenerationModule, batch: Batch, *_: object
    ) -> None:  # type: ignore[override]
        batch["mask"][: self.samples] = 0
        batch["loss_region"][: self.samples] = 0
        self.names += batch["name"][: self.samples]


@pytest.mark.parametrize("black", [0, 1, 2])
def test_samples_that_a_metric_cannot_judge_are_excluded_counted_and_named(
    make_module: Make,
    make_datamodule: MakeData,
    make_trainer: MakeTrainer,
    caplog: pytest.LogCaptureFixture,
    black: int,
) -> None:
    stages, blacken = STAGES[1:], BlackMasks(black)
    module, data = make_module(stages), make_datamodule(stages, val_samples=2)
    trainer = make_trainer(stages, blacken, validate=True)
    (measured,) = trainer.validate(module, data, verbose=False)
    for metric in ("masked_psnr", "flow/warp_error"):
        assert measured[f"val/{metric}_excluded"] == black
        assert math.isfinite(measured[f"val/{metric}"]) == (black < 2)
        said = [each for each in caplog.messages if f"val/{metric}: {black} sample" in each]
        assert len(said) == bool(black)
        assert all(name in said[0] for name in blacken.names)
    assert math.isfinite(measured["val/ssim"])


def test_the_warp_error_is_a_mean_over_samples_whatever_their_regions(batch: Batch) -> None:
    """As in the Leffa loss: a large region weighs no more than a small one."""
    flow = torch.zeros(len(batch["name"]), 4, 3, 2)
    together = warp_values(flow, batch)["warp_error"]
    loss = LeffaLoss()({"layer": flow}, *(batch[k] for k in PICTURES), len(flow)).total
    torch.testing.assert_close(together.mean(), loss)


def test_a_flow_of_one_token_has_no_spread(batch: Batch) -> None:
    flow = torch.zeros(len(batch["name"]), 1, 1, 2)
    assert not warp_values(flow, batch)["spread"].any()
