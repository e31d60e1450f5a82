"""Where the web page is served and what a visitor may ask for: options of `leffa app`.

Imported for its help, so nothing large is imported here.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Annotated

from tyro.conf import OmitArgPrefixes, arg

from leffa.performance import Flag, Performance


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Args:
        megabytes: maximum size of an uploaded file
        megapixels: maximum size of an uploaded image
        steps: maximum sampling steps per image
        seconds: time limit per image, including its maps; checked after each step; default: 600
            on a GPU, none on a CPU, where a full-size image takes hours
        waiting: maximum number of queued requests
    """

    megabytes: Annotated[float, arg(name="max-megabytes")] = 20
    megapixels: Annotated[float, arg(name="max-megapixels")] = 25
    steps: Annotated[int, arg(name="max-steps")] = 100
    seconds: Annotated[float | None, arg(name="timeout", help_behavior_hint="")] = None
    waiting: Annotated[int, arg(name="queue")] = 16

    def check(self) -> None:
        """Raise ValueError where a limit limits nothing."""
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"limits: {limit.name}={value}: give a number above 0")

    def seconds_on(self, device: str) -> float:
        return self.seconds or (math.inf if device == "cpu" else 600.0)

    @property
    def bytes(self) -> int:
        """Of one file."""
        return int(self.megabytes * 1e6)


@dataclass(frozen=True)
class Serving:
    """Where the page is served.

    Args:
        host: 0.0.0.0: all networks of this machine; 127.0.0.1: this machine only
        port: default: the first free one from 7860
        share: also open a public address through gradio's servers
        mcp: also offer tools for language models; needs gradio[mcp]
        device: device of the networks
        recipe: mask recipe; default: that of the training
    """

    host: str = "127.0.0.1"
    port: Annotated[int | None, arg(help_behavior_hint="")] = None
    share: Flag = False
    mcp: Flag = False
    device: Annotated[str, arg(metavar="auto|cpu|cuda|mps")] = "auto"
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    performance: OmitArgPrefixes[Performance] = field(default_factory=Performance)
    limits: OmitArgPrefixes[Limits] = field(default_factory=Limits)
