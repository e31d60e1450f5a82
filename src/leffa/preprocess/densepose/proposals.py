"""Where something may be: anchors and the region proposal network (Ren et al., 2015)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image, remove_small_boxes

from leffa.preprocess.densepose.backbone import CHANNELS

_STRIDES = (4, 8, 16, 32, 64)  # of p2 to p6
_ANCHOR_SIDES = (32, 64, 128, 256, 512)  # of the square of their area
_RATIOS = (0.5, 1.0, 2.0)  # of height to width
_MOST = 1000  # proposals of a level, and of all levels
_OVERLAP = 0.7  # of two proposals of a level, at most
_LARGEST_GROWTH = math.log(1000 / 16)


class Proposals(nn.Module):
    """The proposed boxes of one image."""

    def __init__(self) -> None:
        super().__init__()
        self.rpn_head = nn.ModuleDict(
            {
                "conv": nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
                "objectness_logits": nn.Conv2d(CHANNELS, len(_RATIOS), 1),
                "anchor_deltas": nn.Conv2d(CHANNELS, 4 * len(_RATIOS), 1),
            }
        )

    def forward(self, levels: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) in pixels, and their logits (N,), likeliest first.

        Args:
            levels: p2 to p6, (1, C, h, w).
            size: (height, width) of the image without its padding.
        """
        boxes, logits, owners = [], [], []
        for number, level in enumerate(levels):
            seen = self.rpn_head["conv"](level).relu_()
            logit, deltas = (
                self.rpn_head[name](seen)[0].permute(1, 2, 0)
                for name in ("objectness_logits", "anchor_deltas")
            )
            best, chosen = logit.flatten().topk(min(_MOST, logit.numel()))
            anchors = anchors_of(number, logit.shape[:2]).to(level)
            moved = apply_deltas(deltas.reshape(-1, 4)[chosen], anchors[chosen])
            boxes.append(clip_boxes_to_image(moved, size))
            logits.append(best)
            owners.append(torch.full_like(chosen, number))
        every, logit, owner = (torch.cat(parts) for parts in (boxes, logits, owners))
        real = remove_small_boxes(every, 1e-9)
        every, logit, owner = every[real], logit[real], owner[real]
        kept = batched_nms(every, logit, owner, _OVERLAP)[:_MOST]
        return every[kept], logit[kept]


def anchors_of(level: int, grid: Sequence[int]) -> Tensor:
    """(h * w * A, 4) of a level of the pyramid, around the corners of its cells (h, w)."""
    sides = [
        (_ANCHOR_SIDES[level] / math.sqrt(ratio), _ANCHOR_SIDES[level] * math.sqrt(ratio))
        for ratio in _RATIOS
    ]
    shapes = torch.tensor([(-w / 2, -h / 2, w / 2, h / 2) for w, h in sides])
    rows, columns = (torch.arange(count) * _STRIDES[level] for count in grid)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    corners = torch.stack([x, y, x, y], dim=-1)
    return (corners[:, :, None] + shapes).reshape(-1, 4)


def apply_deltas(
    deltas: Tensor, boxes: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)
) -> Tensor:
    """Boxes (N, 4) moved and scaled as a network says (Girshick et al., 2014, appendix C)."""
    deltas = deltas / deltas.new_tensor(weights)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size + deltas[:, :2] * size
    grown = size * deltas[:, 2:].clamp(max=_LARGEST_GROWTH).exp()
    return torch.cat([centre - 0.5 * grown, centre + 0.5 * grown], dim=1)
