"""`leffa convert`: weights of every kind into the kind that is wanted.

from                              to --out
a released .pth (with --base)     DIR                       safetensors and json, of Leffa for
                                                            diffusers
a .ckpt or run folder of ours     FILE.ckpt                 a checkpoint for train.py
an exported folder                FILE.pth, .safetensors    Leffa alone: the layout of the
                                                            released files
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from leffa.models.card import model_card
from leffa.models.checkpoints import save_official
from leffa.models.export import check_target, save_exported
from leffa.models.leffa import LeffaModel
from leffa.predict.trained import OFFICIAL_SUFFIXES, Trained, load_trained

log = logging.getLogger(__name__)


def convert(
    weights: Path,
    out: Path,
    base: str | None = None,
    preset: str | None = None,
    raw: bool = False,
    dtype: str = "float32",
    evaluations: Sequence[Path] = (),
) -> None:
    """Write the weights in the layout that the name `out` asks for; see the module.

    Args:
        base, preset, raw: see `load_trained`.
        dtype: of an exported folder.
        evaluations: folders of `evaluate.py` with these weights, for the model card.

    Raises:
        FileNotFoundError: something is not there.
        ValueError: `out` is there already, or these weights cannot be converted to it.
    """
    check_target(out)
    results = [_read_result(folder) for folder in evaluations]
    to_folder = out.suffix not in (*OFFICIAL_SUFFIXES, ".ckpt")
    if not to_folder and (results or dtype != "float32"):
        raise ValueError(f"{out}: --evaluation and --dtype go with a folder as --out")
    trained = load_trained(weights, base, preset, raw)
    if to_folder:
        kind = type(trained.model).__name__
        card = model_card(trained.settings, results, trained.official, kind)
        save_exported(trained.model, out, trained.settings, card, dtype)
    elif out.suffix == ".ckpt":
        _save_checkpoint(trained, out)
    elif isinstance(trained.model, LeffaModel):
        # Unused weights are zeros, or those of the file that all of them come from.
        template = weights if trained.official else None
        save_official(trained.model, out, template)
    else:
        raise ValueError(
            f"{out}: the released layout is Leffa's, and {weights} holds a "
            f"{type(trained.model).__name__}; convert to a folder or a .ckpt instead"
        )


def _save_checkpoint(trained: Trained, out: Path) -> None:
    settings = trained.settings
    if settings.config is None:
        raise ValueError(
            f"{out}: a checkpoint holds the configuration of its training, and the authors "
            "published none; convert to a folder instead"
        )
    left_out = trained.model.left_out()
    state = {
        f"model.{key}": tensor
        for key, tensor in trained.model.state_dict().items()
        if key not in left_out
    }
    unfinished = out.with_name(f"{out.name}.unfinished")
    content = {"state_dict": state, "global_step": settings.step, "config": settings.config}
    torch.save(content, unfinished)
    unfinished.replace(out)


def _read_result(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json" if folder.is_dir() else folder
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such result; give a folder that evaluate.py wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not {"metrics", "dataset", "samples"} <= content.keys():
            raise ValueError("it has no metrics, dataset and samples")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: is not a result of evaluate.py ({error})") from error
    return content
