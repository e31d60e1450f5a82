"""`attention_loss`: each trains, resumes, and is refused where it cannot be had."""

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.losses.attention import AttentionLoss
from leffa.losses.flow import LeffaLoss
from leffa.models.attention import ReferenceAttention
from leffa.models.card import model_card
from leffa.models.export import InputSpec, ModelSettings
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings
from leffa.run import CONF, compose, train
from leffa.run.config import build
from leffa.training.compile import compile_model
from leffa.training.layers import check_supervision
from leffa.training.objective import DiffusionObjective, StepResult
from leffa.training.stages import Stage

sys.path.append(str(Path(__file__).parent / "support"))
import runs

SLOW = pytest.mark.slow  # what a run keeps does not depend on its loss
NAMES = sorted(path.stem for path in (CONF / "attention_loss").glob("*.yaml"))
CHOICES = [
    *(name if name == "photometric" else pytest.param(name, marks=SLOW) for name in NAMES),
    pytest.param("matches attention_loss.space=coordinates", marks=SLOW),
    pytest.param("leffa attention_loss.entropy_weight=0.1", marks=SLOW),
]
SHORT = [
    "curriculum.stages=[{name: leffa, steps: 2, height: 32, width: 24, batch_size: 2,"
    " learning_rate: 1.0e-2, leffa_loss: true}]",
    "curriculum.warmup_steps=0",
    "callbacks.checkpoint.every_n_train_steps=1",
    "callbacks.checkpoint.monitor=null",
    "data.val_samples=0",
]
STAGES = [Stage("leffa", 1, height=32, width=24, batch_size=2, learning_rate=1e-3, leffa_loss=True)]
Make = Callable[..., PersonDataModule]


def loss_of(name: str, **settings: Any) -> AttentionLoss:
    """At every timestep, with a weight that shows."""
    return AttentionLoss(name, weight=0.1, max_timestep=1000, **settings)  # type: ignore[arg-type]


def step(model: LeffaModel, batch: Batch, loss: LeffaLoss | None) -> StepResult:
    generator = torch.Generator().manual_seed(0)
    return DiffusionObjective(reference_dropout=0.0)(model, batch, loss, generator)


def weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")  # it deals on exactly
@pytest.mark.parametrize("choice", CHOICES)
def test_trains_and_resumes_where_it_stopped(
    choice: str, synthetic: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*SHORT, *f"attention_loss={choice}".split()]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    with caplog.at_level(logging.INFO):
        train(compose("train", runs.overrides(synthetic, whole, *words)))
    begun = whole / "checkpoints" / "step_000001.ckpt"
    train(compose("train", runs.overrides(synthetic, resumed, *words, f"resume={begun}")))
    ends = [weights(folder / "checkpoints" / "last.ckpt") for folder in (whole, resumed)]
    before = weights(begun)
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())
    assert any(not torch.equal(value, before[key]) for key, value in ends[0].items())
    name = choice.split()[0]
    title = "Leffa loss" if name == "leffa" else f"attention_loss={name}"
    assert f"{title} on: weight 0.3" in caplog.text
    kept = torch.load(begun, weights_only=True)["config"]
    assert kept["attention_loss"]["name"] == name
    assert kept["run_name"] == ("tryon_synthetic" if name == "leffa" else f"tryon_synthetic_{name}")


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_reaches_the_attention_and_its_parts_add_up(
    name: str, model: LeffaModel, batch: Batch
) -> None:
    result, plain = step(model, batch, loss_of(name)), step(model, batch, None)
    assert result.leffa > 0
    torch.testing.assert_close(sum(result.layers.values()), result.leffa)
    torch.testing.assert_close(result.loss, plain.loss + 0.1 * result.leffa)
    gradients = []
    for each in (result, plain):
        model.zero_grad()
        each.loss.backward()
        layers = dict(model.generative_unet.named_modules())
        gradients.append({key: layers[key].to_q.weight.grad.clone() for key in result.layers})  # type: ignore[union-attr]
    assert all(not torch.equal(value, gradients[1][key]) for key, value in gradients[0].items())


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_over_parts_of_a_batch_is_the_loss_of_the_batch(
    name: str, model: LeffaModel, batch: Batch
) -> None:
    """Whose samples draw the same noise in both."""

    def part(first: int, last: int) -> StepResult:
        chosen: Any = {key: value[first:last] for key, value in batch.items()}
        generators = [torch.Generator().manual_seed(seed) for seed in range(first, last)]
        loss = loss_of(name)
        return DiffusionObjective(reference_dropout=0.0)(model, chosen, loss, generators)

    parts = StepResult.merge([part(0, 2), part(2, 4), part(4, 6)])
    torch.testing.assert_close(part(0, 6).leffa, parts.leffa)


