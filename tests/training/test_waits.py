"""A training step asks the device for no value: on a GPU each such question would wait for it."""

from collections import Counter
from collections.abc import Callable
from math import nan
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from torch.utils._python_dispatch import TorchDispatchMode

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.losses.attention import AttentionLoss
from leffa.losses.flow import flow_field
from leffa.losses.request import LayerTokens
from leffa.training.callbacks import health
from leffa.training.callbacks.preemption import StopOnSignal
from leffa.training.callbacks.throughput import Throughput
from leffa.training.module import PersonGenerationModule
from leffa.training.objective import StepResult
from leffa.training.stages import Stage

# What must know values: of one number, or of how many rows something has.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2")
STAGES = [Stage("only", 4, 32, 24, batch_size=4, learning_rate=1e-3, leffa_loss=True)]


class Waits(TorchDispatchMode, Callback):
    """Counts them while micro-batches are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        places = args[1] if name in ("index", "index_put_", "_index_put_impl_") else ()
        masked = any(each is not None and each.dtype == torch.bool for each in places)
        if name in WAITS or masked:
            self.found[name] += 1
        return func(*args, **kwargs or {})

    def on_train_batch_start(self, *_: Any) -> None:
        self.__enter__()


class End(Callback):
    """The last callback, where the count begins with the first."""

    def __init__(self, waits: Waits) -> None:
        self.waits = waits

    def on_train_batch_end(self, *_: Any) -> None:
        self.waits.__exit__(None, None, None)


def test_no_micro_batch_waits_for_the_device(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "looks_later", lambda device: True)  # as on a GPU
    waits = Waits()
    watched_callbacks = (waits, health.Health(), StopOnSignal(), Throughput(2), End(waits))
    trainer = make_trainer(STAGES, *watched_callbacks, gradient_clip_val=1.0)
    module = make_module(STAGES)
    seen: list[int] = []
    evaluate = module.evaluate_objective
    monkeypatch.setattr(
        module,
        "evaluate_objective",
        lambda *at: seen.append((result := evaluate(*at)).selected) or result,
    )
    trainer.fit(module, make_datamodule(STAGES, largest=2))
    assert len(seen) == 8 and sum(seen) > 8  # two micro-batches a step, with the Leffa loss
    assert waits.found == Counter()


@pytest.mark.parametrize(
    "loss",
    [
        AttentionLoss("matches", points=5),
        AttentionLoss("matches", points=None),
        AttentionLoss("matches", labels="stored"),
        AttentionLoss("matches", "coordinates"),
        *(AttentionLoss(name) for name in ("oracle", "photometric", "total_variation", "entropy")),
    ],
    ids=lambda loss: f"{loss.name} {loss.describe().split(', ', 3)[3:]}",
)
def test_other_losses_on_the_attention_do_not_wait_either(loss: AttentionLoss) -> None:
    grid, size, samples = (4, 3), (9, 7), 2
    query, key = (torch.randn(samples, 2, 12, 4, requires_grad=True) for _ in range(2))
    pictures, region = torch.rand(2, samples, 3, *size), torch.ones(samples, 1, *size)
    truth, matches = torch.rand(samples, *size, 2), torch.rand(samples, 6, 4)
    tokens = {"one": LayerTokens(query, key, grid)}
    waits = Waits()
    with waits:
        flow = flow_field(query, key, grid, 1.0).unflatten(1, grid)
        result = loss({"one": flow}, *pictures, region, samples, tokens, (truth, region), matches)
        result.total.backward()
    assert waits.found == Counter() and result.total > 0


@pytest.mark.parametrize("part", ["loss", "gradient"])
def test_a_failure_that_is_looked_at_later_names_its_own_step(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    """And leaves finite weights, and no checkpoint of its own."""
    monkeypatch.setattr(health, "looks_later", lambda device: True)
    module = make_module(STAGES)
    weight = module.model.get_parameter("generative_unet.conv_in.weight")
    evaluate = module.evaluate_objective

    def failing(batch: Batch, index: int) -> StepResult:
        result = evaluate(batch, index)
        if index == 2 and part == "loss":
            result.loss = result.loss * nan
        elif index == 2:
            weight.register_hook(lambda gradient: gradient * nan)
        return result

    monkeypatch.setattr(module, "evaluate_objective", failing)
    callbacks = (health.Health(), StopOnSignal())
    trainer = make_trainer(STAGES, *callbacks, gradient_clip_val=1.0)
    with pytest.raises(ValueError, match=r"step 3: .*; the last checkpoint is untouched"):
        trainer.fit(module, make_datamodule(STAGES))
    assert trainer.global_step == 4
    assert all(value.isfinite().all() for value in module.parameters())
