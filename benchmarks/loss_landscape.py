"""Does the gradient of the Leffa loss point to the right place? Measured at a collapsed flow.

    python benchmarks/loss_landscape.py

An untrained attention is flat: every query looks at the middle of the reference. Here that constant
flow is given to the loss, and its gradient is compared with the direction to the true position,
which the synthetic data has. The cosine is 1 for a perfect hint and 0 for noise. Sharp detail turns
the hint into noise; blurring reference and target before they are compared brings it back.
"""

from pathlib import Path

import torch
from torch import Tensor

from leffa.io.atomic import write_json
from leffa.losses.flow import LeffaLoss
from leffa.synthetic.render import draw_tryon

RESULTS = Path(__file__).parent / "results"
SAMPLES, HEIGHT, WIDTH = 200, 96, 72
BLURS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08)


def draw(index: int) -> dict[str, Tensor]:
    """One synthetic sample, only what the loss needs."""
    drawing = draw_tryon(seed=0, index=index, height=HEIGHT, width=WIDTH)
    pictures = {"source": drawing.person.image, "reference": drawing.garment}
    sample = {
        key: torch.from_numpy(picture.copy()).permute(2, 0, 1).div(127.5).sub(1)
        for key, picture in pictures.items()
    }
    sample["flow"] = torch.from_numpy(drawing.flow)
    sample["valid"] = torch.from_numpy(drawing.flow_valid)[None].float()
    return sample


def cosine(samples: dict[str, Tensor], blur: float) -> float:
    """Between the descent direction at the constant flow and the way to the true position."""
    flow = torch.zeros_like(samples["flow"], requires_grad=True)
    loss = LeffaLoss(blur=blur, reduction="sum")
    total = loss(
        {"constant": flow}, samples["reference"], samples["source"], samples["valid"], SAMPLES
    ).total
    (gradient,) = torch.autograd.grad(total, flow)
    seen = samples["valid"][:, 0].bool()
    descent, way = -gradient[seen], samples["flow"][seen]
    return ((descent * way).sum() / (descent.norm() * way.norm())).item()


def main() -> None:
    drawn = [draw(index) for index in range(SAMPLES)]
    samples = {key: torch.stack([sample[key] for sample in drawn]) for key in drawn[0]}
    result = {f"{blur:g}": round(cosine(samples, blur), 3) for blur in BLURS}
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / "loss_landscape.json", result)
    print("blur (share of the height) -> cosine of the gradient with the true direction")
    for blur, value in result.items():
        print(f"{blur:>6} {value:.3f}")


if __name__ == "__main__":
    main()