@pytest.mark.parametrize("name", ["matches", "entropy", "photometric"])
def test_gradient_checkpointing_leaves_loss_and_gradients_as_they_are(
    name: str, build_model: Callable[[], LeffaModel], batch: Batch
) -> None:
    plain, changed = build_model(), build_model()
    changed.generative_unet.enable_gradient_checkpointing()
    assert_same_step(plain, changed, batch, loss_of(name))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiling_leaves_loss_and_gradients_as_they_are(
    build_model: Callable[[], LeffaModel], batch: Batch
) -> None:
    torch.compiler.reset()
    plain, changed = build_model(), build_model()
    compile_model(changed, True, False, backend="aot_eager")
    for _ in range(2):  # the second step has a tap of its own
        assert_same_step(plain, changed, batch, loss_of("matches"))


def assert_same_step(plain: LeffaModel, changed: LeffaModel, batch: Batch, loss: LeffaLoss) -> None:
    results = []
    for model in (plain, changed):
        model.train().zero_grad()
        result = step(model, batch, loss)
        result.loss.backward()
        results.append((result.leffa, {k: p.grad for k, p in model.named_parameters()}))
    torch.testing.assert_close(results[1][0], results[0][0])
    for key, gradient in results[0][1].items():
        torch.testing.assert_close(results[1][1][key], gradient, rtol=1e-3, atol=1e-5)


def test_what_needs_the_ground_truth_is_refused_where_it_is_unknown(
    make_datamodule: Make, model: LeffaModel
) -> None:
    data = make_datamodule(STAGES)
    for name in NAMES:
        check_supervision(loss_of(name), model, data)
    known = data.train_records
    for records, reconstruct in (([replace(known[0], flow=None)], False), (known, True)):
        data.train_records, data.reconstruct = records, reconstruct
        check_supervision(loss_of("photometric"), model, data)
        for name in ("matches", "oracle"):
            with pytest.raises(ValueError, match=f"attention_loss={name}: needs the ground-truth"):
                check_supervision(loss_of(name), model, data)


def test_what_needs_tokens_is_refused_where_the_attention_has_none(make_datamodule: Make) -> None:
    data, blind = make_datamodule(STAGES), nn.Linear(1, 1)
    with pytest.raises(ValueError, match="no attention of this Linear attends to a reference as"):
        check_supervision(loss_of("leffa"), blind, data)
    blind.processor = ReferenceAttention("attn")
    blind.processor.taps = False
    for loss in (loss_of("oracle"), loss_of("leffa"), loss_of("matches", space="coordinates")):
        check_supervision(loss, blind, data)
    for loss in (loss_of("matches"), loss_of("photometric"), loss_of("leffa", entropy_weight=1.0)):
        with pytest.raises(ValueError, match="needs attention on the tokens of the reference"):
            check_supervision(loss, blind, data)


def test_a_regulariser_alone_is_warned_about(
    make_datamodule: Make, model: LeffaModel, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_datamodule(STAGES)
    check_supervision(loss_of("leffa", total_variation_weight=1.0), model, data)
    assert caplog.text == ""
    check_supervision(loss_of("total_variation"), model, data)
    assert "attention_loss=leffa attention_loss.total_variation_weight=0.1" in caplog.text


def test_data_without_a_ground_truth_end_a_run_before_it_starts(
    synthetic: Path, tmp_path: Path
) -> None:
    """And only where the loss is on."""
    data, folder = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    for path in synthetic.iterdir():  # all but the flows
        (data / path.name).symlink_to(path)
    for split in ("train", "test"):
        (data / split).unlink()
        (data / split).mkdir()
        for path in (synthetic / split).iterdir():
            if path.name != "flow":
                (data / split / path.name).symlink_to(path)
    words = [*SHORT, "attention_loss=oracle"]
    with pytest.raises(ValueError, match="attention_loss=oracle: needs the ground-truth flow"):
        train(compose("train", runs.overrides(data, folder, *words)))
    assert not (folder / "checkpoints").exists()
    off = [*words, "leffa_loss=off", "trainer.max_steps=1"]
    train(compose("train", runs.overrides(data, folder, *off)))


def test_leffa_loss_off_turns_off_any(synthetic: Path) -> None:
    cfg = compose("train", ["attention_loss=oracle", "leffa_loss=off", f"data.root={synthetic}"])
    loss = build({**cfg.leffa_loss, **cfg.attention_loss})
    assert not loss.active and loss.name == "oracle"
    assert cfg.run_name == "tryon_synthetic_leffa_loss_off"


def test_the_model_card_tells_which_loss(synthetic: Path) -> None:
    def card(*words: str) -> str:
        cfg = compose("train", [*words, f"data.root={synthetic}"])
        parts = {key: dict(cfg[key]) for key in ("leffa_loss", "attention_loss")}
        inputs, config = InputSpec("tryon", 64, 48), {"name": "x", **parts}
        settings = ModelSettings(inputs, "x.ckpt", sampler=SamplerSettings(), config=config)
        return model_card(settings)

    assert "attention_loss" not in card()
    of_truth = "attention_loss matches, space tokens, labels ground_truth, points 85, weight"
    assert of_truth in card("attention_loss=matches")
    stored = card("attention_loss=matches", "attention_loss.labels=stored")
    assert "attention_loss matches, space tokens, labels stored, weight" in stored
    added = card("attention_loss.entropy_weight=0.5")
    assert "attention_loss leffa, entropy_weight 0.5, weight" in added
