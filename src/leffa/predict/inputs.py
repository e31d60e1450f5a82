"""How a user's photographs and maps are read: as in the model's training, but not stretched."""

from collections.abc import Collection, Sequence
from typing import Any

import torch

from leffa.data.batch import Record
from leffa.data.transforms import PersonTransform
from leffa.inference.inputs import densepose_fields
from leffa.inference.loaded import LoadedModel
from leffa.models.export import InputSpec
from leffa.preprocess.agnostic import AGNOSTIC


def photo_transform(inputs: InputSpec, reads: Collection[str], **changes: Any) -> PersonTransform:
    """How photographs are read for weights that were trained on `inputs`.

    Args:
        reads: the inputs that the network uses (`PersonGenerator.inputs`).
        changes: other fields of the transform.
    """
    usual: dict[str, Any] = {
        "height": inputs.height,
        "width": inputs.width,
        "task": inputs.task,
        "densepose": inputs.densepose,
        "part_range": inputs.part_range,
        "pose": "pose" in reads,
        "loss_region": "all",
        "label_set": inputs.label_set,
        "image_filter": inputs.image_filter,
        "fit": "pad",
        "as_shown": True,
    }
    return PersonTransform(**usual | changes)


def chosen_transform(
    loaded: LoadedModel,
    records: Sequence[Record],
    size: str | None = None,
    fit: str = "pad",
    encoding: str | None = None,
    recipe: str | None = None,
    label_set: str | None = None,
) -> tuple[PersonTransform, str | None]:
    """The transform with the user's changes, and the name of the mask recipe.

    Args:
        size: "HEIGHTxWIDTH"; None: that of the training, and so for the next ones.
        encoding: of the DensePose files.
        recipe: of `preprocess.agnostic`; None: that of the training, where there are parsing maps
            and no mask files.
        label_set: of the parsing maps.
    """
    inputs, reads = loaded.inputs, loaded.model.inputs
    height, width = _size(size, loaded)
    recipe = _recipe(recipe, inputs, records)
    files = encoding or inputs.densepose
    if "densepose" in reads and files != "none":
        densepose = {"densepose": files, **_converted(files, inputs.densepose)}
    else:  # a map that the model does not read may still serve the recipe
        in_recipe = recipe is not None and all(record.densepose is not None for record in records)
        densepose = {"densepose": files if in_recipe else "none"}
    # Without a mask the whole image is generated, as in pose transfer.
    unmasked = "mask" not in reads and recipe is None and records[0].mask is None
    transform = photo_transform(
        inputs,
        reads,
        height=height,
        width=width,
        task="pose" if unmasked else inputs.task,
        agnostic=None if recipe is None else AGNOSTIC[recipe],
        label_set=label_set or inputs.label_set,
        fit=fit,
        **densepose,
    )
    return transform, recipe


def _converted(files: str, wanted: str) -> dict[str, Any]:
    """How files of one encoding become what the model reads."""
    if files == "skeleton" and files != wanted:
        raise ValueError(f"--encoding skeleton: this model reads DensePose as {wanted}")
    try:
        return densepose_fields(files, wanted, [])
    except ValueError as error:  # it names keys of evaluate.py
        message = str(error).replace("dataset.transform.densepose=ENCODING", "their --encoding")
        message = message.replace("without_densepose=true", "--encoding none")
        raise ValueError(f"--encoding {files}: {message}") from error


def _recipe(wanted: str | None, inputs: InputSpec, records: Sequence[Record]) -> str | None:
    if inputs.task == "pose":
        if wanted is not None:
            raise ValueError("--recipe is for try-on; these weights are for pose transfer")
        return None
    has_masks = any(record.mask is not None for record in records)
    has_maps = all(record.parse is not None for record in records)
    recipe = wanted or (inputs.recipe if has_maps and not has_masks else None)
    if recipe is not None and recipe not in AGNOSTIC:
        raise ValueError(f"--recipe {recipe}: choose one of {', '.join(AGNOSTIC)}")
    return recipe


def _size(text: str | None, loaded: LoadedModel) -> tuple[int, int]:
    """(height, width): that of the training, or as asked for, if the model can make it."""
    inputs = loaded.inputs
    if text is None:
        return inputs.height, inputs.width
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise ValueError(
            f"--size {text}: is not HEIGHTxWIDTH, such as {inputs.height}x{inputs.width}"
        )
    height, width = int(sides[0]), int(sides[1])
    try:
        loaded.model.latent_shape({"source": torch.empty(1, 3, height, width)})  # type: ignore[typeddict-item]  # all it reads
    except ValueError as error:
        raise ValueError(f"--size {text}: {error}") from error
    return height, width
