"""The SCHP network: a ResNet-101 with three branches (Li et al., 2019, arXiv 1910.09777).

    parsing   pooled context (PSP) on the deepest features, refined with the shallowest
    edge      the outlines of the labels, from three depths
    fusion    parsing once more, from what the other two have learnt

Names and shapes of the weights are those of the authors' released files, so they load as they are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from leffa.io.weights import fill, load_weights

_SLOPE = 0.01
_POOLED = (1, 2, 3, 6)
_PREFIX = "module."  # the authors trained with DataParallel
_COUNTER = "num_batches_tracked"


class SCHPOutput(NamedTuple):
    """Scores at a quarter of the input's resolution."""

    parsing: Tensor  # (B, C, h, w)
    fusion: Tensor  # (B, C, h, w): the result
    edge: Tensor  # (B, 2, h, w)


class ActivatedNorm(nn.BatchNorm2d):
    """Batch norm followed by a leaky ReLU, in one module as in the authors' layout."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(super().forward(x), _SLOPE)


class SCHP(nn.Module):
    """The network.

    Args:
        classes: of the label set: 20 for LIP, 18 for ATR.
        blocks: residual blocks of the four stages; the default is ResNet-101's.
        width: channels of the first layers; all others follow. 64 is the authors'.
    """

    def __init__(
        self, classes: int, blocks: Sequence[int] = (3, 4, 23, 3), width: int = 64
    ) -> None:
        super().__init__()
        self.classes = classes
        w = width
        self.conv1, self.bn1 = _conv(3, w, 3, stride=2), nn.BatchNorm2d(w)
        self.conv2, self.bn2 = _conv(w, w, 3), nn.BatchNorm2d(w)
        self.conv3, self.bn3 = _conv(w, 2 * w, 3), nn.BatchNorm2d(2 * w)
        self.layer1 = _stage(2 * w, w, blocks[0])
        self.layer2 = _stage(4 * w, 2 * w, blocks[1], stride=2)
        self.layer3 = _stage(8 * w, 4 * w, blocks[2], stride=2)
        self.layer4 = _stage(16 * w, 8 * w, blocks[3], dilation=2)
        self.context_encoding = ContextEncoding(32 * w, 8 * w)
        self.edge = EdgeBranch((4 * w, 8 * w, 16 * w), 4 * w)
        self.decoder = ParsingBranch(8 * w, 4 * w, 3 * w // 4, classes)
        self.fushion = nn.Sequential(  # spelt as in the released files
            _conv(16 * w, 4 * w),
            ActivatedNorm(4 * w),
            nn.Dropout2d(0.1),
            nn.Conv2d(4 * w, classes, 1),
        )

    def forward(self, x: Tensor) -> SCHPOutput:
        """Score (B, 3, H, W), BGR and normalised as in `schp.to_square`."""
        for conv, norm in (
            (self.conv1, self.bn1),
            (self.conv2, self.bn2),
            (self.conv3, self.bn3),
        ):
            x = functional.relu(norm(conv(x)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        quarter = self.layer1(x)
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        context = self.context_encoding(self.layer4(sixteenth))
        parsing, parsing_features = self.decoder(context, quarter)
        edge, edge_features = self.edge(quarter, eighth, sixteenth)
        fusion = self.fushion(torch.cat([parsing_features, edge_features], dim=1))
        return SCHPOutput(parsing, fusion, edge)


class ContextEncoding(nn.Module):
    """Averages over coarse grids of the picture, beside the features (PSPNet)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), _conv(channels, out), ActivatedNorm(out))
            for side in _POOLED
        )
        self.bottleneck = nn.Sequential(
            _conv(channels + len(_POOLED) * out, out, 3), ActivatedNorm(out)
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = [_grow(stage(x), x) for stage in self.stages]
        features: Tensor = self.bottleneck(torch.cat([*pooled, x], dim=1))
        return features


class EdgeBranch(nn.Module):
    """Outlines from three depths; they share the layer that scores them."""

    def __init__(self, channels: tuple[int, int, int], out: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            nn.Sequential(_conv(depth, out), ActivatedNorm(out)) for depth in channels
        )
        self.conv4 = nn.Conv2d(out, 2, 3, padding=1)
        self.conv5 = nn.Conv2d(6, 2, 1)

    def forward(self, quarter: Tensor, eighth: Tensor, sixteenth: Tensor) -> tuple[Tensor, Tensor]:
        features = [self.conv1(quarter), self.conv2(eighth), self.conv3(sixteenth)]
        edges = torch.cat([_grow(self.conv4(x), quarter) for x in features], dim=1)
        return self.conv5(edges), torch.cat([_grow(x, quarter) for x in features], dim=1)


class ParsingBranch(nn.Module):
    """The context, refined with features of a quarter of the resolution (DeepLab v3+)."""

    def __init__(self, context: int, channels: int, detail: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(_conv(context, channels), ActivatedNorm(channels))
        self.conv2 = nn.Sequential(_conv(channels, detail), ActivatedNorm(detail))
        self.conv3 = nn.Sequential(
            _conv(channels + detail, channels),
            ActivatedNorm(channels),
            _conv(channels, channels),
            ActivatedNorm(channels),
        )
        self.conv4 = nn.Conv2d(channels, classes, 1)

    def forward(self, context: Tensor, quarter: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([_grow(self.conv1(context), quarter), self.conv2(quarter)], dim=1)
        x = self.conv3(x)
        return self.conv4(x), x


class Bottleneck(nn.Module):
    """A residual block: 1x1, 3x3, 1x1 convolutions."""

    def __init__(self, channels: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, planes), nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride, dilation)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = _conv(planes, 4 * planes), nn.BatchNorm2d(4 * planes)
        self.downsample = (
            nn.Sequential(_conv(channels, 4 * planes, 1, stride), nn.BatchNorm2d(4 * planes))
            if stride != 1 or channels != 4 * planes
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return functional.relu(out + (x if self.downsample is None else self.downsample(x)))


def load_schp(path: str | Path, classes: int) -> SCHP:
    """The network with the authors' weights, for inference.

    The authors normalise with |gain| + eps (in-place activated batch norm), so the gains are taken
    without their sign.

    Args:
        path: a file such as `exp-schp-201908261155-lip.pth`.
        classes: of the label set.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not plain tensors, or not of this network.
    """
    with torch.device("meta"):
        model = SCHP(classes)
    state = {key.removeprefix(_PREFIX): value for key, value in load_weights(path).items()}
    counters = [key for key in model.state_dict() if key.endswith(_COUNTER)]
    fill(model, {key: torch.tensor(0) for key in counters} | state, str(path))
    take_absolute_gains(model)
    return model.eval()


def take_absolute_gains(model: nn.Module) -> None:
    """Give every batch norm the gain |gain| + eps."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = module.weight.data.abs() + module.eps


def _conv(channels: int, out: int, side: int = 1, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    padding = side // 2 * dilation
    return nn.Conv2d(channels, out, side, stride, padding, dilation, bias=False)


def _stage(
    channels: int, planes: int, count: int, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    first = Bottleneck(channels, planes, stride, dilation)
    rest = (Bottleneck(4 * planes, planes, 1, dilation) for _ in range(count - 1))
    return nn.Sequential(first, *rest)


def _grow(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
