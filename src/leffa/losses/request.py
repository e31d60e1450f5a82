"""What to read out of a model's attention (layers, samples, temperature), and what a loss on that
attention receives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import Tensor

# Called with a layer's name, its query and reference key (S, N, L, D), and the grids of both.
AttentionTap = Callable[[str, Tensor, Tensor, tuple[int, int], tuple[int, int]], None]


class LayerTokens(NamedTuple):
    """Queries and keys of a layer's attention on the reference."""

    query: Tensor  #: (S, N, L, D)
    key: Tensor  #: (S, N, h*w, D)
    key_grid: tuple[int, int]  #: (h, w) of the reference tokens


class Supervision(NamedTuple):
    """The targets for the attention of S samples, in float32 or better."""

    reference: Tensor  #: (S, 3, H, W)
    target: Tensor  #: (S, 3, H, W)
    region: Tensor  #: (S, 1, H, W) 0 or 1
    flow: Tensor | None = None  #: (S, H, W, 2), the ground truth
    flow_valid: Tensor | None = None  #: (S, 1, H, W) 1 where the flow is known, else 0
    matches: Tensor | None = None  #: (S, P, 4) stored matches, padded with NaN


def keep_tokens(tokens: dict[str, LayerTokens]) -> AttentionTap:
    """A tap that stores queries and keys in `tokens`, by layer name."""

    def tap(
        name: str, query: Tensor, key: Tensor, grid: tuple[int, int], key_grid: tuple[int, int]
    ) -> None:
        tokens[name] = LayerTokens(query, key, key_grid)

    return tap


@dataclass(frozen=True)
class FlowRequest:
    """What to read out of a model's attention during one prediction.

    Args:
        temperature: tau of Eq. 2.
        min_resolution: theta_resolution; layers with h_l / H of at least this return a flow.
        strict: compare with > instead of >=. The paper writes "greater than" but reports a result
            for 1/8 that is only possible with >=, so >= is the default.
        layers: layers to read: names, dotted prefixes ("down_blocks.0") or patterns of either
            ("up_blocks.[12]"); None for all.
        samples: indices (S,) of the samples to read; None for all. The others cost nothing.
        sharpness: also measure peak mass and entropy of these layers (for monitoring; slower).
        share: also read the reference's share of the joint attention (`reference_share`).
        tap: called with the queries and keys of each of these layers.
    """

    temperature: float = 2.0
    min_resolution: float = 1 / 32
    strict: bool = False
    samples: Tensor | None = None
    sharpness: bool = False
    share: bool = False
    tap: AttentionTap | None = None
    layers: tuple[str, ...] | None = None

    def wants(self, name: str, layer_height: int, image_height: int) -> bool:
        """Whether the layer of this name and height takes part, for an image of this height."""
        ratio = layer_height / image_height
        fine = ratio > self.min_resolution if self.strict else ratio >= self.min_resolution
        return fine and self._names(name)

    def of_layer(self, name: str) -> "FlowRequest | None":
        """The request for the layer of this name only, valid under any name, its tap called with
        this one; None if the layer is not requested."""
        tap = self.tap
        named: AttentionTap | None = (
            None if tap is None else lambda _, query, key, *grids: tap(name, query, key, *grids)
        )
        return replace(self, layers=None, tap=named) if self._names(name) else None

    def _names(self, name: str) -> bool:
        return self.layers is None or any(matches(name, each) for each in self.layers)


def matches(layer: str, pattern: str) -> bool:
    """Whether a layer's dotted name, or a dotted prefix of it, matches the pattern."""
    return fnmatchcase(layer, pattern) or fnmatchcase(layer, f"{pattern}.*")


def as_patterns(
    layers: str | Sequence[str], known: str = "leffa_loss.layers must be all, auto"
) -> tuple[str, ...]:
    """One pattern or several, as `FlowRequest.layers` has them.

    Args:
        known: start of the error message: the key, and what else it accepts.

    Raises:
        ValueError: there is no pattern.
    """
    patterns = (layers,) if isinstance(layers, str) else ()
    if isinstance(layers, list | tuple):
        patterns = tuple(layers)
    if not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise ValueError(f"{known}, or names of layers, got {layers!r}")
    return patterns
