"""Predicted against ground-truth flow, and the flows that need no network."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.data.dataset import PersonDataset, collate
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.evaluation import Evaluation
from leffa.evaluation.flows import flow_values, mean_flow_values
from leffa.inference import LoadedModel, load_model
from leffa.losses.diffusion import DiffusionSchedule
from leffa.losses.monitoring import Sharpness
from leffa.losses.request import FlowRequest
from leffa.metrics.flow import flow_baselines
from leffa.models.interface import PersonGenerator, Prediction

HEIGHT, WIDTH = 64, 48

Evaluate = Callable[..., Evaluation]


class Oracle(PersonGenerator):
    """Its attention looks where the ground-truth flow leads."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = DiffusionSchedule(torch.linspace(0.99, 0.01, 1000))
        self.scheduler_config = {}
        self.nothing = nn.Parameter(torch.zeros(1))

    def latents(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def encode(  # type: ignore[override]
        self, batch: Batch, generator: torch.Generator | None = None, sample: bool = False
    ) -> Tensor:
        return batch["flow"]

    def encode_target(
        self, batch: Batch, generator: torch.Generator | None = None, sample: bool = False
    ) -> Tensor:
        return batch["source"]

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        return 3, HEIGHT, WIDTH

    def predict_noise(  # type: ignore[override]
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Tensor,
        flow: FlowRequest | None = None,
    ) -> Prediction:
        sharpness = Sharpness(peak_mass=torch.tensor(1.0), entropy=torch.tensor(0.0))
        return Prediction(noisy, {"layer": conditioning}, {"layer": sharpness})

    def freeze_reference(self, conditioning: Tensor, timestep: int) -> Tensor:  # type: ignore[override]
        return conditioning

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def batches(root: Path) -> Iterator[Batch]:
    """One sample each."""
    dataset = PersonDataset(
        VitonHD(root, split="test", densepose="iuv"),
        PersonTransform(HEIGHT, WIDTH, densepose="iuv"),
    )
    for index in range(3):
        yield collate([dataset[index]])


def test_a_perfect_flow_has_no_error_and_its_true_spread(synthetic: Path) -> None:
    values = [flow_values(Oracle(), each, FlowRequest(), [100, 300]) for each in batches(synthetic)]
    metrics = mean_flow_values(values) | flow_baselines(lambda: batches(synthetic))
    assert metrics["flow/epe_px"] == pytest.approx(0, abs=1e-4)
    assert metrics["flow/pck_3"] == 1
    assert metrics["flow/spread"] == pytest.approx(metrics["flow_true/spread"])
    assert (metrics["flow/peak_mass"], metrics["flow/entropy"]) == (1, 0)
    assert metrics["flow_layers/layer/epe_px"] == metrics["flow/epe_px"]
    assert metrics["flow_constant/spread"] == pytest.approx(0, abs=1e-6)
    assert min(metrics["flow_identity/epe_px"], metrics["flow_constant/epe_px"]) > 1


def test_a_sample_without_visible_flow_counts_for_no_error(synthetic: Path) -> None:
    seen, hidden, _ = batches(synthetic)
    hidden["flow_valid"] = torch.zeros_like(hidden["flow_valid"])
    values = [flow_values(Oracle(), each, FlowRequest(), [100]) for each in (seen, hidden)]
    assert values[1] == {"layer": {"peak_mass": 1.0, "entropy": 0.0}}
    assert mean_flow_values(values)["flow/pck_3"] == 1


def test_without_a_ground_truth_flow_nothing_is_claimed(synthetic: Path) -> None:
    def without_flow() -> Iterator[Batch]:
        for batch in batches(synthetic):
            del batch["flow"]
            yield batch

    assert flow_baselines(without_flow) == {}
    assert mean_flow_values([]) == {}


def test_the_layers_that_are_read_can_be_chosen(run_evaluation: Evaluate, tmp_path: Path) -> None:
    layers = []
    for chosen in ("training", "all", "mid_block"):
        metrics = run_evaluation(tmp_path / chosen, "limit=1", f"inspect_layers={chosen}").metrics
        found = {key.split("/")[1] for key in metrics if key.startswith("flow_layers/")}
        layers.append(found)
    training, every, middle = layers
    assert training < every
    assert middle < every
    assert {name.split(".")[0] for name in middle} == {"mid_block"}


def test_the_temperature_that_flows_are_read_with_can_be_chosen(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    spread = [
        run_evaluation(tmp_path / f"{tau}", "limit=1", f"inspect_temperature={tau}").metrics
        for tau in (0.1, 10)
    ]
    assert spread[0]["flow/spread"] > spread[1]["flow/spread"]


def test_an_evaluation_without_a_layer_for_the_flow_says_so(
    run_evaluation: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def no_layer(*arguments: Any, **options: Any) -> LoadedModel:
        loaded = load_model(*arguments, **options)
        return replace(loaded, settings=replace(loaded.settings, min_resolution=2.0))

    monkeypatch.setattr("leffa.run.evaluation.load_model", no_layer)
    evaluation = run_evaluation(tmp_path, "limit=1")
    assert "leffa_loss.min_resolution=2.0 excludes all attention layers" in caplog.text
    assert "flow_identity/epe_px" in evaluation.metrics
    assert not any(key.startswith("flow/") for key in evaluation.metrics)
    assert (tmp_path / "samples.png").is_file()
