"""DensePose from its published weights: R50-FPN with s1x schedule (Guler et al., 2018), as
detectron2 trained it (`model_final_162be9.pkl`), in PyTorch and torchvision.

image -> pyramid -> proposals -> people (boxes, scores)
                  \\-> decoder ----> charts of each person

Its numbers are those of `densepose_rcnn_R_50_FPN_s1x.yaml`, with the demos' threshold for a person.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from leffa.io.weights import fill
from leffa.preprocess.densepose.backbone import CELL, CHANNELS, Pyramid
from leffa.preprocess.densepose.chart import Channels, ChartDensePose, ChartOutput, UVRange
from leffa.preprocess.densepose.pickled import load_arrays
from leffa.preprocess.densepose.proposals import Proposals, apply_deltas

_MEAN = (103.53, 116.28, 123.675)  # of blue, green, red; subtracted in the order that is given
_SHORTER, _LONGER = 800, 1333  # sides that an image is brought to
_PERSON = 0.5  # the least score
_OVERLAP = 0.5  # of two people, at most
_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_BOX_CELLS, _CHART_CELLS = 7, 28
_POOLED_WIDTH, _HEAD_WIDTH = 1024, 512
# Charts by their names in the file, with their channels: foreground, parts, U and V.
_CHARTS = {"ann_index_lowres": 2, "index_uv_lowres": 25, "u_lowres": 25, "v_lowres": 25}
# What files of detectron2 hold beside weights; the numbers are those above.
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.cell_anchors")


class Decoder(nn.Module):
    """One map at 1/4 from p2 to p5: each is brought to its size by steps of two."""

    def __init__(self) -> None:
        super().__init__()
        for steps, name in enumerate(("p2", "p3", "p4", "p5")):
            layers = nn.Sequential()
            for _ in range(max(steps, 1)):
                layers.append(_conv(CHANNELS, CHANNELS))
                activation = nn.ReLU(inplace=True)
                layers.append(nn.Sequential(activation, _doubled()) if steps else activation)
            self.add_module(name, layers)
        self.predictor = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        named = zip(("p2", "p3", "p4", "p5"), levels, strict=True)
        decoded: Tensor = self.predictor(sum(self.get_submodule(name)(x) for name, x in named))
        return decoded


class RegionHeads(nn.Module):
    """What is looked at box by box; names of layers are those of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.box_head = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                fc1=nn.Linear(CHANNELS * _BOX_CELLS**2, _POOLED_WIDTH),
                relu1=nn.ReLU(inplace=True),
                fc2=nn.Linear(_POOLED_WIDTH, _POOLED_WIDTH),
                relu2=nn.ReLU(inplace=True),
            )
        )
        self.box_predictor = nn.ModuleDict(
            {"cls_score": nn.Linear(_POOLED_WIDTH, 2), "bbox_pred": nn.Linear(_POOLED_WIDTH, 4)}
        )
        self.decoder = Decoder()
        self.densepose_head = nn.Sequential()
        for number in range(1, 9):
            conv = _conv(CHANNELS if number == 1 else _HEAD_WIDTH, _HEAD_WIDTH)
            self.densepose_head.add_module(f"body_conv_fcn{number}", conv)
            self.densepose_head.add_module(f"relu{number}", nn.ReLU(inplace=True))
        self.densepose_predictor = nn.ModuleDict(
            {
                name: nn.ConvTranspose2d(_HEAD_WIDTH, channels, 4, stride=2, padding=1)
                for name, channels in _CHARTS.items()
            }
        )
        self.enlarge = _doubled()

    def classify(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of (person, nobody), (N, 2), and how to move the box, (N, 4), of pooled boxes."""
        seen = self.box_head(pooled)
        return self.box_predictor["cls_score"](seen), self.box_predictor["bbox_pred"](seen)

    def people(
        self, levels: Sequence[Tensor], proposals: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) of people and their scores (N,), surest first."""
        logits, deltas = self.classify(pool_by_level(levels, proposals))
        boxes = clip_boxes_to_image(apply_deltas(deltas, proposals, _BOX_WEIGHTS), size)
        scores = logits.softmax(dim=1)[:, 0]
        sure = scores > _PERSON
        boxes, scores = boxes[sure], scores[sure]
        kept = nms(boxes, scores, _OVERLAP)
        return boxes[kept], scores[kept]

    def charts(self, levels: Sequence[Tensor], boxes: Tensor) -> list[Tensor]:
        """Foreground, parts, U and V of the person in each box, on 112x112 cells."""
        x = self.densepose_head(_pool(self.decoder(levels), boxes, _CHART_CELLS, 1 / 4))
        return [self.enlarge(layer(x)) for layer in self.densepose_predictor.values()]


class ChartRCNN(nn.Module):
    """The whole network, for inference on one image."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Pyramid()
        self.proposal_generator = Proposals()
        self.roi_heads = RegionHeads()

    @torch.no_grad()
    def forward(self, picture: Tensor, most_people: int | None = None) -> ChartOutput:
        """The people in an image (3, H, W) of bytes, surest first, and the charts of their surface.

        Args:
            most_people: of which charts are made; None: all.
        """
        height, width = picture.shape[1:]
        size = resized(height, width)
        levels = self.backbone(prepare(picture).to(next(self.parameters()).device))
        proposals, _ = self.proposal_generator(levels, size)
        boxes, scores = self.roi_heads.people(levels[:4], proposals, size)
        boxes, scores = boxes[:most_people], scores[:most_people]
        foreground, parts, u, v = self.roi_heads.charts(levels[:4], boxes)
        shrink = boxes.new_tensor([width / size[1], height / size[0]] * 2)
        boxes = clip_boxes_to_image(boxes * shrink, (height, width))
        return ChartOutput(boxes, foreground, parts, u, v, scores)


def densepose_r50_fpn(
    path: str | Path, device: str = "cpu", channels: Channels = "rgb", uv_range: UVRange = "unit"
) -> ChartDensePose:
    """The published DensePose, from `model_final_162be9.pkl`; nothing in the file is run.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a pickle of arrays, or of another network.
    """
    model = load_network(path).to(device)
    return ChartDensePose(lambda picture: model(picture, most_people=1), channels, uv_range)


def load_network(path: str | Path) -> ChartRCNN:
    with torch.device("meta"):
        model = ChartRCNN()
    weights = {
        name: torch.from_numpy(np.ascontiguousarray(array, np.float32))
        for name, array in load_arrays(path).items()
        if not name.startswith(_CONSTANTS)
    }
    fill(model, weights, path)
    return model.eval()


def resized(height: int, width: int) -> tuple[int, int]:
    """(height, width) at which the network reads an image."""
    scale = min(_SHORTER / min(height, width), _LONGER / max(height, width))
    return int(height * scale + 0.5), int(width * scale + 0.5)


def prepare(picture: Tensor) -> Tensor:
    """What the network reads of an image (3, H, W): resized, without its mean, padded with zeros
    to (1, 3, h, w), multiples of `CELL`."""
    height, width = resized(picture.shape[1], picture.shape[2])
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


def _conv(channels: int, out: int) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1)


def _doubled() -> nn.Upsample:
    return nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
