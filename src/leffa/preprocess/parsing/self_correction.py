"""Self-correction: training a parser on labels that are partly wrong (Li et al., 2019, SCHP).

After a first training on the given labels come cycles. At the end of each, two things are averaged:

    the weights   w_m = m / (m + 1) w_(m-1) + 1 / (m + 1) w     (model aggregation, equation 5)
    the labels    y_m = m / (m + 1) y_(m-1) + 1 / (m + 1) y     (label refinement, equation 6)

with m the number of cycles done. The averaged network, its batch statistics estimated anew, labels
the pictures for the next cycle; as in the authors' code its prediction stands for y_(m-1) and the
given label for y, so the labels are refined on the fly and never stored. The learning rate falls
along a cosine in each cycle. The averaged network is the result.
"""

import copy
import logging
import math
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from leffa.preprocess.parsing.schp import SCHP, SCHPOutput, read_state

log = logging.getLogger(__name__)

IGNORED = 255  # a label that is not trained on

Batches = list[tuple[Tensor, Tensor]]


class Loader(Sized, Protocol):
    """Batches of pictures (B, 3, H, W), as `framing.normalise` makes them, and labels (B, H, W)."""

    def __iter__(self) -> "Loader":
        """A new pass over the data."""
        ...

    def __next__(self) -> tuple[Tensor, Tensor]:
        """The next batch."""
        ...


@dataclass(frozen=True)
class SelfCorrection:
    """How to train; the defaults are the authors' for LIP (`train.py`).

    Args:
        epochs: of the first training.
        cycles: after it.
        cycle_epochs: of each cycle.
        learning_rate: of the first training; a cycle begins with half of it.
        edge_weight, consistency_weight: of these losses beside the parsing loss.
    """

    epochs: int = 100
    cycles: int = 5
    cycle_epochs: int = 10
    learning_rate: float = 7e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    edge_weight: float = 1.0
    consistency_weight: float = 0.1
