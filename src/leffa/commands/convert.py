"""The command that converts weights between layouts."""

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
    """Convert weights between published files, checkpoints and diffusers folders.

    Args:
        weights: a released .pth, a .ckpt or run folder, or an exported folder; with --experiment:
            the published weights of another model
        out: a diffusers folder; or FILE.pth, FILE.safetensors (released layout), FILE.ckpt
        changes: with --experiment: overrides as for train.py, such as backbone.source=DIR
        base: diffusers folder or hub id of the base of a released file
        preset: type of a released file; default: by its name
        raw: use the raw weights instead of the EMA
        published: write the layout of the model's authors, see docs/reference/models
        dtype: data type of a diffusers folder
        evaluation: output folder of evaluate.py, for the model card
        experiment: for published weights of a model other than Leffa: an experiment with that
            model, such as catvton_vitonhd; writes FILE.ckpt
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
