"""One training step of the real network on tensors that have shapes and no values.

PyTorch's fake tensors go through the same code as real ones: which tensors are kept for the
backward pass, and how much is multiplied in both. Two batch sizes are tried, and only what grows
with the batch is counted: the rest are 16-bit copies of weights. Latents are given, as a cache
gives them. Under mixed precision norms work in 32 bits, as on a GPU.
"""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from leffa.data.batch import Batch
from leffa.data.pose import CHANNELS
from leffa.losses.flow import LeffaLoss
from leffa.models.interface import PersonGenerator
from leffa.models.memory import RunMemory
from leffa.training.sharding import gathered_at_once


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of (B, N, L, D) queries and (B, N, S, D) keys: two products of L x S x D."""
    batch, heads, tokens, width = query
    return 4 * batch * heads * tokens * key[2] * width


def _attention_backward_flops(gradient: Any, query: Any, key: Any, *_: Any, **__: Any) -> int:
    """Five such products, of which one is the attention's own once more."""
    return _attention_flops(query, key, key) * 5 // 2


# torch's counter knows the GPU's kernels only.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}


@dataclass(frozen=True)
class Weights:
    """Numbers of parameters."""

    total: int
    trained: int
    autoencoder: int
    gathered: int = 0  # with trainer=fsdp, at once on a device beside its share
    frozen_bytes: int = 0  # of those that are not trained


@dataclass(frozen=True)
class StepCount:
    """What one optimiser step costs at one image size."""

    activations: int  # bytes per image, kept for the backward pass
    encoding: int  # bytes per image, while the autoencoder runs
    flops: int  # per image: forward, backward, and what checkpointing repeats


# Makes the model; with or without gradient checkpointing.
Build = Callable[[bool], PersonGenerator]


def count_weights(build: Build) -> Weights:
    """Of the model that `build` makes."""
    model = build(False)
    return Weights(
        total=sum(p.numel() for p in model.parameters()),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        autoencoder=sum(p.numel() for p in model.vae.parameters()),
        gathered=gathered_at_once(model),
        frozen_bytes=model.frozen_bytes(),
    )


def count_step(
    build: Build,
    height: int,
    width: int,
    half: bool,
    checkpointing: bool,
    leffa_loss: LeffaLoss | None,
) -> StepCount:
    """A step with the diffusion loss and, where given, the Leffa loss on every image.

    Args:
        height, width: of the images, in pixels.
        half: whether the precision is a mixed 16-bit one.

    Raises:
        ValueError: the model cannot make images of this size.
    """
    model = build(checkpointing).train()
    # A tensor that comes out of Python's own values is real, such as the tokens of a text.
    with FakeTensorMode(allow_non_fake_inputs=True):
        forget_values(model)
        if half:
            _norms_in_32_bits(model)
        counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
        saved = _SavedTensors(model, counter)
        one, two = (_batch(model, count, height, width) for count in (1, 2))
        with counter:
            with saved.hooks(saved.kept):
                loss = step_loss(model, one, half, leffa_loss)
            kept = saved.bytes
            loss.backward()
            flops = counter.get_total_flops() + saved.repeated
        saved.reset()
        with saved.hooks(saved.kept):
            loss = step_loss(model, two, half, leffa_loss)
    return StepCount(saved.bytes - kept, _encoding(model, height, width, half), flops)


def count_sampling(
    model: PersonGenerator, height: int, width: int, guidance: float
) -> tuple[int, int]:
    """Operations of an image: of a denoising step with its guidance, and of all the rest.

    Args:
        model: stays as it is.
        height, width: of the image, in pixels.
    """
    before, first, step, after = (
        FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) for _ in range(4)
    )
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    model = _without_values(model, mode)
    with mode, torch.no_grad():
        with before:
            batch = _pictures(1, height, width)
            known = model.attach_cache(model.encode(batch), RunMemory(limit=0))
        noisy, timesteps = torch.empty(1, *model.latent_shape(batch)), torch.zeros(1).long()
        branches = [branch for _, branch in known.branches(guidance)]
        for counter in (first, step):  # what the first one leaves behind is not computed again
            with counter:
                model.predict_branches(noisy, timesteps, branches)
        with after:
            model.decode(noisy)
    each, rest = step.get_total_flops(), before.get_total_flops() + after.get_total_flops()
    return each, rest + first.get_total_flops() - each


