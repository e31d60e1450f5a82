"""Learning flow fields in attention: the paper's contribution, as pure functions of tensors.

The idea. In a two-UNet model every generated token attends to the reference tokens. Replace the
values of that attention by the coordinates of the reference tokens and the result is, for every
generated token, the average place where it looks: a flow field. Warp the reference image with this
flow and compare it with the target image; the difference is a loss on the attention itself, with no
new parameter.

    A = softmax(Q K^T / (tau sqrt(d)))    attention on the reference tokens only         (Eq. 2)
    F = mean_heads(A) C                   C: corner-aligned coordinates, so F is absolute (Eq. 3)
    L = sum_layers || (target - warp(reference, F)) * region ||^2                         (Eq. 4)

The mean over heads is linear, so F = mean_heads(SDPA(Q, K, V=C)): the L x L map is never stored.

Nothing here imports more than torch; bring your own model and pass its queries and keys.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leffa.losses.blur import gaussian_blur
from leffa.losses.precision import at_least_float32, without_autocast
from leffa.losses.request import AttentionTap, FlowRequest, LayerTokens, Supervision, as_patterns
from leffa.losses.schedule import Gate, NoiseSchedule, check_choice

MAX_TIMESTEP, MAX_SIGMA = 500, 0.617  # the gates' defaults


def coordinates(grid: tuple[int, int], *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The corner-aligned coordinates of a token grid, (h*w, 2) as (x, y): first (-1, -1), last
    (1, 1)."""
    height, width = grid
    y = torch.linspace(-1, 1, height, device=device, dtype=torch.float32)
    x = torch.linspace(-1, 1, width, device=device, dtype=torch.float32)
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(height * width, 2).to(dtype)


