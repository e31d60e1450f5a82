"""One training step of the real network, on tensors that have shapes and no values.

PyTorch's fake tensors go through the same code as real ones, so what is counted here is what the
network does: which tensors it keeps for the backward pass, and how much it multiplies. Two batch
sizes are tried, and only what grows with the batch is counted: the rest are 16-bit copies of
weights.
Under mixed precision norms work in 32 bits, as on a GPU.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import Conditioning, LeffaModel
from leffa.training.flops import CPU_ATTENTION
from leffa.training.sharding import gathered_at_once

# A training step is a forward pass and a backward pass of twice its arithmetic; gradient
# checkpointing repeats the forward pass (Chen et al., arXiv 1604.06174).
PASSES, PASSES_WITH_CHECKPOINTING = 3, 4


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters."""

    total: int
    trained: int
    autoencoder: int
    gathered: int = 0  # with trainer=fsdp, at once on a device beside its share


@dataclass(frozen=True)
class StepCount:
    """What one optimiser step costs at one picture size."""

    activations: int  # bytes per picture, kept for the backward pass
    encoding: int  # bytes per picture, while the autoencoder runs
    flops: int  # per picture


Build = Callable[[], LeffaModel]


def count_weights(build: Build) -> Weights:
    """Of the model that `build` makes."""
    model = build()
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    vae = sum(p.numel() for p in model.vae.parameters())
    trained = sum(n for n, requires_grad in sizes if requires_grad)
    return Weights(sum(n for n, _ in sizes), trained, vae, gathered_at_once(model))


def count_step(
    build: Build,
    height: int,
    width: int,
    half: bool,
    checkpointing: bool,
    leffa_loss: LeffaLoss | None,
) -> StepCount:
    """Both U-Nets, the diffusion loss and, where given, the Leffa loss on every picture.

    Args:
        build: makes the model without gradient checkpointing.
        height, width: of the pictures, in pixels.
        half: whether the precision is a mixed 16-bit one.
        leffa_loss: None where the stage has none.
    """
    model = build().train()
    with FakeTensorMode():
        _forget_values(model)
        if half:
            _norms_in_32_bits(model)
        saved = _Saved(model)
        if checkpointing:
            for unet in (model.reference_unet, model.generative_unet):
                cast(Any, unet).enable_gradient_checkpointing(saved.checkpoint)
        counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
        with counter:  # the first time alone, since it slows every operation
            one = _run(model, saved, 1, height, width, half, leffa_loss)
        flops = counter.get_total_flops()
        two = _run(model, saved, 2, height, width, half, leffa_loss)
        element = 2 if half else 4
        config = model.vae.config
        first_width = (
            config.block_out_channels
            if "block_out_channels" in config
            else config.encoder_block_out_channels
        )[0]
    # A residual block of the encoder at full size holds its input, its output and one in between.
    encoding = 3 * first_width * height * width * element
    passes = PASSES_WITH_CHECKPOINTING if checkpointing else PASSES
    return StepCount(two - one, encoding, passes * flops)


class _Saved:
    """Bytes of what autograd keeps; each storage once, weights not at all."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {_storage(p) for p in model.parameters()}
        self.reset()

    def reset(self) -> None:
        self.kept: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no storage is counted under another one's number
        self.largest = 0  # what the largest checkpointed block keeps while it is repeated

    @property
    def bytes(self) -> int:
        return sum(self.kept.values()) + self.largest

    def hooks(self, kept: dict[int, int]) -> saved_tensors_hooks:
        return saved_tensors_hooks(lambda tensor: self._keep(tensor, kept), lambda tensor: tensor)

    def checkpoint(self, block: Any, *inputs: Any) -> Any:
        """In the place of torch's checkpoint function: the inputs are kept, the inside is not."""
        for value in inputs:
            if isinstance(value, Tensor):
                self._keep(value, self.kept)
        inside: dict[int, int] = {}
        with self.hooks(inside):
            outputs = block(*inputs)
        self.largest = max(self.largest, sum(inside.values()))
        return outputs

    def _keep(self, tensor: Tensor, kept: dict[int, int]) -> Tensor:
        storage = _storage(tensor)
        if storage not in self.weights:
            kept[storage] = tensor.untyped_storage().nbytes()
            self.alive.append(tensor)
        return tensor


def _forget_values(model: nn.Module) -> None:
    """Every parameter and buffer as a fake tensor of its shape; `Module.to` cannot do that."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                empty = torch.empty(weight.shape, dtype=weight.dtype)
                module._parameters[name] = nn.Parameter(empty, weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _norms_in_32_bits(model: nn.Module) -> None:
    """What mixed precision does on a GPU; on a CPU, where we count, it does not."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _run(
    model: LeffaModel,
    saved: _Saved,
    batch: int,
    height: int,
    width: int,
    half: bool,
    leffa_loss: LeffaLoss | None,
) -> int:
    """Bytes kept by the forward pass of a batch."""
    saved.reset()
    latent = model.vae.config.latent_channels
    cells = (height // model.downscale, width // model.downscale)
    planes = cast(Any, model.generative_unet).config.in_channels - latent
    noisy = torch.empty(batch, latent, *cells)
    conditioning = Conditioning(
        torch.empty(batch, planes, *cells), torch.empty(batch, latent, *cells)
    )
    request = leffa_loss.request() if leffa_loss is not None else None
    autocast = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with saved.hooks(saved.kept), autocast:
        timesteps = torch.zeros(batch, dtype=torch.long)
        prediction = model.predict_noise(noisy, timesteps, conditioning, request)
        loss = prediction.noise.float().square().mean()
        if leffa_loss is not None:
            picture = torch.empty(batch, 3, height, width)
            loss = loss + leffa_loss(prediction.flows, picture, picture, picture[:, :1]).total
    return saved.bytes
