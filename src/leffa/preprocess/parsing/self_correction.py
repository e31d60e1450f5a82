"""Self-correction: training a parser on labels that are partly wrong (Li et al., 2019, SCHP).

After a first training on the given labels come cycles. At the end of the first training and of each
cycle two things are averaged, with m the number of averages taken before:

    the weights   w_m = m / (m + 1) w_(m-1) + 1 / (m + 1) w     (model aggregation)
    the labels    y_m = m / (m + 1) y_(m-1) + 1 / (m + 1) y     (label refinement)

The averaged network, its batch statistics estimated anew, labels the pictures of the next cycle. As
in the authors' code its prediction stands for y_(m-1) and the given label for y, so the refined
labels are made on the fly and never stored. The learning rate falls along a cosine in each cycle.
The averaged network is the result.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, update_bn

from leffa.io.atomic import replacing
from leffa.preprocess.parsing.parsing_losses import schp_loss
from leffa.preprocess.parsing.schp import SCHP

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (epochs done, epochs in all)
_LOWEST_RATE = 0.01  # of the rate that a cosine begins with


class Batches(Protocol):
    """A `DataLoader`, or a list of batches.

    A batch is pictures (B, 3, H, W), as `framing.normalise` makes them, and labels (B, H, W), of
    which `parsing_losses.IGNORED` is not trained on.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the data."""
        ...

    def __len__(self) -> int:
        """The number of batches."""
        ...


@dataclass(frozen=True)
class SelfCorrection:
    """How to train; the defaults are the authors' for LIP (`train.py`).

    Args:
        epochs: of the first training.
        cycles: after it; 0 trains without self-correction.
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

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("cycles", 0), ("cycle_epochs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least}")

    @property
    def total_epochs(self) -> int:
        """Of the first training and all cycles."""
        return self.epochs + self.cycles * self.cycle_epochs

    def rate(self, epoch: float) -> float:
        """The learning rate at an epoch, which need not be whole."""
        if epoch < self.epochs:
            first, share = self.learning_rate, epoch / self.epochs
        else:
            first = self.learning_rate / 2
            share = (epoch - self.epochs) / self.cycle_epochs % 1
        low = _LOWEST_RATE * first
        return low + (first - low) * (1 + math.cos(math.pi * share)) / 2

    def ends_cycle(self, epoch: int) -> bool:
        """Whether an average is taken after this epoch, counted from 1."""
        return epoch >= self.epochs and (epoch - self.epochs) % self.cycle_epochs == 0


def train_parser(
    model: SCHP,
    batches: Batches,
    settings: SelfCorrection,
    state: Path | None = None,
    progress: Progress | None = None,
) -> SCHP:
    """Train with self-correction, on the device that the model is on.

    Args:
        model: is trained in place; it is not the result.
        batches: the training data.
        state: a file that holds the training after each epoch; if it is there, training goes on
            from it.
        progress: is told of each epoch.

    Returns:
        The averaged network, for inference.

    Raises:
        ValueError: the state is of another training.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    averaged = AveragedModel(model)
    begun = _restore(state, settings, model, averaged, optimizer)
    for epoch in range(begun, settings.total_epochs):
        loss = _train_epoch(model, averaged, batches, optimizer, settings, epoch)
        log.info("epoch %d of %d: loss %.4f", epoch + 1, settings.total_epochs, loss)
        if settings.ends_cycle(epoch + 1):
            averaged.update_parameters(model)
            with torch.no_grad():
                update_bn(batches, averaged, next(model.parameters()).device)
        if state is not None:
            _save(state, settings, epoch + 1, model, averaged, optimizer)
        if progress is not None:
            progress(epoch + 1, settings.total_epochs)
    result = averaged.module.eval()
    assert isinstance(result, SCHP)
    return result


def refine_labels(labels: Tensor, predicted: Tensor, cycle: int) -> Tensor:
    """The given labels, averaged with the averaged network's prediction.

    Args:
        labels: (B, H, W) as given; ignored pixels follow the prediction.
        predicted: (B, C, h, w) its scores, enlarged to the labels.
        cycle: m >= 1, the number of averages taken; the given labels weigh 1 / (m + 1).

    Returns:
        (B, C, H, W) the share of each label.
    """
    classes = predicted.shape[1]
    scores = functional.interpolate(
        predicted, labels.shape[-2:], mode="bilinear", align_corners=True
    )
    given = functional.one_hot(labels.clamp(max=classes - 1), classes).permute(0, 3, 1, 2)
    return torch.lerp(scores.softmax(dim=1), given.to(scores), 1 / (cycle + 1))


def save_schp(model: SCHP, path: Path) -> None:
    """Write the weights under the authors' names, as safetensors; `schp.fill` reads them."""
    with replacing(path) as temporary:
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, temporary)


def _train_epoch(
    model: SCHP,
    averaged: AveragedModel,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    settings: SelfCorrection,
    epoch: int,
) -> float:
    """One pass; returns the mean loss."""
    device = next(model.parameters()).device
    cycle = int(averaged.n_averaged)
    model.train()
    averaged.eval()
    total = 0.0
    for number, (pictures, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(epoch + number / len(batches))
        pictures, labels = pictures.to(device), labels.to(device)
        soft = None
        if cycle > 0:
            with torch.no_grad():
                soft = refine_labels(labels, averaged(pictures).fusion, cycle)
        loss = schp_loss(
            model(pictures), labels, soft, settings.edge_weight, settings.consistency_weight
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach())
    return total / len(batches)


def _save(
    path: Path,
    settings: SelfCorrection,
    epoch: int,
    model: SCHP,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
) -> None:
    state = {
        "settings": asdict(settings),
        "epoch": epoch,
        "model": model.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with replacing(path, durable=True) as temporary:
        torch.save(state, temporary)


def _restore(
    path: Path | None,
    settings: SelfCorrection,
    model: SCHP,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
) -> int:
    """Load a saved training, if there is one; returns the epochs done."""
    if path is None or not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["settings"] != asdict(settings):
        raise ValueError(f"{path}: is of a training with other settings; give another file")
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    epoch: int = state["epoch"]
    return epoch
