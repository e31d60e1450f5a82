"""Where a fine-tuning starts: the weights of a run of ours or of an official file, and, if wanted,
low-rank adapters (LoRA) that are trained in their place."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any, cast

from leffa.inference.checkpoints import (
    fill_model,
    find_checkpoint,
    read_checkpoint,
    weights_of,
)
from leffa.models.checkpoints import load_official_state
from leffa.models.leffa import PARTS, LeffaModel, Part
from leffa.models.unets import load_scheduler
from leffa.weights_file import load_weights

SDXL_TEXT = 2048  # width of SDXL's text features: how an SDXL base is known
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def build_from(
    unet: str | Path | dict[str, Any],
    vae: str | Path | dict[str, Any],
    scheduler: str | Path | dict[str, Any],
    parts: tuple[Part, ...] | list[Part] = PARTS,
    gradient_checkpointing: bool = False,
    start_from: str | Path | None = None,
    zero_terminal_snr: bool = False,
    lora: dict[str, Any] | None = None,
) -> LeffaModel:
    """A model as `LeffaModel.build` makes it, filled with trained weights.

    Args:
        start_from: the folder of a run, its .ckpt (the running average where it has one), or an
            official file; None leaves the base's weights, as when a checkpoint follows anyway.
        zero_terminal_snr: rescale the noise schedule so that its last step is pure noise, as the
            released code does on SDXL.
        lora: `rank` and `alpha` of adapters; everything else is frozen then. None trains all.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the weights are of another architecture, or peft is missing.
    """
    if lora is not None:
        _check_lora(**lora)
    if start_from is not None and not Path(start_from).exists():
        raise FileNotFoundError(f"start_from={start_from}: no such file or folder")
    if zero_terminal_snr:
        scheduler = dict(load_scheduler(scheduler).config) | {"rescale_betas_zero_snr": True}
    model = LeffaModel.build(unet, vae, scheduler, parts, gradient_checkpointing)
    if start_from is not None:
        load_start(model, Path(start_from))
    if lora is not None:
        add_lora(model, **lora)
    return model


def load_start(model: LeffaModel, path: Path) -> None:
    """Fill a model with the weights of a run of ours (folder or .ckpt) or of an official file.

    Raises:
        FileNotFoundError: the folder has no checkpoint.
        ValueError: another architecture, adapters, or the noise schedule of another base.
    """
    if path.is_dir() or path.suffix == ".ckpt":
        checkpoint = find_checkpoint(path)
        content = read_checkpoint(checkpoint)
        if content["config"]["model"].get("lora"):
            raise ValueError(
                f"start_from={checkpoint}: has low-rank adapters; go on with resume=auto, or merge "
                "them first: leffa convert --weights RUN --out FILE.ckpt"
            )
        fill_model(model, weights_of(content, None, checkpoint), checkpoint)
        return
    width = cast(Any, model.generative_unet).config.cross_attention_dim
    if width == SDXL_TEXT and not model.scheduler_config.get("rescale_betas_zero_snr"):
        raise ValueError(
            f"start_from={path}: official weights on SDXL were trained up to pure noise: "
            "add model.zero_terminal_snr=true"
        )
    load_official_state(model, load_weights(path), name=f"start_from={path}")


def add_lora(model: LeffaModel, rank: int, alpha: float) -> None:
    """Freeze both UNets and give every attention low-rank adapters, which begin at zero (LoRA,
    arXiv 2106.09685, Eq. 3).

    Raises:
        ValueError: peft is missing, or the rank is not positive.
    """
    _check_lora(rank, alpha)
    adapters = importlib.import_module("peft").LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=ATTENTION
    )

    for part in (model.reference_unet, model.generative_unet):
        unet = cast(Any, part)  # a UNet2DConditionModel, whose `add_adapter` is not typed
        unet.requires_grad_(False)
        unet.add_adapter(adapters)


def _check_lora(rank: int, alpha: float) -> None:
    if rank < 1 or alpha <= 0:
        raise ValueError(f"model.lora: rank={rank} and alpha={alpha} must be positive")
    if importlib.util.find_spec("peft") is None:
        raise ValueError("model.lora needs the package peft: pip install peft")
