"""How networks compute when they make pictures, as options of commands; imported at once."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, arg

Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true"]
Offload = Literal["model", "sequential", "group"]
Flag = Annotated[bool, FlagCreatePairsOff, arg(help_behavior_hint="")]


@dataclass(frozen=True)
class Performance:
    """Speed and memory; changes pictures by rounding.

    Args:
        precision: those with -true keep the weights so too; default: 32-true; for released weights
            of `leffa weights list` on cuda 16-true
        offload: weights stay in the computer's memory, and come to the GPU by network (model), by
            layer (sequential), or by layer while the one before computes (group)
        attention: a backend of diffusers, such as flash_hub, sage_hub or xformers; default: native
        compile_networks: compile the repeated blocks first, which takes minutes
        channels_last: the layout that the matrix units of GPUs read
        tile_vae: encode and decode in tiles; saves memory above 512 pixels
    """

    precision: Annotated[Precision | None, arg(help_behavior_hint="")] = None
    offload: Annotated[Offload | None, arg(help_behavior_hint="")] = None
    attention: Annotated[str | None, arg(metavar="BACKEND", help_behavior_hint="")] = None
    compile_networks: Annotated[Flag, arg(name="compile")] = False
    channels_last: Flag = False
    tile_vae: Flag = False
