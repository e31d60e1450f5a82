"""DensePose's chart model (R50-FPN) from an export: TorchScript or ONNX, without detectron2.

For every person the model gives a box and, on 112x112 cells of it, scores of foreground (2), of
part (25), and U and V of each part (25 each). They are enlarged to the box; a pixel that is
foreground gets its likeliest part and that part's U and V (Guler et al., 2018; detectron2's
`DensePoseChartPredictorOutput`).
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from leffa.data.densepose import PARTS
from leffa.preprocess.onnx import OnnxModel
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
    scores: Tensor | None  # (N,); None where the export leaves them out


class ChartDensePose:
    """The person of the highest score; of the largest box where there are no scores.

    Args:
        network: from a picture (3, H, W), bytes, to the export's outputs: boxes, foreground, parts,
            u, v in this order, and scores (and classes) anywhere among them.
        channels: the order that the export expects. The model was trained on "bgr"; the demos, and
            the users of the TorchScript export, hand it "rgb".
        uv_range: U and V from 0 to 1 become 0 to 255 ("unit"), or their smallest and largest value
            over the person do ("per_person", Leffa's demo).
    """

    def __init__(
        self,
        network: Callable[[Tensor], Sequence[Tensor]],
        channels: Channels = "rgb",
        uv_range: UVRange = "unit",
    ) -> None:
        for name, value, known in (
            ("channels", channels, ("rgb", "bgr")),
            ("uv_range", uv_range, ("unit", "per_person")),
        ):
            if value not in known:
                raise ValueError(f"{name}={value}: choose {' or '.join(known)}")
        self.network, self.channels, self.uv_range = network, channels, uv_range

    @torch.no_grad()
    def find_surface(self, image: Image.Image) -> NDArray[np.uint8]:
        """(H, W, 3) part, U and V; raises ValueError where there is nobody."""
        picture = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        if self.channels == "bgr":
            picture = picture.flip(0)
        output = read_outputs(self.network(picture.contiguous()))
        person = _foremost(output)
        if person is None:
            raise ValueError(NOBODY)
        return paste(output, person, image.size, self.uv_range)


def densepose_chart(
    path: str | Path,
    device: str = "cpu",
    channels: Channels = "rgb",
    uv_range: UVRange = "unit",
    trusted: bool = False,
) -> ChartDensePose:
    """From an export: `.onnx`, or TorchScript under any other suffix.

    Args:
        path: the export.
        device: that TorchScript runs on.
        channels, uv_range: see `ChartDensePose`.
        trusted: must be said of a TorchScript file: it is a program, and reading it may run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such an export, not trusted, or onnxruntime is needed and not installed.
    """
    path = Path(path)
    if path.suffix == ".onnx":
        model = OnnxModel(path)
        return ChartDensePose(
            lambda picture: [torch.from_numpy(one) for one in model(picture.numpy())],
            channels,
            uv_range,
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model; give the path of your copy")
    if not trusted:
        raise ValueError(
            f"{path}: a TorchScript file may run code when it is read; say that you trust it "
            "(trusted=True, --trust), or give an .onnx export"
        )
    try:
        with warnings.catch_warnings():
            # Deprecated in favour of torch.export, in which nobody publishes this model.
            warnings.simplefilter("ignore", FutureWarning)
            script = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(f"{path}: is no TorchScript model; give an export of DensePose") from error

    def network(picture: Tensor) -> Sequence[Tensor]:
        try:
            outputs: Sequence[Tensor] = script(picture.to(device))
        except RuntimeError as error:  # TorchScript's own are of this type, as is a lack of memory
            # The last line says what is wrong, those before it where in the program.
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ValueError(
                f"{path}: cannot run on a picture {tuple(picture.shape)} ({reason}); is it an "
                "export of DensePose for this device? A smaller picture needs less memory"
            ) from error
        return outputs

    return ChartDensePose(network, channels, uv_range)


def read_outputs(outputs: Sequence[Tensor]) -> ChartOutput:
    """The outputs by their shapes, whatever else an export adds.

    Raises:
        ValueError: they are not those of a chart model.
    """
    tensors = [one.detach().float().cpu() for one in outputs if isinstance(one, Tensor)]
    boxes = [one for one in tensors if one.ndim == 2 and one.shape[1] == 4]
    foreground = [one for one in tensors if one.ndim == 4 and one.shape[1] == 2]
    charts = [one for one in tensors if one.ndim == 4 and one.shape[1] == PARTS + 1]
    if not (len(boxes) == len(foreground) == 1 and len(charts) == 3):
        raise ValueError(
            f"the model gives {[tuple(one.shape) for one in tensors]}, not one (N, 4), one "
            "(N, 2, S, S) and three (N, 25, S, S); give an export of DensePose's chart model with "
            "two coarse labels"
        )
    # Classes are whole numbers, so what is a list of fractions is the scores.
    lists = [one for one in tensors if one.ndim == 1 and one.shape[0] == boxes[0].shape[0]]
    scores = next((one for one in lists if bool((one % 1 != 0).any())), None)
    return ChartOutput(boxes[0], foreground[0], charts[0], charts[1], charts[2], scores)


def paste(
    output: ChartOutput, person: int, size: tuple[int, int], uv_range: UVRange = "unit"
) -> NDArray[np.uint8]:
    """(H, W, 3) part, U and V of one person on a picture of (width, height)."""
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
    # A box may reach over the picture's edge.
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


def _foremost(output: ChartOutput) -> int | None:
    """The number of the person that stands out most."""
    if len(output.boxes) == 0:
        return None
    if output.scores is not None:
        best = int(output.scores.argmax())
        return best if output.scores[best] >= _LEAST_SCORE else None
    sides = output.boxes[:, 2:] - output.boxes[:, :2]
    return int(sides.prod(dim=1).argmax())
