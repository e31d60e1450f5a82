"""The layers that a loss on the attention supervises (`leffa_loss.layers`)."""

import logging
from collections.abc import Iterable, Sequence

from torch import nn

from leffa.data.batch import Batch, Record
from leffa.data.datamodule import PersonDataModule
from leffa.data.matches import require_matches
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import matches
from leffa.models.attention import flow_layers
from leffa.models.interface import PersonGenerator
from leffa.training.inspection import error_by_layer

log = logging.getLogger(__name__)


def check_layers(loss: LeffaLoss, model: nn.Module, val: Sequence[Record]) -> None:
    """Refuse layers that the model does not have, and an automatic choice without data for it.

    Raises:
        ValueError: a pattern of `leffa_loss.layers` that no layer fits; or it is auto, and the
            validation data have neither ground-truth flow nor stored matches; or only some of them
            have stored matches.
    """
    check_patterns("leffa_loss.layers", loss.layers or (), model)
    stored = any(record.matches is not None for record in val)
    if stored:
        require_matches(val, "data.val")  # processes must log the same metrics
    if loss.to_be_chosen and not any(record.flow is not None for record in val):
        if not stored:
            raise ValueError(
                "leffa_loss.layers=auto: needs the ground-truth flow or stored matches, which the "
                "validation data do not have; name the layers, or use leffa_loss.layers=all"
            )
        require_matches(val, "leffa_loss.layers=auto", some=True)


def check_patterns(key: str, patterns: Iterable[str], model: nn.Module) -> None:
    """Raise ValueError for a pattern, the value of a config's `key`, that matches no layer."""
    known = flow_layers(model)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in known):
            raise ValueError(
                f"{key}={pattern}: matches no layer of this {type(model).__name__}; it has "
                f"{', '.join(known)}"
            )


def check_supervision(loss: LeffaLoss, model: nn.Module, data: PersonDataModule) -> None:
    """Refuse a loss that the model or the data do not support; warn of one without a target.

    Raises:
        ValueError: no layer looks at a reference; queries and keys are needed, and no layer has
            them for an image's tokens; or the ground-truth flow, which not all training samples
            have.
    """
    if not flow_layers(model):
        raise ValueError(
            f"{loss.title}: no attention of this {type(model).__name__} attends to a reference as "
            "configured; give leffa_loss=off"
        )
    if loss.needs_tokens and not flow_layers(model, tapped=True):
        raise ValueError(
            f"{loss.title}: needs attention on the tokens of the reference, which this "
            f"{type(model).__name__} does not have; give attention_loss=leffa, oracle, or matches "
            "with attention_loss.space=coordinates; and attention_loss.entropy_weight=0"
        )
    known = all(record.flow is not None for record in data.train_records)
    if loss.needs_ground_truth and (data.reconstruct or not known):
        lacking = "data.reconstruct=true pairs" if known else "these training data"
        raise ValueError(
            f"{loss.title}: needs the ground-truth flow, which {lacking} do not have; give a "
            "synthetic dataset, another attention_loss, or leffa_loss=off"
        )
    if loss.needs_matches:
        what = "attention_loss.labels=stored"
        if data.reconstruct:
            raise ValueError(f"{what}: data.reconstruct=true pairs have no matches; give false")
        require_matches(data.train_records, what, some=True)
    if not loss.has_target:
        log.warning(
            "%s: on its own, this loss gives the attention no target and is lowest for a collapsed "
            "flow; add it to another loss, such as attention_loss=leffa attention_loss.%s=0.1",
            loss.title,
            f"{loss.name}_weight",
        )


def choose_layers(
    loss: LeffaLoss, model: PersonGenerator, batches: Iterable[Batch], timestep: int, seed: int
) -> None:
    """Select the layers whose flow is closest to the ground truth on the validation data."""
    model.eval()
    errors = error_by_layer(model, batches, loss.request(), timestep, seed)
    model.train()
    ranked = sorted(errors, key=errors.__getitem__)
    loss.layers = tuple(ranked[: loss.auto_layers])
    for name in ranked:
        taken = "takes part" if name in loss.layers else "left alone"
        log.info("Leffa loss: EPE %.1f px, %s: %s", errors[name], taken, name)
