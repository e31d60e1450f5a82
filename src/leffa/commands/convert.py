"""The command that takes weights from one layout to another."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from leffa.commands.options import File, Flag, Folder, OptionalName, Preset, Repeated


def convert(
    weights: File,
    out: Folder,
    changes: Annotated[
        tuple[str, ...], Positional, arg(metavar="[KEY=VALUE ...]", help_behavior_hint="")
    ] = (),
    base: Annotated[str | None, arg(metavar="DIR", help_behavior_hint="")] = None,
    preset: Annotated[Preset | None, arg(name="as", help_behavior_hint="")] = None,
    raw: Flag = False,
    published: Flag = False,
    dtype: Literal["float32", "float16", "bfloat16"] = "float32",
    evaluation: Annotated[Repeated[Path], arg(metavar="DIR")] = (),
    experiment: OptionalName = None,
) -> None:
    """Convert weights: published ones, checkpoints of ours, and folders for diffusers.

    Args:
        weights: a released .pth, a .ckpt or run folder of ours, or an exported folder; with
            --experiment: what the authors of its model published
        out: a folder for diffusers; or FILE.pth, .safetensors (released layout), FILE.ckpt
        changes: with --experiment: overrides as for train.py, such as backbone.source=DIR
        base: of a released file: its diffusers base folder, or a hub id
        preset: of a released file: what it is; default: by its name
        raw: weights as trained, not their running average
        published: write the layout of the model's authors, as docs/reference/models says
        dtype: of a folder
        evaluation: a folder of evaluate.py, for the model card
        experiment: of published weights of a model other than Leffa: the experiment whose model
            they are of, such as catvton_vitonhd; makes a FILE.ckpt
    """
    from leffa.convert import convert as convert_weights
    from leffa.convert import convert_published

    if experiment is None:
        if changes:
            raise ValueError(f"{changes[0]}: KEY=VALUE goes with --experiment")
        convert_weights(weights, out, base, preset, raw, dtype, evaluation, published)
    else:
        if base or preset or raw or dtype != "float32" or evaluation or published:
            raise ValueError("--experiment goes with --weights, --out and KEY=VALUE alone")
        convert_published(weights, out, experiment, changes)
    print(f"written to {out}")
