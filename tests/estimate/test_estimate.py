"""The estimate agrees with the real network, and its advice fits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel

from leffa.cli import main
from leffa.estimate.bases import SD15_UNET, SDXL_UNET, VAE
from leffa.estimate.count import StepCount, Weights, count_step, count_weights
from leffa.estimate.plan import GB, Setting, fits, memory, nearest_fit, overrides
from leffa.estimate.report import Throughput, read_throughput, to_markdown
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.run import settings
from leffa.training.stages import Stage

STAGE = Stage("full", 10, 512, 384, 64, 1e-5)
WEIGHTS = Weights(total=10**9, trained=10**9, autoencoder=0)
GPU = Setting("small", 24, 4, "bf16-mixed", False)


def tiny(checkpointing: bool = False) -> LeffaModel:
    backbone = settings("train", ["backbone=tiny_from_scratch"], "backbone")["backbone"]
    sources = {part: backbone[part] for part in ("unet", "vae", "scheduler")}
    return LeffaModel(**sources, gradient_checkpointing=checkpointing)


def counted(stage: Stage, setting: Setting) -> StepCount:
    """A network of 2 GB per picture, or a quarter with checkpointing."""
    return StepCount(int(2 * GB / (4 if setting.gradient_checkpointing else 1)), 0, 10**12)


@pytest.mark.parametrize(
    ("config", "parameters"),  # as the model cards and papers have them
    [(SD15_UNET, 859_520_964), (SDXL_UNET, 2_567_463_684)],
)
def test_the_shapes_have_the_published_number_of_parameters(
    config: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    found = sum(parameter.numel() for parameter in unet.parameters())
    assert found == parameters


def test_the_released_model_has_the_size_that_others_measured() -> None:
    """1,802.72 M in FastFit's table of Leffa: the two whole U-Nets and the autoencoder."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel.from_config(SD15_UNET), AutoencoderKL.from_config(VAE)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (unet, vae)]
    assert (2 * sizes[0] + sizes[1]) / 1e6 == pytest.approx(1802.72, abs=0.1)


@pytest.mark.slow
def test_checkpointing_halving_and_no_loss_cost_less_memory() -> None:
    def activations(half: bool, checkpointing: bool, loss: LeffaLoss | None) -> int:
        return count_step(tiny, 64, 48, half, checkpointing, loss).activations

    whole = activations(False, False, LeffaLoss())
    assert activations(False, True, LeffaLoss()) < 0.5 * whole
    assert 0.4 * whole < activations(True, False, LeffaLoss()) < 0.9 * whole
    assert activations(False, False, None) < whole


def test_counts_every_parameter_once() -> None:
    found = count_weights(tiny)
    assert found.total - found.trained == found.autoencoder > 0


def test_memory_follows_the_stated_formula() -> None:
    parts = memory(WEIGHTS, StepCount(10**8, 10**7, 1), GPU, STAGE)
    assert [parts[key] / GB for key in ("weights", "16-bit copies", "gradients", "AdamW")] == [
        *(4, 2, 4, 8)
    ]
    assert parts["activations"] == 4 * 10**8
    assert parts["all"] == pytest.approx(1.1 * 18.4 * GB + GB)
    several = memory(WEIGHTS, StepCount(10**8, 0, 1), replace(GPU, devices=2), STAGE)
    assert several["gradients"] == 8 * GB


@pytest.mark.parametrize(
    ("memory_gb", "words"),
    [
        (27, "hardware.micro_batch=2"),
        (22, "hardware.micro_batch=2 hardware.gradient_checkpointing=true"),
        (15, "hardware=large"),
    ],
)
def test_the_nearest_fit_changes_least_and_fits(memory_gb: float, words: str) -> None:
    large = Setting("large", 80, 8, "bf16-mixed", True)
    setting = replace(GPU, memory_gb=memory_gb)
    assert not fits(WEIGHTS, [STAGE], setting, counted)
    nearest = nearest_fit(WEIGHTS, [STAGE], setting, [setting, large], counted)
    assert nearest is not None
    assert fits(WEIGHTS, [STAGE], nearest, counted)
    assert overrides(setting, nearest, [setting, large]) == words