def flow_field(query: Tensor, key: Tensor, key_grid: tuple[int, int], temperature: float) -> Tensor:
    """Where each query looks in the reference, on average over heads (Leffa, Eq. 2-3).

    This is attention whose values are coordinates, so the L x L map is never stored.

    Args:
        query: (B, N, L, D), the generative tokens.
        key: (B, N, h*w, D), the reference tokens.
        key_grid: (h, w) of the reference tokens.
        temperature: tau > 0; it divides the logits, so larger is smoother.

    Returns:
        (B, L, 2) as (x, y) in [-1, 1], corner-aligned: the convention of
        `grid_sample(align_corners=True)`. At least float32, although with bfloat16 attention the
        coordinates are only accurate to 8 bits (about 0.004).

    Raises:
        ValueError: the grid does not match the keys, or the temperature is not positive.
    """
    batch, heads, tokens, width = key.shape
    if tokens != key_grid[0] * key_grid[1]:
        raise ValueError(f"key_grid {key_grid} does not fit the keys, which have {tokens} tokens")
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    value = coordinates(key_grid, device=key.device, dtype=key.dtype)
    # Padded to the head width: the fused kernels need values as wide as the keys.
    padded = F.pad(value, (0, max(width - 2, 0))).expand(batch, heads, -1, -1)
    scale = 1.0 / (temperature * math.sqrt(width))
    positions = F.scaled_dot_product_attention(query, key, padded, scale=scale)
    return at_least_float32(positions[..., :2]).mean(dim=1)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` where `flow` points, at the image's own resolution (Leffa, section 3.2).

    Args:
        image: (B, C, H, W).
        flow: (B, h, w, 2) absolute (x, y) in [-1, 1]; upsampled bilinearly to (H, W) if it is
            smaller.

    Returns:
        (B, C, H, W) in the image's dtype. Positions outside the image sample its border, and NaN in
        the flow gives NaN. Computed in at least float32: bfloat16 coordinates cannot address
        single pixels.
    """
    precision = torch.promote_types(torch.promote_types(image.dtype, flow.dtype), torch.float32)
    grid = upsample(flow.to(precision), image.shape[-2:])
    # PyTorch's own kernel reads outside of its memory at such places, and may end the process.
    nonfinite = grid.isnan().any(dim=-1)
    grid = grid.masked_fill(nonfinite[..., None], 0.0)
    warped = F.grid_sample(image.to(precision), grid, padding_mode="border", align_corners=True)
    return warped.masked_fill(nonfinite[:, None], torch.nan).to(image.dtype)


def upsample(flow: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Resize a (B, h, w, 2) flow field bilinearly to `size` = (H, W), with aligned corners."""
    if flow.shape[1:3] == tuple(size):
        return flow
    planes = flow.movedim(-1, 1)
    return F.interpolate(planes, size=tuple(size), mode="bilinear", align_corners=True).movedim(
        1, -1
    )


class LeffaLossOutput(NamedTuple):
    """Output of `LeffaLoss`: multiply `total` by the weight, log `layers`."""

    total: Tensor  #: () unweighted; exactly 0 if no sample was selected
    layers: dict[str, Tensor]  #: () for each layer, unweighted


class LeffaLoss(nn.Module):
    """The warped reference must equal the target inside a region (Leffa, Eq. 4-5).

    Reduction: the mean over the region's pixels and channels for each sample; then the sum over the
    selected samples, divided by their expected number; then the sum over layers, as in Eq. 4. The
    expected value is the loss of one selected sample, and averaging over micro-batches or devices
    gives the loss of the whole batch. A mean over the selected samples would do neither: a
    micro-batch with one selected sample would count as much as one with ten.

    The paper's literal sum over pixels would depend on the resolution, and its lambda of 1e-3 would
    be far too large; `reduction="sum"` computes it for comparison.

    Args:
        weight: lambda, to be multiplied by the caller; `forward` returns the unweighted loss.
        temperature: tau.
        min_resolution: theta_resolution, see `FlowRequest`.
        max_timestep: theta_timestep, for diffusion; only samples with t < max_timestep take part.
        strict: see `FlowRequest`.
        layers: "all"; "auto", the `auto_layers` layers whose flow is closest to the ground truth
            when the loss is first enabled; or names and patterns, see `FlowRequest`.
        auto_layers: number of layers for "auto".
        reduction: "mean" over the region per sample, or the literal "sum".
        blur: standard deviation, as a share of the image height, of the Gaussian blur applied to
            reference and target before comparing them; 0, as in the paper, for none. In untrained
            attention, sharp detail gives the flow strong gradients in no useful direction
            (benchmarks/loss_landscape.py), so training from scratch needs a blur.
        enabled: whether training adds the loss; if not, it still sets how flows are read.
        max_sigma: the threshold for flow matching; only samples with sigma < max_sigma take part.
            At the default, the noise-to-signal ratio sigma / (1 - sigma) is that of Stable
            Diffusion at t = 499.
    """

    name: str = "leffa"  #: `attention_loss`
    needs_tokens = False  # queries and keys of every layer, beside its flow
    needs_ground_truth = False  # the ground-truth flow
    needs_matches = False  # stored ones
    has_target = True  # whether it says where to look

    def __init__(
        self,
        weight: float = 1e-3,
        temperature: float = 2.0,
        min_resolution: float = 1 / 32,
        max_timestep: int = MAX_TIMESTEP,
        strict: bool = False,
        reduction: Literal["mean", "sum"] = "mean",
        blur: float = 0.0,
        enabled: bool = True,
        layers: str | Sequence[str] = "all",
        auto_layers: int = 1,
        max_sigma: float = MAX_SIGMA,
    ) -> None:
        super().__init__()
        if not isinstance(enabled, bool):
            raise ValueError(f"leffa_loss.enabled must be true or false, got {enabled!r}")
        if temperature <= 0:
            raise ValueError(f"leffa_loss.temperature must be positive, got {temperature}")
        if weight < 0:
            raise ValueError(f"leffa_loss.weight must not be negative, got {weight}")
        check_choice("leffa_loss.reduction", reduction, ("mean", "sum"))
        if blur < 0:
            raise ValueError(f"leffa_loss.blur must not be negative, got {blur}")
        if not isinstance(auto_layers, int) or auto_layers < 1:
            raise ValueError(
                f"leffa_loss.auto_layers must be a positive whole number, got {auto_layers}"
            )
        if isinstance(max_timestep, bool) or not isinstance(max_timestep, (int, float)):
            raise ValueError(f"leffa_loss.max_timestep must be a number, got {max_timestep!r}")
        if not 0 <= max_sigma <= 1:
            raise ValueError(f"leffa_loss.max_sigma must lie in [0, 1], got {max_sigma}")
        self.enabled = enabled
        self.weight = weight
        self.temperature = temperature
        self.min_resolution = min_resolution
        self.max_timestep = max_timestep
        self.max_sigma = max_sigma
        self.strict = strict
        self.reduction = reduction
        self.blur = blur
        self.auto_layers = auto_layers
        self.choose_by_match = layers == "auto"
        # The patterns of the layers that take part; None: all, or not chosen yet.
        self.layers = None if layers in ("all", "auto") else as_patterns(layers)

    @property
    def active(self) -> bool:
        """Whether it adds anything; runs from before `enabled` have a weight of 0 instead."""
        return self.enabled and self.weight > 0

    @property
    def to_be_chosen(self) -> bool:
        """Whether "auto" has not chosen its layers yet."""
        return self.choose_by_match and self.layers is None

    @property
    def title(self) -> str:
        """The name of this loss in reports and logs."""
        return "Leffa loss" if self.name == "leffa" else f"attention_loss={self.name}"

    def gate(self, schedule: NoiseSchedule) -> float:
        """The timestep below which samples take part, by the setting that gates this kind."""
        return schedule.gate(getattr(self, schedule.gated_by))

    def check_gate(self, schedule: NoiseSchedule) -> None:
        """Raise ValueError where the gate of the other kind of schedule, which is unused, was set;
        one that admits every sample is allowed, so that an experiment serves both kinds."""
        gates = {"max_timestep": (MAX_TIMESTEP, schedule.steps), "max_sigma": (MAX_SIGMA, 1)}
        for name, (usual, every) in gates.items():
            if name != schedule.gated_by and usual != (value := getattr(self, name)) < every:
                raise ValueError(
                    f"leffa_loss.{name}={value}: this model is trained by {schedule.kind}, where "
                    f"leffa_loss.{schedule.gated_by} says which samples take part; give that, and "
                    f"leave leffa_loss.{name} at {usual}"
                )

    def describe(self, gated_by: Gate = "max_timestep") -> str:
        """Its settings in a line, for logs."""
        sigma = f"sigma below {self.max_sigma:g}"
        noise = sigma if gated_by == "max_sigma" else f"timesteps below {self.max_timestep}"
        layers = "" if self.layers is None else f", {' '.join(self.layers)}"
        return (
            f"on: weight {self.weight:g}, temperature {self.temperature:g}, layers from "
            f"{self.min_resolution:g} of the height{layers}, {noise}"
        )

    def select(
        self, timesteps: Tensor, usable: Tensor | None = None, below: float | None = None
    ) -> Tensor:
        """Indices (S,) of the samples that take part: timesteps below `below` (None: below
        `max_timestep`), and `usable` (B,) where given.

        Their number must be known, so with timesteps on a GPU this waits for it."""
        early = timesteps < (self.max_timestep if below is None else below)
        chosen = (early if usable is None else early & usable).tolist()
        indices = [index for index, takes_part in enumerate(chosen) if takes_part]
        return torch.tensor(indices, dtype=torch.long, device=timesteps.device)

    def request(
        self,
        samples: Tensor | None = None,
        sharpness: bool = False,
        tap: AttentionTap | None = None,
    ) -> FlowRequest:
        """What to ask the model for, of samples (S,); see `FlowRequest`."""
        return FlowRequest(
            self.temperature,
            self.min_resolution,
            self.strict,
            samples,
            sharpness,
            tap=tap,
            layers=self.layers,
        )

    def forward(
        self,
        flows: Mapping[str, Tensor],
        reference: Tensor,
        target: Tensor,
        region: Tensor,
        expected_samples: float,
        tokens: Mapping[str, LayerTokens] | None = None,
        ground_truth: tuple[Tensor, Tensor] | None = None,
        matches: Tensor | None = None,
    ) -> LeffaLossOutput:
        """The loss of S samples, in float32 or better also under autocast.

        Args:
            flows: per layer (S, h_l, w_l, 2).
            reference, target: (S, 3, H, W) in [-1, 1].
            region: (S, 1, H, W) 0 or 1.
            expected_samples: how many samples of such a batch are selected on average: its size
                times the probability that a sample is selected. Where all take part, S.
            tokens, ground_truth, matches: what losses of `losses.attention` need: queries and keys;
                the true flow (S, H, W, 2), and where it is known (S, 1, H, W); stored ones.

        Raises:
            ValueError: `expected_samples` is not positive.
        """
        if expected_samples <= 0:
            raise ValueError(f"expected_samples must be positive, got {expected_samples}")
        sigma, tokens = self.blur * reference.shape[-2], tokens or {}
        with without_autocast(reference):
            pictures = (
                gaussian_blur(at_least_float32(each), sigma) for each in (reference, target)
            )
            known = (at_least_float32(each) for each in (region, *(ground_truth or ())))
            supervision = Supervision(*pictures, *known)._replace(matches=matches)
            layers = {
                name: self.per_sample(flow, tokens.get(name), supervision).sum() / expected_samples
                for name, flow in flows.items()
            }
            total = sum(layers.values(), start=supervision.reference.new_zeros(()))
        return LeffaLossOutput(total, layers)

    def per_sample(
        self, flow: Tensor, tokens: LayerTokens | None, supervision: Supervision
    ) -> Tensor:
        """The loss (S,) of each sample in one layer."""
        reference, target, region = supervision[:3]
        error = (warp(reference, flow) - target).square() * region
        per_sample = error.sum(dim=(1, 2, 3))
        if self.reduction == "mean":
            per_sample = per_sample / (region.sum(dim=(1, 2, 3)).clamp_min(1) * reference.shape[1])
        return per_sample
