"""Which layers the Leffa loss teaches: `leffa_loss.layers`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from leffa.data.datamodule import PersonDataModule
from leffa.data.dataset import collate
from leffa.data.packed import unpack
from leffa.inference.checkpoints import FLOW_LAYERS, read_checkpoint
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.flow import LeffaLoss
from leffa.metrics.flow import FlowMetrics
from leffa.models.attention import flow_layers
from leffa.training.layers import check_layers
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Stage

STAGES = [
    Stage("diffusion", steps=1, height=16, width=16, batch_size=2, learning_rate=1e-2),
    Stage("leffa", 2, height=32, width=24, batch_size=2, learning_rate=1e-3, leffa_loss=True),
]


@pytest.fixture
def module(make_module: Callable[..., PersonGenerationModule]) -> PersonGenerationModule:
    torch.manual_seed(0)
    module = make_module(STAGES)
    module.leffa_loss = LeffaLoss(0.1, max_timestep=1000, layers="auto", auto_layers=2)
    return module


def test_auto_takes_the_layers_nearest_to_the_ground_truth_and_the_checkpoint_keeps_them(
    module: PersonGenerationModule,
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
) -> None:
    # A rate of 0: the weights that the choice was made with are those at the end.
    stages = [replace(stage, learning_rate=0.0) for stage in STAGES]
    module.curriculum.stages = stages
    data = make_datamodule(stages, val_samples=2)
    trainer = make_trainer(stages)
    trainer.fit(module, data)
    expected = {}
    module.model.eval()
    for batch in map(unpack, data.val_dataloader()):
        request = replace(module.leffa_loss.request(), layers=None)
        seen = noised_forward(
            module.model, encode_batch(module.model, batch), module.inspect_timestep, request
        )
        for name, flow in seen.prediction.flows.items():
            metric = expected.setdefault(name, FlowMetrics())
            metric.update(flow, batch["flow"], batch["flow_valid"])
    errors = {name: metric.compute()["epe_px"].item() for name, metric in expected.items()}
    best = sorted(errors, key=lambda name: errors[name])[:2]
    assert len(errors) > 2
    assert list(module.leffa_loss.layers or ()) == best

    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert read_checkpoint(tmp_path / "a.ckpt")[FLOW_LAYERS] == best


def test_a_resumed_run_keeps_the_choice_instead_of_measuring_again(
    module: PersonGenerationModule,
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
) -> None:
    trainer = make_trainer(STAGES)
    trainer.fit(module, make_datamodule(STAGES, val_samples=2))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = torch.load(tmp_path / "a.ckpt", weights_only=True)
    chosen = content[FLOW_LAYERS] = content[FLOW_LAYERS][:1]  # not what it would choose
    torch.save(content, tmp_path / "b.ckpt")
    module.leffa_loss.layers = None
    make_trainer(STAGES).fit(
        module,
        make_datamodule(STAGES, val_samples=2),
        ckpt_path=tmp_path / "b.ckpt",
        weights_only=True,
    )
    assert module.leffa_loss.layers == tuple(chosen)


def test_only_the_named_layers_are_taught(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
) -> None:
    module = make_module(STAGES)
    names = flow_layers(module.model)
    loss = LeffaLoss(max_timestep=1000, layers="down_blocks.0")
    data = make_datamodule(STAGES[1:])
    batch = unpack(collate([data.train_dataloader().dataset[0, index] for index in range(2)]))
    result = module.objective(module.model, batch, loss, torch.Generator().manual_seed(0))
    taught = [name for name in names if name.startswith("down_blocks.0.")]
    assert sorted(result.layers) == sorted(taught)
    assert 0 < len(taught) < len(names)


def test_layers_that_are_not_there_or_cannot_be_chosen_are_refused_before_training(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
) -> None:
    model, val = make_module(STAGES).model, make_datamodule(STAGES, val_samples=1).val_records
    check_layers(LeffaLoss(layers=["down_blocks.0", "up_*"]), model, val)
    check_layers(LeffaLoss(layers="auto"), model, val)
    with pytest.raises(
        ValueError, match=r"leffa_loss\.layers=down_block\.0: matches no layer .*down_"
    ):
        check_layers(LeffaLoss(layers=["up_blocks", "down_block.0"]), model, val)
    blind = [replace(record, flow=None) for record in val]
    with pytest.raises(ValueError, match=r"layers=auto: needs the ground-truth flow"):
        check_layers(LeffaLoss(layers="auto"), model, blind)
