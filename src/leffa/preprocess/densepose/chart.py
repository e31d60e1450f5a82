"""From the charts of DensePose's model to the map of a photo.

For every person the model gives a box and, on 112x112 cells of it, scores of foreground (2), of
part (25), and U and V of each part (25 each). They are enlarged to the box; a pixel that is
foreground gets its likeliest part and that part's U and V (Guler et al., 2018; detectron2's
`DensePoseChartPredictorOutput`).
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.layout import check_choice
from leffa.preprocess.pose import NOBODY

Channels = Literal["rgb", "bgr"]
UVRange = Literal["unit", "per_person"]

_BAND = 128  # rows enlarged at once: all 77 planes of a large photo would take gigabytes
_LEAST_SCORE = 0.5  # of a person (Leffa, `densepose_predictor.py`)


class ChartOutput(NamedTuple):
    """What the model says of N people."""

    boxes: Tensor  # (N, 4) left, top, right, bottom in pixels
    foreground: Tensor  # (N, 2, S, S)
    parts: Tensor  # (N, 25, S, S)
    u: Tensor  # (N, 25, S, S)
    v: Tensor  # (N, 25, S, S)
    scores: Tensor  # (N,)


class ChartDensePose:
    """The person of the highest score.

    Args:
        network: from an image (3, H, W), bytes, to its people.
        channels: the order that the network expects. The model was trained on "bgr"; the demos
            pass "rgb".
        uv_range: U and V from 0 to 1 become 0 to 255 ("unit"), or their smallest and largest value
            over the person do ("per_person", Leffa's demo).
    """

    def __init__(
        self,
        network: Callable[[Tensor], ChartOutput],
        channels: Channels = "rgb",
        uv_range: UVRange = "unit",
    ) -> None:
        check_choice("channels", channels, ("rgb", "bgr"))
        check_choice("uv_range", uv_range, ("unit", "per_person"))
        self.network, self.channels, self.uv_range = network, channels, uv_range

    @torch.no_grad()
    def find_surface(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W, 3) part, U and V; raises ValueError where there is nobody."""
        picture = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        if self.channels == "bgr":
            picture = picture.flip(0)
        output = self.network(picture.contiguous())
        output = ChartOutput(*(one.detach().float().cpu() for one in output))
        if len(output.scores) == 0 or output.scores.max() < _LEAST_SCORE:
            raise ValueError(NOBODY)
        return paste(output, int(output.scores.argmax()), image.size, self.uv_range)


def paste(
    output: ChartOutput, person: int, size: tuple[int, int], uv_range: UVRange = "unit"
) -> NDArray[np.uint8]:
    """(H, W, 3) part, U and V of one person on an image of (width, height)."""
    left, top, right, bottom = output.boxes[person].tolist()
    x, y = int(left), int(top)
    box = max(int(bottom - top), 1), max(int(right - left), 1)
    charts = [chart[person] for chart in (output.foreground, output.parts, output.u, output.v)]
    bands = [
        _read_band(charts, box, slice(start, min(start + _BAND, box[0])))
        for start in range(0, box[0], _BAND)
    ]
    part, uv = (torch.cat(pieces, dim=-2) for pieces in zip(*bands, strict=True))
    on_body = part > 0
    if uv_range == "per_person" and bool(on_body.any()):
        uv = uv * on_body  # the demo's range includes the box's empty corners
        uv = (uv - uv.min()) / (uv.max() - uv.min()).clamp(min=1e-6)
    uv = (uv.clamp(0, 1) * 255 * on_body).to(torch.uint8)
    # A box may reach over the image's edge.
    width, height = size
    canvas = np.zeros((height, width, 3), np.uint8)
    rows, columns = slice(max(y, 0), y + box[0]), slice(max(x, 0), x + box[1])
    cropped = torch.cat([part[None].to(torch.uint8), uv]).permute(1, 2, 0).numpy()
    cropped = cropped[max(-y, 0) : height - y, max(-x, 0) : width - x]
    canvas[rows, columns] = cropped
    return canvas


def _read_band(
    charts: Sequence[Tensor], box: tuple[int, int], rows: slice
) -> tuple[Tensor, Tensor]:
    """Part (h, W), and its U and V (2, h, W), in these rows of the charts enlarged to the box."""
    foreground, parts, u, v = (_enlarge(chart, box, rows) for chart in charts)
    part = parts.argmax(dim=0) * (foreground.argmax(dim=0) > 0)
    return part, torch.stack([chart.gather(0, part[None])[0] for chart in (u, v)])


def _enlarge(chart: Tensor, box: tuple[int, int], rows: slice) -> Tensor:
    """(C, h, W), these rows of (C, S, S) enlarged to the box (H, W), bilinear."""
    side = chart.shape[1]
    centres = torch.arange(rows.start, rows.stop) + 0.5
    places = (centres * (side / box[0]) - 0.5).clamp(0, side - 1)
    above = places.long()
    below = (above + 1).clamp(max=side - 1)
    between = torch.lerp(chart[:, above], chart[:, below], (places - above)[:, None])[None]
    # A pixel's channels side by side are compared three times as fast.
    between = between.contiguous(memory_format=torch.channels_last)
    size = (len(places), box[1])
    return functional.interpolate(between, size, mode="bilinear", align_corners=False)[0]
