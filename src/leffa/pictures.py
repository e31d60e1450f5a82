"""Draws batches and flows: the images of a sample, and contact sheets of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from leffa.data.batch import Batch
from leffa.io.png import to_uint8
from leffa.losses.flow import upsample, warp

HEADINGS = (
    "reference",
    "source",
    "agnostic",
    "generated",
    "warped reference",
    "predicted flow",
    "ground-truth flow",
    "true image",
)


def sample_rows(batch: Batch, generated: Tensor, flows: dict[str, Tensor]) -> list[list[Tensor]]:
    """For each sample the images of `HEADINGS`, (3, H, W) in [-1, 1].

    Without a ground-truth flow the last two are missing; the last, where the source is the true
    image.
    """
    source, reference = batch["source"].float(), batch["reference"].float()
    shown = batch.get("flow_valid", batch["loss_region"]).float()
    if flows:
        flow, seen = mean_flow(flows, source.shape[-2:]), shown
    else:  # no layer was asked: white images
        flow = source.new_zeros(len(source), *source.shape[-2:], 2)
        seen = torch.zeros_like(shown)
    warped = warp(reference, flow) * seen + (1 - seen)
    agnostic = source * (1 - batch["mask"].float())
    columns = [reference, source, agnostic, generated, warped, flow_picture(flow, seen)]
    if "flow" in batch:
        columns.append(flow_picture(batch["flow"], shown))
    if "truth" in batch:
        columns.append(batch["truth"])
    return [[column[index].float().cpu() for column in columns] for index in range(len(source))]


def mean_flow(flows: dict[str, Tensor], size: torch.Size | tuple[int, int]) -> Tensor:
    """The mean over layers at one size, (B, H, W, 2)."""
    return torch.stack([upsample(flow.float(), size) for flow in flows.values()]).mean(dim=0)


def flow_picture(flow: Tensor, shown: Tensor) -> Tensor:
    """A flow as colours, (B, 3, H, W) in [-1, 1]: red grows with x, green with y; white where not
    shown.

    Args:
        flow: (B, H, W, 2) in [-1, 1].
        shown: (B, 1, H, W) 0 or 1.
    """
    x, y = flow.float().clamp(-1, 1).unbind(dim=-1)
    colours = torch.stack([x, y, -(x + y) / 2], dim=1)
    return colours * shown + (1 - shown)


def at_most(images: Tensor, height: int) -> Tensor:
    """Images (B, C, H, W) made smaller, if they are higher; at least float32."""
    if images.shape[-2] <= height:
        return images.float()
    size = (height, round(height * images.shape[-1] / images.shape[-2]))
    return F.interpolate(images.float(), size, mode="bilinear", antialias=True)


def contact_sheet(
    rows: Sequence[Sequence[Tensor]], headings: Sequence[str], scale: int = 2
) -> Image.Image:
    """Images in rows on white, each column under its heading.

    Args:
        rows: images (3, H, W) in [-1, 1], all of one size; not more in a row than headings.
        headings: one per column; may hold a line break.
        scale: by which the images are enlarged.
    """
    height, width = (scale * side for side in rows[0][0].shape[-2:])
    columns, gap = len(rows[0]), 6  # pixels between images
    letters = max(10.0, width / 10)  # their height
    font = ImageFont.load_default(letters)
    lines = max(heading.count("\n") + 1 for heading in headings[:columns])
    top = round(1.3 * letters * lines) + gap
    size = (gap + columns * (width + gap), top + gap + len(rows) * (height + gap))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings[:columns]):
        middle = gap + column * (width + gap) + width / 2
        draw.multiline_text(
            (middle, top), heading, fill="#222222", font=font, anchor="md", align="center"
        )
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            picture = Image.fromarray(to_uint8(cell))
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            sheet.paste(picture, (gap + column * (width + gap), top + gap + row * (height + gap)))
    return sheet
