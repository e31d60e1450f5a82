"""FLUX's transformer as a model of try-on has it: what is trained, and how the rest is kept."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from diffusers import BitsAndBytesConfig, FluxTransformer2DModel
from torch import nn

from leffa.losses.schedule import check_choice
from leffa.models.catvton_flux.attention import Tap, tap_joint_attention
from leffa.models.loading import Source, locate, on_meta_device, read_pretrained
from leffa.models.lora import ATTENTION, add_lora, check_lora
from leffa.models.trainable import check_pretrained

Trainable = Literal["attention", "all"]
Quantization = Literal["none", "8bit", "4bit"]
PART = "transformer"  # its folder in a base
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# What is called "attn", without the norms: also of the text, of which single blocks have none.
LORA = [*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]


@dataclass(frozen=True)
class TransformerSettings:
    """What of a transformer is trained, how the rest is kept, and where the flow is read.

    Args:
        trainable: "attention", what has "attn" in its name, as published: projections, norms of
            queries and keys, and outputs, of which single blocks have none of their own; or "all".
        lora: `rank` and `alpha` of adapters on the attentions; all else is frozen then.
        quantization: of the weights under adapters: bitsandbytes' 8 bits, or its 4 bits (NF4).
        frozen_dtype: of the other frozen weights. Mixed precision computes in 16 bits anyway.
        tap: where the flow is read.
    """

    trainable: Trainable = "attention"
    lora: dict[str, Any] | None = None
    quantization: Quantization = "none"
    frozen_dtype: str = "float32"
    tap: Tap = "after_rope"

    def __post_init__(self) -> None:
        choices = {
            "trainable": get_args(Trainable),
            "quantization": get_args(Quantization),
            "frozen_dtype": tuple(DTYPES),
            "tap": get_args(Tap),
        }
        for key, known in choices.items():
            check_choice(f"model.{key}", getattr(self, key), known)
        if self.lora is not None:
            check_lora(**self.lora)
        elif self.quantization != "none":
            raise ValueError(
                f"model.quantization={self.quantization}: quantised weights cannot be trained, but "
                'adapters on them can: add "model.lora={rank: 128, alpha: 128}"'
            )

    @property
    def whole(self) -> bool:
        """Whether nothing of the base stays as it is."""
        return self.lora is None and self.trainable == "all"

    def check(self, source: Source) -> None:
        """Refuse what cannot be with this base, on this machine.

        Raises:
            ValueError: frozen random weights; or quantised ones without the package or a GPU.
        """
        if on_meta_device():
            return
        if not self.whole:
            key = "lora" if self.lora is not None else f"trainable={self.trainable}"
            check_pretrained(source, f"model.{key}")
        if self.quantization == "none":
            return
        for package in ("bitsandbytes", "accelerate"):
            if find_spec(package) is None:
                raise ValueError(
                    f"model.quantization={self.quantization} needs the package {package}: "
                    f"pip install {package}"
                )
        if not torch.cuda.is_available():
            raise ValueError(
                f"model.quantization={self.quantization} needs an NVIDIA GPU, and there is none "
                "here; give model.quantization=none"
            )


def load_transformer(
    source: Source, dtype: torch.dtype = torch.float32, quantization: Quantization = "none"
) -> FluxTransformer2DModel:
    """A stock transformer, see `loading.Source`.

    Raises:
        FileNotFoundError: there is no such base.
        ValueError: it is of another architecture.
    """
    if isinstance(source, dict):
        return FluxTransformer2DModel.from_config(source)
    location, subfolder = locate(source, PART)
    try:
        config = FluxTransformer2DModel.load_config(location, subfolder=subfolder)
    except OSError:
        if subfolder != PART:
            raise
        subfolder = None  # a repository of the transformer alone, as catvton-flux's are
        config = FluxTransformer2DModel.load_config(location)
    name = FluxTransformer2DModel.__name__
    if (found := config.get("_class_name", name)) != name:
        raise ValueError(f"{source}: holds a {found}, not a {name}; give a FLUX.1")
    if on_meta_device():
        return FluxTransformer2DModel.from_config(config)
    more: dict[str, Any] = {"torch_dtype": dtype}
    if quantization != "none":
        more["quantization_config"] = _bits(quantization)
        more |= {"low_cpu_mem_usage": True, "ignore_mismatched_sizes": False}
    transformer: FluxTransformer2DModel = read_pretrained(
        FluxTransformer2DModel, source, location, subfolder, **more
    )
    return transformer


def _bits(quantization: Quantization) -> BitsAndBytesConfig:
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )


def quantised_bytes(transformer: nn.Module, quantization: Quantization) -> int:
    """What the frozen weights of a transformer, not quantised yet, will occupy."""
    bits = {"8bit": 8.0, "4bit": 4.5}[quantization]  # NF4: and a scale of 32 bits for 64 weights
    frozen = {id(p): p for p in transformer.parameters() if not p.requires_grad}
    linear = [m.weight for m in transformer.modules() if isinstance(m, nn.Linear)]
    quantised = sum(weight.numel() for weight in linear if frozen.pop(id(weight), None) is not None)
    return int(quantised * bits / 8) + sum(weight.nbytes for weight in frozen.values())


def trained_transformer(source: Source, settings: TransformerSettings) -> FluxTransformer2DModel:
    """A transformer whose flow can be read, of which some is trained.

    Raises:
        FileNotFoundError, ValueError: see `load_transformer` and `TransformerSettings.check`.
    """
    settings.check(source)
    frozen = DTYPES[settings.frozen_dtype]
    read = torch.float32 if settings.lora is None else frozen
    transformer: Any = load_transformer(source, read, settings.quantization)
    for name, parameter in transformer.named_parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(settings.trainable == "all" or "attn" in name)
    if settings.lora is not None:
        add_lora((transformer,), **settings.lora, targets=LORA)
    for parameter in transformer.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else frozen)
    tap_joint_attention(transformer, settings.tap)
    return transformer
