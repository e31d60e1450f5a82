"""Where a result's pixels came from, in the form that the page's flow view reads.

The model sees both images on its own canvas, padded; the page shows them as they are. A grid is
therefore in fractions of the images: cell (row, column) of the result looks at (x, y) of the
reference, each from 0 to 1.
"""

import base64
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.batch import Record
from leffa.data.dataset import collate
from leffa.data.fit import Placement, fit_picture
from leffa.data.transforms import PersonTransform
from leffa.inference import LoadedModel
from leffa.inference.devices import to_device
from leffa.io.pictures import open_picture
from leffa.models.placement import compute_device
from leffa.predict.job import look_up_flow

MOST_CELLS = 160  # along a side: finer than a pointer can be held
_TO_BYTES = 65535


@dataclass(frozen=True)
class FlowGrid:
    """Where each cell of a result looks, and whether it was generated."""

    places: NDArray[np.float32]  # (h, w, 2) x and y in the reference, from 0 to 1
    made: NDArray[np.bool_]  # (h, w)

    def gather(self, reference: Image.Image) -> Image.Image:
        """What is looked at, in the place that looks there; white where nothing was generated."""
        size = np.array(reference.size)
        x, y = np.moveaxis((self.places * size).astype(int).clip(0, size - 1), -1, 0)
        pixels = np.asarray(reference.convert("RGB"))[y, x]
        return Image.fromarray(np.where(self.made[..., None], pixels, np.uint8(255)))

    def packed(self) -> dict[str, str | int]:
        """For the page: little-endian uint16 x and y, then uint8 made, each in base64."""
        scaled = np.round(self.places.clip(0, 1) * _TO_BYTES).astype("<u2")
        height, width = self.made.shape
        return {
            "width": width,
            "height": height,
            "places": base64.b64encode(scaled.tobytes()).decode(),
            "made": base64.b64encode(self.made.astype(np.uint8).tobytes()).decode(),
        }


def flow_grid(
    loaded: LoadedModel, transform: PersonTransform, record: Record, result: Path, seed: int
) -> FlowGrid | None:
    """Look where the model looks while it paints a finished result, a file of the person's size.

    Returns:
        None where the model has no attention layer as fine as its settings want.
    """
    device = compute_device(loaded.model)
    batch, painted = (
        to_device(collate([transform(each, random.Random(0))]), device)
        for each in (record, replace(record, source=result))
    )
    try:
        flow = look_up_flow(loaded.model, batch, painted["source"], loaded.flow_request, seed)
    except ValueError:
        return None
    return to_pictures(
        flow[0].float().cpu().numpy(),
        batch["mask"][0, 0].cpu().numpy() > 0,
        fit_picture(open_picture(record.source).size, transform.size, transform.fit),
        fit_picture(open_picture(record.reference).size, transform.size, transform.fit),
    )


def to_pictures(
    flow: NDArray[np.float32], mask: NDArray[np.bool_], here: Placement, there: Placement
) -> FlowGrid:
    """A flow (H, W, 2) between two canvases as one between the images on them.

    Args:
        mask: (H, W) True = generated.
        here: of the result on its canvas.
        there: of the reference on its.
    """
    height, width = mask.shape
    shrink = min(1.0, MOST_CELLS / max(here.width, here.height))
    columns, rows = (max(1, round(side * shrink)) for side in (here.width, here.height))
    # The pixel of the canvas below the middle of each cell.
    x = (here.left + (np.arange(columns) + 0.5) / columns * here.width).astype(int)
    y = (here.top + (np.arange(rows) + 0.5) / rows * here.height).astype(int)
    cells = np.ix_(y.clip(0, height - 1), x.clip(0, width - 1))
    size = np.array([width, height], np.float32)
    pixels = (flow[cells] + 1) / 2 * (size - 1) + 0.5  # the middle of a pixel is at one half
    corner = np.array([there.left, there.top], np.float32)
    extent = np.array([there.width, there.height], np.float32)
    places = ((pixels - corner) / extent).clip(0, 1).astype(np.float32)
    return FlowGrid(places, mask[cells])
