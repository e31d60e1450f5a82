"""LPIPS: the distance between deep features of two images, weighted as people judged.

The linear layers come with the `lpips` package; the backbone is a file of torchvision's.
"""

import warnings
from typing import Literal

import lpips
import torch
from torch import Tensor, nn

from leffa.metrics.paired import PerImageMetric, full_batches
from leffa.metrics.weights import WeightsFile

LpipsNet = Literal["alex", "squeeze", "vgg"]


_FILES: dict[LpipsNet, tuple[str, str]] = {
    "alex": ("alexnet-owt-7be5be79.pth", "7be5be79"),
    "squeeze": ("squeezenet1_1-b8a52dc0.pth", "b8a52dc0"),
    "vgg": ("vgg16-397923af.pth", "397923af"),
}
LPIPS_BACKBONES = {
    net: WeightsFile(
        name, sha256, f"https://download.pytorch.org/models/{name}", "leffa weights fetch metrics"
    )
    for net, (name, sha256) in _FILES.items()
}


class LPIPS(PerImageMetric):
    """Learned perceptual image patch similarity (Zhang et al., 2018), version 0.1.

    Args:
        net: a backbone's name, or a network that maps two images in [-1, 1] to (B, 1, 1, 1).
        drop_last: leave out the last images that do not fill a batch of this many, as PIDM does.

    Raises:
        MissingWeights: the backbone's ImageNet weights are not on this machine.
    """

    def __init__(self, net: LpipsNet | nn.Module = "alex", drop_last: int | None = None) -> None:
        super().__init__()
        self.drop_last = drop_last
        network = net if isinstance(net, nn.Module) else load_lpips(net)
        self.network = network.eval().requires_grad_(False)

    def score(self, pred: Tensor, true: Tensor) -> Tensor:
        """The distance of each pair (B, 3, H, W) in [0, 1], (B,)."""
        distances: Tensor = self.network(2 * pred.float() - 1, 2 * true.float() - 1)
        return distances.flatten()

    def aggregate(self, values: Tensor) -> Tensor:
        """The mean over the images that are kept."""
        return super().aggregate(values[..., : full_batches(values.shape[-1], self.drop_last)])


def load_lpips(net: LpipsNet) -> nn.Module:
    """LPIPS: linear layers from the `lpips` package, backbone from its torchvision file."""
    file = LPIPS_BACKBONES[net].locate()
    network = untrained_lpips(net)
    backbone: nn.Module = network.get_submodule("net")
    trained = torch.load(file, map_location="cpu", weights_only=True)
    # The package cuts torchvision's `features` into slices and keeps the layers' numbers.
    layers = {key: f"features.{key.split('.', 1)[1]}" for key in backbone.state_dict()}
    backbone.load_state_dict({ours: trained[theirs] for ours, theirs in layers.items()})
    return network


def untrained_lpips(net: LpipsNet) -> nn.Module:
    """LPIPS with its trained linear layers on a random backbone; downloads nothing."""
    with warnings.catch_warnings():
        # The package still calls torchvision with `pretrained=False`, which torchvision deprecates.
        warnings.filterwarnings("ignore", category=UserWarning, module="torchvision")
        network: nn.Module = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    return network
