"""How many parameters each part has."""

from typing import NamedTuple

from torch import nn

MILLION = 1e6
# Parts by the beginning of their parameters' names.
PARTS = {
    "source encoder": ("encoder.",),
    "perception-refined decoder": ("decoder.", "no_prompt"),
    "hybrid-granularity attention": ("appearance.",),
    "pose adapter": ("pose_adapter.",),
    "UNet": ("unet.",),
    "autoencoder": ("vae.",),
}


class Count(NamedTuple):
    """Numbers of parameters."""

    trained: int
    whole: int


def count_parameters(model: nn.Module) -> dict[str, Count]:
    """By part, in the order of `PARTS`; "all" is their sum."""
    counts = {}
    for part, beginnings in PARTS.items():
        own = [p for name, p in model.named_parameters() if name.startswith(beginnings)]
        counts[part] = Count(
            sum(p.numel() for p in own if p.requires_grad), sum(p.numel() for p in own)
        )
    trained, whole = (sum(column) for column in zip(*counts.values(), strict=True))
    return counts | {"all": Count(trained, whole)}


def parameter_table(model: nn.Module) -> str:
    """A line for each part, in millions."""
    lines = [f"{'part':30}{'trained':>12}{'all':>12}"]
    for part, count in count_parameters(model).items():
        lines.append(f"{part:30}{count.trained / MILLION:>10.2f} M{count.whole / MILLION:>10.2f} M")
    return "\n".join(lines)
