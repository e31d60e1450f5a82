"""DensePose from its published weights: R50-FPN with s1x schedule (Guler et al., 2018), as
detectron2 trained it (`model_final_162be9.pkl`), in PyTorch and torchvision.

picture -> pyramid -> proposals -> people (boxes, scores)
                  \\-> decoder ----> charts of each person

Its numbers are those of `densepose_rcnn_R_50_FPN_s1x.yaml`, with the demos' threshold for a person.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from leffa.preprocess.densepose.backbone import CELL, CHANNELS, Pyramid
from leffa.preprocess.densepose.chart import Channels, ChartDensePose, ChartOutput, UVRange
from leffa.preprocess.densepose.pickled import load_arrays
from leffa.preprocess.densepose.proposals import Proposals, apply_deltas
from leffa.preprocess.parsing.schp import fill

_MEAN = (103.53, 116.28, 123.675)  # of blue, green, red; subtracted in the order that is given
_SHORTER, _LONGER = 800, 1333  # sides that a picture is brought to
_PERSON = 0.5  # the least score
_OVERLAP = 0.5  # of two people, at most
_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_BOX_CELLS, _CHART_CELLS = 7, 28
_POOLED_WIDTH, _HEAD_WIDTH = 1024, 512
# Charts by their names in the file, with their channels.
_CHARTS = {"ann_index_lowres": 2, "index_uv_lowres": 25, "u_lowres": 25, "v_lowres": 25}
# What files of detectron2 hold beside weights; the numbers are those above.
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors")


class BoxHead(nn.Module):
    """What a pooled box (N, C, 7, 7) shows, (N, 1024)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(CHANNELS * _BOX_CELLS**2, _POOLED_WIDTH)
        self.fc2 = nn.Linear(_POOLED_WIDTH, _POOLED_WIDTH)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.fc2(self.fc1(pooled.flatten(1)).relu_()).relu_()


class BoxPredictor(nn.Module):
    """Logits of (person, nobody), (N, 2), and how to move the box, (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_score = nn.Linear(_POOLED_WIDTH, 2)
        self.bbox_pred = nn.Linear(_POOLED_WIDTH, 4)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(seen), self.bbox_pred(seen)


class Decoder(nn.Module):
    """One map at 1/4 from p2 to p5: each is brought to its size by steps of two."""

    def __init__(self) -> None:
        super().__init__()
        for steps, name in enumerate(("p2", "p3", "p4", "p5")):
            layers = nn.Sequential()
            for _ in range(max(steps, 1)):
                layers.append(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1))
                layers.append(_Doubled() if steps else nn.ReLU(inplace=True))
            self.add_module(name, layers)
        self.predictor = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        named = zip(("p2", "p3", "p4", "p5"), levels, strict=True)
        decoded: Tensor = self.predictor(sum(self.get_submodule(name)(x) for name, x in named))
        return decoded


class _Doubled(nn.Module):
    """What follows a convolution of the decoder that ends at twice the size."""

    def forward(self, x: Tensor) -> Tensor:
        return _double(x.relu_())


class ChartHead(nn.Module):
    """Eight convolutions on a pooled person (N, C, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(1, 9):
            entering = CHANNELS if number == 1 else _HEAD_WIDTH
            self.add_module(
                f"body_conv_fcn{number}", nn.Conv2d(entering, _HEAD_WIDTH, 3, padding=1)
            )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x).relu_()
        return x


class ChartPredictor(nn.Module):
    """Foreground, parts, U and V of each person on 112x112 cells, in the order of `_CHARTS`."""

    def __init__(self) -> None:
        super().__init__()
        for name, channels in _CHARTS.items():
            layer = nn.ConvTranspose2d(_HEAD_WIDTH, channels, 4, stride=2, padding=1)
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [_double(layer(x)) for layer in self.children()]


