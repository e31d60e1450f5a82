"""Where on the garment a loss on the attention helps: fine detail, smooth fabric, large motion.

    python benchmarks/attention_by_region.py NAME=EVALUATION ...

Each EVALUATION is the folder of a finished `evaluate.py dataset=synthetic_tryon_unpaired`, such as
outputs/from_base/leffa_none_seed0/final. Pixels of the 64 test persons in another garment, where
that garment is seen, are grouped by the true image and the ground-truth flow: *detail* is the
quarter with the steepest luminance (edges of patterns and letters), *moved* the quarter that lies
farthest from the same place in the garment's image. The score of a group is its PSNR in dB, of the
mean squared error over all its pixels.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from trials import RESULTS, ROOT, Column, Numbers, table

from leffa.io.atomic import write_json, write_text

NAME = "attention_by_region"
REGIONS = ("garment", "detail", "smooth", "moved", "near")
COLUMNS: dict[str, Column] = {region: (f"{region} (dB)", 2) for region in REGIONS}
Masks = dict[str, NDArray[np.bool_]]
Floats = NDArray[np.float32]


def luminance_slope(image: Floats) -> Floats:
    """Of an image (H, W, 3): the length of the gradient of its mean colour, (H, W)."""
    return np.hypot(*np.gradient(image.mean(-1)))


def motion(flow: Floats) -> Floats:
    """How far a flow (H, W, 2) in [-1, 1] looks from the pixel's own place, in pixels: (H, W)."""
    height, width = flow.shape[:2]
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.hypot((flow[..., 0] - x) * (width - 1) / 2, (flow[..., 1] - y) * (height - 1) / 2)


def regions(images: Floats, flows: Floats, valid: NDArray[np.bool_]) -> Masks:
    """Masks (N, H, W) by name, of true images (N, H, W, 3) and flows (N, H, W, 2)."""
    slopes = np.stack([luminance_slope(image) for image in images])
    moved = np.stack([motion(flow) for flow in flows])
    steep = slopes >= np.quantile(slopes[valid], 0.75)
    far = moved >= np.quantile(moved[valid], 0.75)
    return {
        "garment": valid,
        "detail": valid & steep,
        "smooth": valid & ~steep,
        "moved": valid & far,
        "near": valid & ~far,
    }


def psnr(images: Floats, true: Floats, masks: Masks) -> Numbers:
    """In dB, over all pixels of each mask."""
    errors = np.square(images - true).mean(-1)
    return {name: float(-10 * np.log10(errors[mask].mean())) for name, mask in masks.items()}


def read(paths: list[Path]) -> Floats:
    return np.stack(
        [np.asarray(Image.open(path).convert("RGB"), np.float32) / 255 for path in paths]
    )


def main() -> None:
    """Score the pictures of each evaluation; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("evaluations", nargs="+", metavar="NAME=EVALUATION")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "synthetic_tryon_96x72")
    options = parser.parse_args()
    test = options.data / "test"
    names = sorted(path.stem for path in (test / "unpaired-image").iterdir())
    with_flow = [np.load(test / "unpaired-flow" / f"{name}.npz") for name in names]
    flows = np.stack([arrays["flow"].astype(np.float32) for arrays in with_flow])
    valid = np.stack([arrays["valid"].astype(bool) for arrays in with_flow])
    true = read([test / "unpaired-image" / f"{name}.jpg" for name in names])
    masks = regions(true, flows, valid)
    scores = {}
    for evaluation in options.evaluations:
        title, given, folder = evaluation.partition("=")
        if not given or title in scores:
            parser.error(f"{evaluation}: give NAME=EVALUATION, each name once")
        images = read([Path(folder, "images", f"{name}.png") for name in names])
        scores[title] = psnr(images, true, masks)
    write_json(RESULTS / f"{NAME}.json", scores)
    rows = {title: [numbers] for title, numbers in scores.items()}
    text = (
        "# Where a loss on the attention helps\n\n"
        f"`python benchmarks/{NAME}.py`: PSNR on parts of the garment, 64 test persons in another "
        f"garment\n\n{table('evaluation', COLUMNS, rows)}"
    )
    write_text(RESULTS / f"{NAME}.md", text)
    print(text)


if __name__ == "__main__":
    main()
