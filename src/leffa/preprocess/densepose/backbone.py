"""ResNet-50 with a feature pyramid (He et al., 2016; Lin et al., 2017), as DensePose uses it.

Names of modules are those of the published weights. Batch norm is frozen: a scale and a shift.
"""

from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

CHANNELS = 256  # of every level of the pyramid
STAGES = ((2, 64, 3), (3, 128, 4), (4, 256, 6), (5, 512, 3))  # number, inner channels, blocks
CELL = 32  # pixels of the coarsest stage's cell: sides of an image are multiples of it


class NormedConv(nn.Conv2d):
    """A convolution whose frozen norm is part of its weights."""

    def __init__(self, channels: int, out: int, side: int, stride: int = 1) -> None:
        super().__init__(channels, out, side, stride, side // 2, bias=False)
        self.norm = FrozenBatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.norm.weight * (self.norm.running_var + self.norm.eps).rsqrt()
        shift = self.norm.bias - self.norm.running_mean * scale
        return self._conv_forward(x, self.weight * scale.view(-1, 1, 1, 1), shift)


class Bottleneck(nn.Module):
    """A residual block whose stride is in its first convolution."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out = 4 * inner
        self.shortcut = NormedConv(channels, out, 1, stride) if channels != out else None
        self.conv1 = NormedConv(channels, inner, 1, stride)
        self.conv2 = NormedConv(inner, inner, 3)
        self.conv3 = NormedConv(inner, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        within = self.conv2(self.conv1(x).relu_()).relu_()
        beside = x if self.shortcut is None else self.shortcut(x)
        return self.conv3(within).add_(beside).relu_()


class ResNet50(nn.Module):
    """Four feature maps, at 1/4 to 1/32."""

    def __init__(self) -> None:
        super().__init__()
        channels = 64
        self.stem = nn.ModuleDict({"conv1": NormedConv(3, channels, 7, 2)})
        for number, inner, blocks in STAGES:
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(Bottleneck(channels, inner, 2 if number > 2 and block == 0 else 1))
                channels = 4 * inner
            self.add_module(f"res{number}", stage)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [functional.max_pool2d(self.stem["conv1"](x).relu_(), 3, 2, 1)]
        for number, _, _ in STAGES:
            maps.append(self.get_submodule(f"res{number}")(maps[-1]))
        return maps[1:]


class Pyramid(nn.Module):
    """Five maps of `CHANNELS`, p2 to p6, at 1/4 to 1/64."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom_up = ResNet50()
        for number, inner, _ in STAGES:
            self.add_module(f"fpn_lateral{number}", nn.Conv2d(4 * inner, CHANNELS, 1))
            self.add_module(f"fpn_output{number}", nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Of images (B, 3, H, W) whose sides are multiples of `CELL`."""
        seen = self.bottom_up(picture)
        levels: list[Tensor] = []
        above: Tensor | None = None
        for number in (5, 4, 3, 2):
            within = self.get_submodule(f"fpn_lateral{number}")(seen[number - 2])
            if above is not None:
                within += functional.interpolate(above, scale_factor=2.0, mode="nearest")
            levels.insert(0, self.get_submodule(f"fpn_output{number}")(within))
            above = within
        return [*levels, levels[-1][..., ::2, ::2]]
