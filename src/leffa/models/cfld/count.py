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
# Of the whole network, as we know the paper to say it (not looked up again); in millions.
PUBLISHED_TRAINED = 248.2
# What this holds for: parameters of SD1.5's UNet, and of Swin-B as an encoder.
PUBLISHED_BASE, PUBLISHED_ENCODER = 859_520_964, 86_991_864


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
    """A line for each part, in millions; at the published sizes the paper's number too."""
    counts = count_parameters(model)
    lines = [f"{'part':30}{'trained':>12}{'all':>12}"]
    for part, count in counts.items():
        lines.append(f"{part:30}{count.trained / MILLION:>10.2f} M{count.whole / MILLION:>10.2f} M")
    if _has_published_sizes(counts):
        lines.append(f"{'the paper, as we know it':30}{PUBLISHED_TRAINED:>10.1f} M")
    return "\n".join(lines)


def _has_published_sizes(counts: dict[str, Count]) -> bool:
    """Whether the paper's number is about this network: its UNet, of which not all is trained, and
    its encoder."""
    unet, encoder = counts["UNet"], counts["source encoder"]
    return unet.trained < unet.whole == PUBLISHED_BASE and encoder.whole == PUBLISHED_ENCODER
