"""The source encoder: a Swin Transformer that sees the reference image, at its own size."""

import importlib
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leffa.io.terminal import first_line
from leffa.io.weights import check_state, load_weights, read_pickle
from leffa.losses.precision import at_least_float32
from leffa.losses.schedule import Generators, draw
from leffa.models.latent import network_input
from leffa.models.loading import is_hub_id

SWIN = "timm.models.swin_transformer"


class SourceEncoder(nn.Module):
    """Features of an image at four sizes, each half the one before (Swin, arXiv 2103.14030).

    Args:
        image_size: height and width at which it looks, in pixels; images are squashed to it.
        embed_dim: channels of the first stage; each stage doubles them.
        depths, num_heads: of each stage.
        window_size: of the attention, in patches of 4 pixels.
        drop_path_rate: of stochastic depth, in training.
    """

    def __init__(
        self,
        image_size: int = 256,
        embed_dim: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        num_heads: Sequence[int] = (4, 8, 16, 32),
        window_size: int = 16,
        drop_path_rate: float = 0.2,
    ) -> None:
        super().__init__()
        stride = 2 ** (len(depths) + 1)
        if image_size % stride:
            raise ValueError(
                f"model.encoder.image_size={image_size}: is not a multiple of {stride}, one cell "
                f"of the last of its {len(depths)} stages"
            )
        self.image_size = image_size
        self.channels = [embed_dim * 2**stage for stage in range(len(depths))]
        self.last_grid = (image_size // stride, image_size // stride)
        self.swin = _timm().SwinTransformer(
            img_size=image_size,
            embed_dim=embed_dim,
            depths=tuple(depths),
            num_heads=tuple(num_heads),
            window_size=window_size,
            drop_path_rate=drop_path_rate,
            num_classes=0,
        )
        self.swin.norm = nn.Identity()  # the last stage is read as it is
        self.paths = _replace_drop_paths(self.swin)

    def draw_paths(
        self, samples: int, generators: Generators = None, device: torch.device | None = None
    ) -> None:
        """Draw which residual paths the next pass skips in which samples, in training."""
        if not self.paths:
            return
        drawn = draw(torch.rand, (samples, len(self.paths)), generators, device).unbind(dim=1)
        for path, chance in zip(self.paths, drawn, strict=True):
            path.kept = (chance >= path.rate) / (1 - path.rate) if self.training else None

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) in [-1, 1] to a feature map (B, C, h, w) of each stage, finest first."""
        size = (self.image_size, self.image_size)
        if image.shape[-2:] != size:
            # At least float32: there is no such kernel for 16 bits everywhere.
            image = F.interpolate(at_least_float32(image), size, mode="bicubic", antialias=True)
        stages: list[Tensor] = self.swin.forward_intermediates(
            network_input(self.swin, image), intermediates_only=True
        )
        return stages


class StochasticDepth(nn.Module):
    """Skips a residual path in some samples (arXiv 1603.09382), as timm's `DropPath` does.

    The samples are drawn before the pass: timm draws from the global generator for a whole batch,
    so a sample would depend on its micro-batch. The draw stays until the next one, since gradient
    checkpointing repeats the pass.

    Args:
        rate: how often the path is skipped, below 1.
    """

    kept: Tensor | None = None  # (B,) 0 or 1 / (1 - rate); None: all

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, path: Tensor) -> Tensor:
        """(B, ...) of the residual path."""
        if self.kept is None:
            return path
        return path * self.kept.to(path.dtype).view(-1, *[1] * (path.ndim - 1))


def _replace_drop_paths(swin: nn.Module) -> list[StochasticDepth]:
    drop_path = importlib.import_module("timm.layers").DropPath
    paths = []
    for name, module in list(swin.named_modules()):
        if isinstance(module, drop_path):
            paths.append(StochasticDepth(module.drop_prob))
            swin.set_submodule(name, paths[-1])
    return paths


def load_encoder(encoder: SourceEncoder, weights: str | Path) -> None:
    """Fill the encoder with a Swin of the same width: a file, Microsoft's or timm's, or a hub id.
    Biases of another window are interpolated.

    Raises:
        FileNotFoundError: there is no such file, or the hub does not give it.
        ValueError: the weights are of another Swin.
    """
    wanted = encoder.swin.state_dict()
    state = _timm().checkpoint_filter_fn(_resized(_read(weights), wanted), encoder.swin)
    state = {key: value for key, value in state.items() if not key.startswith(("head.", "norm."))}
    check_state(f"model.encoder_weights={weights}", state, wanted)
    encoder.swin.load_state_dict(state)


def _resized(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Biases (D, N) resized bicubically to the distances of the encoder, as the authors do."""
    resized = dict(state)
    for key, table in state.items():
        if not key.endswith("relative_position_bias_table") or key not in wanted:
            continue
        before, after = (math.isqrt(each.shape[0]) for each in (table, wanted[key]))
        if before != after and table.shape == (before**2, wanted[key].shape[1]):
            plane = table.T.unflatten(1, (before, before))[None]
            plane = F.interpolate(plane, (after, after), mode="bicubic")[0]
            resized[key] = plane.flatten(1).T.contiguous()
    return resized


def _read(weights: str | Path) -> dict[str, Tensor]:
    path = Path(weights)
    if path.is_file() and path.suffix != ".safetensors":
        content: Any = read_pickle(path)
        # Microsoft's files hold the weights beside the settings of the training.
        if isinstance(content, dict) and isinstance(content.get("model"), dict):
            return content["model"]
    if path.is_file() or not is_hub_id(str(weights)):
        return load_weights(path)  # it says where there is no such file
    hub = importlib.import_module("timm.models._hub")
    try:
        state: dict[str, Tensor] = hub.load_state_dict_from_hf(str(weights), weights_only=True)
    except OSError as error:  # of the network, and of a hub that knows no such name
        reason = first_line(error)
        raise FileNotFoundError(
            f"model.encoder_weights={weights}: no such file here, and the hub did not give it "
            f"({reason}); give the path of your copy"
        ) from error
    return state


def _timm() -> Any:
    """timm's Swin module: imported here, since no other model needs timm."""
    if importlib.util.find_spec("timm") is None:
        raise ValueError("model=cfld needs the package timm: pip install timm")
    return importlib.import_module(SWIN)
