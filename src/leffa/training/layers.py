"""`leffa_loss.layers`: which layers the Leffa loss teaches."""

import logging
from collections.abc import Iterable, Sequence

from torch import nn

from leffa.data.batch import Batch, Record
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import matches
from leffa.models.attention import flow_layers
from leffa.models.interface import PersonGenerator
from leffa.training.inspection import error_by_layer

log = logging.getLogger(__name__)


def check_layers(loss: LeffaLoss, model: nn.Module, val: Sequence[Record]) -> None:
    """Refuse layers that the model has not, and a choice that nothing can be chosen by.

    Raises:
        ValueError: a pattern of `leffa_loss.layers` that no layer fits; or it is auto, and the
            validation data have no ground-truth flow.
    """
    known = flow_layers(model)
    for pattern in loss.layers or ():
        if not any(matches(name, pattern) for name in known):
            raise ValueError(
                f"leffa_loss.layers={pattern}: fits no layer of this {type(model).__name__}; "
                f"it has {', '.join(known)}"
            )
    if loss.to_be_chosen and not any(record.flow is not None for record in val):
        raise ValueError(
            "leffa_loss.layers=auto: chooses by the ground-truth flow, which the validation data "
            "do not have; name the layers, or train with leffa_loss.layers=all"
        )


def choose_layers(
    loss: LeffaLoss, model: PersonGenerator, batches: Iterable[Batch], timestep: int, seed: int
) -> None:
    """Set those whose attention is nearest to the ground-truth flow, over the validation data."""
    model.eval()
    errors = error_by_layer(model, batches, loss.request(), timestep, seed)
    model.train()
    ranked = sorted(errors, key=errors.__getitem__)
    loss.layers = tuple(ranked[: loss.auto_layers])
    for name in ranked:
        taken = "takes part" if name in loss.layers else "left alone"
        log.info("Leffa loss: EPE %.1f px, %s: %s", errors[name], taken, name)
