"""Checkpoints that train.py writes: find one, read it, load its weights into a model."""

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from leffa.io.weights import check_state, read_pickle
from leffa.models.interface import PersonGenerator

LAST = "last.ckpt"
EMA_STATE = "ema"  # the key of the averaged weights in a checkpoint
INPUTS = "inputs"  # the key of the `InputSpec`, as plain values
FLOW_LAYERS = "flow_layers"  # the key of the layers that `leffa_loss.layers=auto` chose
Weights = Literal["raw", "ema"]


def find_checkpoint(place: Path) -> Path:
    """The file itself, or the last checkpoint below the folder of a run.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder holds several runs.
    """
    if place.is_dir():
        of_run = place / "checkpoints" / LAST
        found = [of_run] if of_run.is_file() else sorted(place.glob(f"**/{LAST}"))
        if len(found) > 1:
            raise ValueError(f"ckpt={place}: holds {len(found)} runs, first {found[0]}: say which")
        place = found[0] if found else of_run
    if not place.is_file():
        raise FileNotFoundError(f"ckpt={place}: no such checkpoint")
    return place


def read_checkpoint(file: Path) -> dict[str, Any]:
    """The content of a .ckpt file: "state_dict", "config", the trainer's counters.

    Raises:
        ValueError: the file cannot be read, or train.py did not write it.
    """
    try:
        content = read_pickle(file)
    except ValueError as error:
        raise ValueError(f"ckpt={error}") from error
    config = content.get("config") if isinstance(content, dict) else None
    if not config or not isinstance(config, dict) or "state_dict" not in content:
        raise ValueError(
            f"ckpt={file}: has no configuration; it is not a checkpoint written by train.py"
        )
    return content


def weights_of(content: dict[str, Any], weights: Weights | None, file: Path) -> dict[str, Any]:
    """The model's weights in a checkpoint: as trained ("raw"), or their running average ("ema").

    Args:
        weights: None for the average where the checkpoint has one.
    """
    if weights not in (None, "raw", "ema"):
        raise ValueError(f"weights={weights}: is neither ema nor raw")
    average = content.get(EMA_STATE)
    if weights == "ema" and average is None:
        raise ValueError(
            f"ckpt={file}: has no averaged weights: it was trained without callbacks=ema"
        )
    state = content["state_dict"]
    if weights != "raw" and average is not None:
        state = state | average["weights"]
    # Lightning's module holds the model as `model`.
    return {key.removeprefix("model."): value for key, value in state.items()}


def fill_model(model: PersonGenerator, state: dict[str, Tensor], file: Path) -> None:
    """Load every weight but those that checkpoints leave out (`PersonGenerator.excluded_keys`).

    Raises:
        ValueError: the weights are of another model.
    """
    own = model.state_dict()
    excluded = model.excluded_keys()
    places = {key: own[key] for key in own if key in state or key not in excluded}
    check_state(f"ckpt={file}: is of another model", state, places)
    model.load_state_dict(state, strict=False)