class _SavedTensors:
    """Bytes of what autograd keeps; each storage once, weights not at all.

    Of diffusers' networks it takes the place of the checkpoint function, to see what a block keeps
    while it is repeated. Other checkpointed blocks are small, and checkpointed as they are.
    """

    def __init__(self, model: nn.Module, counter: FlopCounterMode) -> None:
        self.weights = {_storage(p) for p in model.parameters()}
        self.counter = counter
        self.reset()
        for module in model.modules():
            if getattr(module, "_gradient_checkpointing_func", None) is not None:
                module._gradient_checkpointing_func = self.checkpoint  # type: ignore[assignment]

    def reset(self) -> None:
        self.kept: dict[int, int] = {}
        self.alive: list[Tensor] = []  # so that no storage is counted under another one's number
        self.largest = 0  # what the largest checkpointed block keeps while it is repeated
        self.repeated = 0  # operations of all of them

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
        before = self.counter.get_total_flops()
        with self.hooks(inside):
            outputs = block(*inputs)
        self.repeated += self.counter.get_total_flops() - before
        self.largest = max(self.largest, sum(inside.values()))
        return outputs

    def _keep(self, tensor: Tensor, kept: dict[int, int]) -> Tensor:
        storage = _storage(tensor)
        if storage not in self.weights:
            kept[storage] = tensor.untyped_storage().nbytes()
            self.alive.append(tensor)
        return tensor


def forget_values(model: nn.Module) -> None:
    """Every parameter and buffer as a fake tensor of its shape; `Module.to` cannot do that."""
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                empty = torch.empty(weight.shape, dtype=weight.dtype)
                module._parameters[name] = nn.Parameter(empty, weight.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _without_values(model: PersonGenerator, mode: FakeTensorMode) -> PersonGenerator:
    """A copy whose weights are fake tensors of 32 bits."""
    with mode:
        fake: dict[int, Any] = {
            id(weight): nn.Parameter(torch.empty(weight.shape), requires_grad=False)
            for weight in model.parameters()
        }
        fake |= {id(each): torch.empty(each.shape, dtype=each.dtype) for each in model.buffers()}
    return deepcopy(model, fake)


def _norms_in_32_bits(model: nn.Module) -> None:
    """What mixed precision does on a GPU; on a CPU, where we count, it does not."""
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            module.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _batch(model: PersonGenerator, count: int, height: int, width: int) -> Batch:
    """Images of a size with their latents, and all that a model may need beside them."""
    batch = _pictures(count, height, width)
    return {**batch, "latents": model.latents(batch)}


def _pictures(count: int, height: int, width: int) -> Batch:
    channels = {"source": 3, "reference": 3, "mask": 1, "densepose": 3, "loss_region": 1}
    planes = {
        name: torch.empty(count, number, height, width)
        for name, number in (channels | {"pose": CHANNELS}).items()
    }
    names = [str(index) for index in range(count)]
    return {**planes, "name": names, "category": ["upper_body"] * count}  # type: ignore[typeddict-item]  # the keys of a Batch


def step_loss(
    model: PersonGenerator, batch: Batch, half: bool, leffa_loss: LeffaLoss | None
) -> Tensor:
    """The forward pass as in `training.objective`, without its draws, which need values."""
    count = len(batch["name"])
    request = leffa_loss.request() if leffa_loss is not None else None
    with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
        known = model.encode(batch, sample=True).drop(torch.zeros(count, dtype=torch.bool))
        noisy = torch.empty(count, *model.latent_shape(batch))
        timesteps = torch.zeros(count, dtype=torch.long)
        prediction = model.predict_noise(noisy, timesteps, known, request)
        loss = prediction.noise.float().square().mean()
        if leffa_loss is not None:
            pictures = (batch["reference"], batch["source"], batch["loss_region"])
            loss = loss + leffa_loss(prediction.flows, *pictures, expected_samples=count).total
    return loss


def _encoding(model: PersonGenerator, height: int, width: int, half: bool) -> int:
    """Bytes per image: a residual block of the autoencoder at full size holds its input, its
    output and one in between."""
    config: Any = model.vae.config
    blocks = config.get("block_out_channels") or config.encoder_block_out_channels
    return 3 * int(blocks[0]) * height * width * (2 if half else 4)
