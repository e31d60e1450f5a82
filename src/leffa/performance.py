"""Options of commands for the speed and memory of inference; imports nothing large."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, arg

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"]
Offload = Literal["model", "sequential", "group"]
Flag = Annotated[bool, FlagCreatePairsOff, arg(help_behavior_hint="")]


@dataclass(frozen=True)
class Performance:
    """Speed and memory; changes images by rounding only, except for tiles.

    Args:
        precision: -true also stores the weights in it; default: 32-true; for released weights of
            `leffa weights list` on cuda 16-true
        offload: keep weights in CPU memory and move them to the GPU by network (model), by layer
            (sequential), or by layer with prefetching (group)
        attention: a diffusers backend such as flash_hub, sage_hub or xformers; default: native
        compile_networks: compile the repeated blocks first, which takes minutes
        channels_last: the memory layout that GPU tensor cores prefer
        tile_vae: encode and decode in tiles; saves memory above 512 pixels, changes the image
    """

    precision: Annotated[Precision | None, arg(help_behavior_hint="")] = None
    offload: Annotated[Offload | None, arg(help_behavior_hint="")] = None
    attention: Annotated[str | None, arg(metavar="BACKEND", help_behavior_hint="")] = None
    compile_networks: Annotated[Flag, arg(name="compile")] = False
    channels_last: Flag = False
    tile_vae: Flag = False
