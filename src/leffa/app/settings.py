"""What a visitor of the web page may ask for, as options of `leffa app`; imported at once."""

import math
from dataclasses import dataclass, fields
from typing import Annotated

from tyro.conf import arg


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for.

    Args:
        megabytes: of an uploaded file
        megapixels: of an uploaded picture
        steps: of a picture
        seconds: for a picture, maps included; the work is ended at its next step then
        waiting: requests that may wait; further ones are told to come back
    """

    megabytes: Annotated[float, arg(name="max-megabytes")] = 20
    megapixels: Annotated[float, arg(name="max-megapixels")] = 25
    steps: Annotated[int, arg(name="max-steps")] = 100
    seconds: Annotated[float, arg(name="timeout")] = 600
    waiting: Annotated[int, arg(name="queue")] = 16

    def check(self) -> None:
        """Raise ValueError where a limit limits nothing."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"limits: {field.name}={value}: give a number above 0")

    @property
    def bytes(self) -> int:
        """Of one file."""
        return int(self.megabytes * 1e6)