class RegionHeads(nn.Module):
    """What is looked at box by box."""

    def __init__(self) -> None:
        super().__init__()
        self.box_head = BoxHead()
        self.box_predictor = BoxPredictor()
        self.decoder = Decoder()
        self.densepose_head = ChartHead()
        self.densepose_predictor = ChartPredictor()

    def people(
        self, levels: Sequence[Tensor], proposals: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) of people and their scores (N,), surest first."""
        logits, deltas = self.box_predictor(self.box_head(pool_by_level(levels, proposals)))
        boxes = clip_boxes_to_image(apply_deltas(deltas, proposals, _BOX_WEIGHTS), size)
        scores = logits.softmax(dim=1)[:, 0]
        sure = scores > _PERSON
        boxes, scores = boxes[sure], scores[sure]
        kept = nms(boxes, scores, _OVERLAP)
        return boxes[kept], scores[kept]

    def charts(self, levels: Sequence[Tensor], boxes: Tensor) -> list[Tensor]:
        pooled = _pool(self.decoder(levels), boxes, _CHART_CELLS, 1 / 4)
        charts: list[Tensor] = self.densepose_predictor(self.densepose_head(pooled))
        return charts


class ChartRCNN(nn.Module):
    """The whole network, for inference on one picture.

    Args:
        shorter, longer: that the sides of a picture are brought to; at most, for the longer.
    """

    def __init__(self, shorter: int = _SHORTER, longer: int = _LONGER) -> None:
        super().__init__()
        self.shorter, self.longer = shorter, longer
        self.backbone = Pyramid()
        self.proposal_generator = Proposals()
        self.roi_heads = RegionHeads()

    @torch.no_grad()
    def forward(self, picture: Tensor, most_people: int | None = None) -> ChartOutput:
        """Who is in a picture (3, H, W) of bytes, surest first, and the charts of their surface.

        Args:
            most_people: of which charts are made; None: all.
        """
        device = self.roi_heads.box_predictor.cls_score.weight.device
        height, width = picture.shape[1:]
        seen = prepare(picture, self.shorter, self.longer).to(device)
        size = resized(height, width, self.shorter, self.longer)
        levels = self.backbone(seen)
        proposals, _ = self.proposal_generator(levels, size)
        boxes, scores = self.roi_heads.people(levels[:4], proposals, size)
        boxes, scores = boxes[:most_people], scores[:most_people]
        foreground, parts, u, v = self.roi_heads.charts(levels[:4], boxes)
        shrink = boxes.new_tensor([width / size[1], height / size[0]] * 2)
        return ChartOutput(
            clip_boxes_to_image(boxes * shrink, (height, width)), foreground, parts, u, v, scores
        )


def densepose_r50_fpn(
    path: str | Path, device: str = "cpu", channels: Channels = "rgb", uv_range: UVRange = "unit"
) -> ChartDensePose:
    """The published DensePose, from `model_final_162be9.pkl`.

    Args:
        path: the file; nothing in it is run.
        device: that the network runs on.
        channels, uv_range: see `ChartDensePose`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a pickle of arrays, or of another network.
    """
    model = load_network(path).to(device)
    return ChartDensePose(lambda picture: model(picture, most_people=1), channels, uv_range)


def load_network(path: str | Path) -> ChartRCNN:
    """See `densepose_r50_fpn`."""
    with torch.device("meta"):
        model = ChartRCNN()
    weights = {
        name: torch.from_numpy(np.ascontiguousarray(array, np.float32))
        for name, array in load_arrays(path).items()
        if not name.startswith(_CONSTANTS)
    }
    fill(model, weights, str(path))
    return model.eval()


def resized(height: int, width: int, shorter: int, longer: int) -> tuple[int, int]:
    """(height, width) at which a picture is looked at."""
    scale = min(shorter / min(height, width), longer / max(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def prepare(picture: Tensor, shorter: int, longer: int) -> Tensor:
    """What the network reads of a picture (3, H, W): resized, without its mean, padded with zeros
    to (1, 3, h, w), multiples of `CELL`."""
    height, width = resized(picture.shape[1], picture.shape[2], shorter, longer)
    pixels = Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())
    small = np.array(pixels.resize((width, height), Image.Resampling.BILINEAR))
    seen = torch.from_numpy(small).permute(2, 0, 1)[None].float()
    seen = seen - torch.tensor(_MEAN).view(1, 3, 1, 1)
    return functional.pad(seen, (0, -width % CELL, 0, -height % CELL))


def pool_by_level(levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """(N, C, 7, 7) of boxes (N, 4), each from the level that fits its size (Lin et al., Eq. 1)."""
    sides = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).sqrt()
    owners = (4 + torch.log2(sides / 224 + 1e-8)).floor().clamp(2, 5) - 2
    pooled = boxes.new_zeros(len(boxes), CHANNELS, _BOX_CELLS, _BOX_CELLS)
    for number, level in enumerate(levels):
        chosen = owners == number
        pooled[chosen] = _pool(level, boxes[chosen], _BOX_CELLS, 1 / 2 ** (number + 2))
    return pooled


def _pool(level: Tensor, boxes: Tensor, cells: int, scale: float) -> Tensor:
    # Not aligned: the corner of a box is the middle of a cell, as this model was trained.
    return roi_align(level, [boxes], cells, scale, sampling_ratio=2, aligned=False)


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
