"""A tiny model that trains in no time, on a few synthetic samples, through the real classes."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch import nn

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.data.dataset import PersonDataset, collate
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings
from leffa.synthetic.write import write_viton_hd
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import DiffusionObjective
from leffa.training.stages import Curriculum, MicroBatch, Stage

HEIGHT, WIDTH = 32, 24
UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "sample_size": 16,
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "block_out_channels": [8, 8],  # 2 pixels per latent cell
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def tiny(model_class: type[LeffaModel] = LeffaModel) -> LeffaModel:
    """The same random weights each time."""
    torch.manual_seed(0)
    return model_class(UNET, VAE, SCHEDULER)


def plain_sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """No momentum and no scaling: a step is the gradient times the rate."""
    return torch.optim.SGD(parameters, lr=1.0)


def stage(name: str = "only", **changes: object) -> Stage:
    """A stage of two steps."""
    values = {"steps": 2, "height": HEIGHT, "width": WIDTH, "batch_size": 2, "learning_rate": 1e-2}
    return Stage(name, **(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic data set of six training and two test samples in VITON-HD's layout."""
    root = tmp_path_factory.mktemp("synthetic")
    write_viton_hd(root, train=6, test=2, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="session")
def batch(synthetic: Path) -> Batch:
    """The six training samples."""
    transform = PersonTransform(HEIGHT, WIDTH, densepose="iuv", loss_region="garment")
    dataset = PersonDataset(VitonHD(synthetic, densepose="iuv"), transform)
    return collate([dataset[index] for index in range(len(dataset))])


@pytest.fixture
def build_model() -> Callable[..., LeffaModel]:
    return tiny


@pytest.fixture
def model() -> LeffaModel:
    return tiny()


@pytest.fixture(scope="session")
def make_datamodule(synthetic: Path) -> Callable[..., PersonDataModule]:
    def make(stages: Sequence[Stage], largest: int = 8, val_samples: int = 0) -> PersonDataModule:
        def transform(height: int, width: int, flip: float = 0.5) -> PersonTransform:
            return PersonTransform(height, width, densepose="iuv", loss_region="garment", flip=flip)

        splits = [MicroBatch.split(each.batch_size, 1, largest) for each in stages]
        return PersonDataModule(
            train=VitonHD(synthetic, densepose="iuv"),
            val=VitonHD(synthetic, split="test", densepose="iuv"),
            transform=transform,
            stages=stages,
            micro_batches=[(split.size, split.accumulate) for split in splits],
            val_samples=val_samples,
        )

    return make


@pytest.fixture(scope="session")
def make_module() -> Callable[..., PersonGenerationModule]:
    def make(
        stages: Sequence[Stage],
        model: LeffaModel | None = None,
        leffa_loss: bool = True,
        max_timestep: int = 1000,
        warmup_steps: int = 0,
    ) -> PersonGenerationModule:
        return PersonGenerationModule(
            model=model or tiny(),
            optimizer=plain_sgd,
            curriculum=Curriculum(stages, warmup_steps),
            leffa_loss=LeffaLoss(0.1, 1.0, max_timestep=max_timestep, enabled=leffa_loss),
            objective=DiffusionObjective(reference_dropout=0.1),
            sampler=SamplerSettings(scheduler="ddim", steps=1, guidance=1.0),
            config={"name": "test"},
        )

    return make


@pytest.fixture(scope="session")
def make_trainer(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trainer]:
    root = tmp_path_factory.mktemp("trainer")

    def make(
        stages: Sequence[Stage],
        *callbacks: Callback,
        checkpoints: bool = False,
        validate: bool = False,
        **settings: Any,
    ) -> Trainer:
        return Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=len(stages),
            reload_dataloaders_every_n_epochs=1,
            limit_val_batches=1.0 if validate else 0,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=checkpoints,
            enable_model_summary=False,
            default_root_dir=root,
            callbacks=list(callbacks),
            **{"enable_progress_bar": False, "num_sanity_val_steps": 0, **settings},
        )

    return make