def test_throughput_is_a_number_or_a_run(tmp_path: Path) -> None:
    assert read_throughput("3.5", [STAGE]).height == 512
    assert read_throughput("3.5@1024x768", [STAGE]).width == 768
    config = {"curriculum": {"stages": [{"steps": 20, "height": 96, "width": 72}]}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "logs").mkdir()
    rows = ["step,speed/images_per_s", "5,10", "10,12", "15,14", "30,99"]
    (tmp_path / "logs" / "metrics.csv").write_text("\n".join(rows) + "\n")
    found = read_throughput(str(tmp_path), [STAGE])
    assert (found.images, found.height) == (12, 96)
    assert found.basis == f"measured in {tmp_path}"
    assert read_throughput("3.5", [STAGE]).basis == "given"
    for wrong in ("fast", "0", "3@1024"):
        with pytest.raises(ValueError, match=f"throughput={wrong}"):
            read_throughput(wrong, [STAGE])


@pytest.mark.parametrize(
    ("throughput", "peak", "said"),
    [
        # 640 pictures at 1 a second, or of 10^12 operations each at 0.3 x 2 devices x 10^12.
        (Throughput(1.0, 512, 384, "given"), 1.0, "hours: 0.2, at 1 images/s at 512x384, given"),
        (
            Throughput(0.1, 512, 384, "measured in a"),
            None,
            "hours: 1.8, at 0.1 images/s at 512x384",
        ),
        (None, 0.1, "hours: 3.0, at 30% of hardware.peak_tflops=0.1, assumed, not measured; "),
        (None, None, "hours: unknown; give throughput=IMAGES_PER_S, or throughput=RUN"),
    ],
)
def test_hours_say_what_they_rest_on(
    throughput: Throughput | None, peak: float | None, said: str
) -> None:
    setting = replace(GPU, devices=2, node=2)
    table = to_markdown(WEIGHTS, [STAGE], setting, counted, throughput, peak)
    assert [line for line in table.splitlines() if line.startswith(said)]
    assert ("| hours |" in table) is (throughput is not None or peak is not None)


def test_shards_hold_a_share_and_what_is_gathered() -> None:
    """Of 10^9 trained weights on four devices a quarter each, and 10^8 gathered at a time."""
    weights = replace(WEIGHTS, total=11 * 10**8, gathered=10**8, frozen_bytes=4 * 10**8)
    shards = replace(GPU, devices=8, node=4, sharded=True, average=True)
    parts = memory(weights, StepCount(0, 0, 1), shards, STAGE)
    found = [parts[key] / GB for key in ("weights", "gradients", "AdamW", "average")]
    assert found == pytest.approx([4 * (0.1 + 0.25 + 0.1), 4 * 0.25 + 8 * 0.1, 2, 1])


def test_shards_are_advised_before_a_larger_device() -> None:
    large = Setting("large", 80, 8, "bf16-mixed", True)
    setting = replace(GPU, memory_gb=16, devices=8, node=8)
    nearest = nearest_fit(WEIGHTS, [STAGE], setting, [setting, large], counted)
    assert nearest is not None
    assert overrides(setting, nearest, [setting, large]).split()[0] == "trainer=fsdp"
    assert fits(WEIGHTS, [STAGE], nearest, counted)


@pytest.mark.slow
def test_the_command_tells_steps_images_and_hours(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["experiment=tryon_synthetic", "leffa_loss=off", "debug=tiny", "throughput=4@64x48"]
    assert main(["estimate", *chosen]) == 0
    printed = capsys.readouterr().out
    assert "whole run: 3 steps, 6 images" in printed
    assert "at 4 images/s at 64x48, given" in printed
    assert "| image size | 32x24 | 64x48 | 64x48 |" in printed
    assert "| Leffa loss | off | off | off |" in printed


@pytest.mark.slow
def test_the_command_refuses_what_cannot_fit(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["experiment=tryon_synthetic", "debug=tiny", "hardware.memory_gb=0.5"]
    assert main(["estimate", *chosen]) == 1
    printed = capsys.readouterr().err.strip()
    assert printed.splitlines()[-1].startswith("error: hardware=cpu: stage leffa (64x48) needs 1.")
    assert "the nearest setting that fits: hardware=gpu_24gb" in printed
