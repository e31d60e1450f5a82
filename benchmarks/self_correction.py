"""Does self-correction help a parser that is trained on spoilt labels? On the synthetic data set.

    python benchmarks/self_correction.py

Labels are spoilt as careless annotation is: the outline of each label is pushed about by a few
pixels, and now and then left and right are swapped. A small SCHP network is trained on them with
and without self-correction for the same number of epochs, and scored against the true labels of
other persons. Writes `benchmarks/results/self_correction.md`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from leffa.data.labels import LABELS
from leffa.io.atomic import write_text
from leffa.preprocess.parsing.framing import normalise
from leffa.preprocess.parsing.schp import SCHP
from leffa.preprocess.parsing.self_correction import SelfCorrection, train_parser
from leffa.synthetic.render import draw_tryon

CLASSES = 20
HEIGHT, WIDTH, BATCH = 96, 72, 8
PUSH = 3.0  # pixels, the standard deviation of an outline's displacement
SWAPPED = 0.2  # of the persons
SIDES = [("left_arm", "right_arm"), ("left_leg", "right_leg"), ("left_shoe", "right_shoe")]


def spoil(labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W) labels as a careless annotator would give them."""
    if rng.random() < SWAPPED:
        table = np.arange(256, dtype=np.uint8)
        for left, right in SIDES:
            a, b = LABELS["cihp"][left], LABELS["cihp"][right]
            table[[a, b]] = b, a
        labels = table[labels]
    shifts = [ndimage.gaussian_filter(rng.normal(size=labels.shape), 4) for _ in range(2)]
    places = [
        axis + PUSH * s / s.std() for axis, s in zip(np.indices(labels.shape), shifts, strict=True)
    ]
    return ndimage.map_coordinates(labels, places, order=0, mode="nearest")


def persons(first: int, count: int) -> tuple[Tensor, NDArray[np.uint8]]:
    """Pictures as the network reads them, and true labels."""
    drawings = [draw_tryon(0, first + index, HEIGHT, WIDTH).person for index in range(count)]
    pictures = np.stack([drawing.image[..., ::-1] for drawing in drawings])
    squares = normalise(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    return squares, np.stack([drawing.parsing for drawing in drawings])


@torch.no_grad()
def mean_iou(model: SCHP, pictures: Tensor, labels: NDArray[np.uint8]) -> float:
    """Over the labels that occur."""
    scores = torch.cat([model(part).fusion for part in pictures.split(BATCH)])
    scores = functional.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=True)
    found = scores.argmax(dim=1).numpy()
    present = np.unique(labels)
    return float(
        np.mean(
            [
                ((found == n) & (labels == n)).sum() / ((found == n) | (labels == n)).sum()
                for n in present
            ]
        )
    )


def main() -> None:
    """Train both and write the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--train", type=int, default=64, help="persons")
    options.add_argument("--test", type=int, default=32, help="persons")
    options.add_argument("--epochs", type=int, default=12, help="of the first training")
    options.add_argument("--cycles", type=int, default=4, help="of 4 epochs each")
    options.add_argument("--seeds", type=int, default=1)
    args = options.parse_args()
    pictures, truth = persons(0, args.train)
    test, test_truth = persons(args.train, args.test)
    rows: dict[str, list[float]] = {"without": [], "with": []}
    for seed in track(range(args.seeds), "training"):
        rng = np.random.default_rng(seed)
        spoilt = torch.from_numpy(np.stack([spoil(one, rng) for one in truth])).long()
        batches = list(zip(pictures.split(BATCH), spoilt.split(BATCH), strict=True))
        total = args.epochs + 4 * args.cycles
        for name, settings in (
            ("without", SelfCorrection(total, 0, learning_rate=0.03)),
            ("with", SelfCorrection(args.epochs, args.cycles, 4, learning_rate=0.03)),
        ):
            torch.manual_seed(seed)
            model = train_parser(SCHP(CLASSES, (1, 1, 1, 1), width=16), batches, settings)
            rows[name].append(mean_iou(model, test, test_truth))
    agreement = np.mean(spoilt.numpy() == truth)
    lines = [
        "# Self-correction on spoilt labels",
        "",
        f"`python benchmarks/self_correction.py --train {args.train} --test {args.test} --epochs "
        f"{args.epochs} --cycles {args.cycles} --seeds {args.seeds}`: {HEIGHT}x{WIDTH}, "
        f"{total} epochs each; {agreement:.1%} of the training pixels keep their true label.",
        "",
        "| self-correction | mean IoU against the truth, by seed |",
        "|---|---|",
        *(
            f"| {name} | {', '.join(f'{value:.3f}' for value in values)} |"
            for name, values in rows.items()
        ),
    ]
    out = Path(__file__).parent / "results" / "self_correction.md"
    out.parent.mkdir(exist_ok=True)
    write_text(out, "\n".join(lines) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
