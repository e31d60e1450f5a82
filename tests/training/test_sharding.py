"""Processes that share out a model's weights take the same steps and leave the same checkpoints."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from leffa.estimate.bases import SD15_UNET, VAE
from leffa.inference import load_model
from leffa.models.leffa import LeffaModel
from leffa.run import compose, train
from leffa.training.sharding import _parts, gathered_at_once

sys.path.append(str(Path(__file__).parent / "support"))
import runs

ONE_STAGE = (
    "[{name: only, steps: 2, height: 32, width: 24, batch_size: 8, learning_rate: 1.0e-3,"
    " leffa_loss: true}]"
)

FOUR_STEPS = "[{name: only, steps: 4, height: 16, width: 16, batch_size: 4, learning_rate: 1.0e-4}]"


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def moments(content: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """AdamW's state in the order of its weights, whatever their numbers."""
    state = content["optimizer_states"][0]
    return [state["state"][number] for number in state["param_groups"][0]["params"]]


def numbers(content: dict[str, Any]) -> list[torch.Tensor]:
    """Weights, average and AdamW's state at the end of a run of four steps."""
    assert content["global_step"] == 4
    weights = [*content["state_dict"].values(), *content["ema"]["weights"].values()]
    return [*weights, *(state[key] for state in moments(content) for key in sorted(state))]


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_shards_have_the_gradients_and_the_checkpoint_of_whole_copies(
    synthetic: Path, tmp_path: Path, checkpointing: bool
) -> None:
    gradients, contents = [], []
    for strategy in ("ddp", "fsdp"):
        folder = tmp_path / strategy
        folder.mkdir()
        arguments = runs.overrides(
            synthetic,
            folder,
            f"trainer={strategy}",
            f"curriculum.stages={ONE_STAGE}",
            f"hardware.gradient_checkpointing={str(checkpointing).lower()}",
            runs.keep_gradients(folder, 500),
        )
        assert runs.train(arguments, folder.with_suffix(".log"), ranks=2) == [0, 0]
        gradients.append(torch.load(folder / "gradients.0.pt", weights_only=True))
        contents.append(last(folder))
    ours, theirs = gradients
    assert ours.keys() == theirs.keys()
    largest = max(value.abs().max() for value in ours.values())
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-5 * largest)
    whole, shards = contents
    for key in ("state_dict", "ema"):
        one, other = (each.get("weights", each) for each in (whole[key], shards[key]))
        assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}
    pairs = list(zip(moments(whole), moments(shards), strict=True))
    assert len(pairs) == len(whole["state_dict"])
    assert all(close(one["exp_avg"], other["exp_avg"]) for one, other in pairs)
    state = load_model(tmp_path / "fsdp", "raw").model.state_dict()
    assert all(
        state[name.removeprefix("model.")].equal(value)
        for name, value in shards["state_dict"].items()
    )


@pytest.mark.posix
@pytest.mark.slow
def test_a_killed_run_in_shards_goes_on_as_if_nothing_had_happened(
    synthetic: Path, tmp_path: Path
) -> None:
    """On as many processes bit for bit; on one process, whole, but for rounding."""
    whole, folder, alone = (tmp_path / name for name in ("whole", "run", "alone"))
    changes = [f"curriculum.stages={FOUR_STEPS}", "data.val_samples=0", "resume=auto"]
    sharded = [*changes, "trainer=fsdp"]
    assert runs.train(runs.overrides(synthetic, whole, *sharded), tmp_path / "a", ranks=2) == [0, 0]
    kills = runs.kill_at(3, rank=1)
    codes = runs.train(runs.overrides(synthetic, folder, *sharded, *kills), tmp_path / "b", ranks=2)
    assert codes == [1, -signal.SIGKILL]
    assert "process 0 of 2 lost the connection to another one" in (tmp_path / "b.0.log").read_text()
    assert last(folder)["global_step"] == 2
    shutil.copytree(folder, alone)
    assert runs.train(runs.overrides(synthetic, folder, *sharded), tmp_path / "c", ranks=2) == [
        0,
        0,
    ]
    assert runs.train(runs.overrides(synthetic, alone, *changes), tmp_path / "d") == [0]
    expected = numbers(last(whole))
    assert all(torch.equal(*pair) for pair in zip(numbers(last(folder)), expected, strict=True))
    assert all(close(*pair) for pair in zip(numbers(last(alone)), expected, strict=True))


def test_a_run_of_whole_copies_does_not_go_on_in_shards(synthetic: Path, tmp_path: Path) -> None:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    config = {"trainer": {"strategy": "auto"}}
    content = {"state_dict": {}, "config": config, "global_step": 1, "optimizer_states": [{}]}
    torch.save(content, path)
    arguments = [*runs.overrides(synthetic, tmp_path / "run", "trainer=fsdp"), "resume=auto"]
    with pytest.raises(ValueError, match=r"last\.ckpt: was trained without trainer=fsdp"):
        train(compose("train", arguments))


def test_little_of_a_real_network_is_gathered_at_once() -> None:
    with torch.device("meta"):
        model = LeffaModel(SD15_UNET, VAE, {"beta_schedule": "scaled_linear"})
    networks = (model.reference_unet, model.generative_unet)
    parts = [part for network in networks for part in _parts(network)]
    held = [id(module) for part in parts for module in part.modules()]
    assert len(held) == len(set(held))  # none lies in another
    assert not any(isinstance(part, nn.ModuleList) for part in parts)
    assert not any(hasattr(module, "processor") for part in parts for module in part.modules())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert 0 < gathered_at_once(model) < 0.3 * trained
