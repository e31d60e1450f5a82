"""The command that makes pictures from weights and photographs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leffa.commands.convert import PRESETS
from leffa.commands.options import Runner, option

if TYPE_CHECKING:
    from leffa.data.transforms import PersonTransform
    from leffa.inference import LoadedModel
    from leffa.models.sampler import SamplerSettings
    from leffa.predict import Job

# Known here as well as where they are used, which is slow to import.
CATEGORIES = ("upper_body", "lower_body", "dresses")
ENCODINGS = ("colour", "iuv", "vui", "ivu", "labels", "labels_uv", "skeleton", "none")
SCHEDULERS = ("ddpm", "ddim", "dpm_solver", "unipc", "euler")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true")


def predict(parser: argparse.ArgumentParser) -> Runner:
    """Dress a person in a garment, or put one into another pose: one pair, folders, or a table."""
    weight_options(parser.add_argument_group("weights"))
    pictures = parser.add_argument_group("pictures")
    picture_options(pictures)
    pictures.add_argument("--out", type=Path, required=True, metavar="DIR", help="for PNG and json")
    pictures.add_argument(
        "--save-flow", action="store_true", help="also the warped reference and its flow"
    )
    input_options(parser.add_argument_group("how inputs are read; default: as in training"))
    _sampling(parser.add_argument_group("sampling; default: the sampler of the weights"))
    _speed(parser.add_argument_group("speed; changes pictures by rounding"))

    def run(args: argparse.Namespace) -> None:
        from leffa.io.outputs import check_folder
        from leffa.predict import predict as predict_job

        check_folder(args.out)
        records = chosen_records(args)  # before the weights, which take longer
        loaded = load_weights(args, args.ckpt)
        job = _job(args, loaded, records)
        made = predict_job(job, loaded, args.device)
        print(f"{made[0]}" if len(made) == 1 else f"{len(made)} pictures in {args.out}")

    return run


def weight_options(group: Any) -> None:
    """Which weights."""
    group.add_argument(
        "--ckpt",
        type=Path,
        required=True,
        metavar="PATH",
        help="a .ckpt or the folder of a run, a folder of `leffa convert`, or a released .pth",
    )
    group.add_argument("--raw", action="store_true", help="as trained, not the running average")
    group.add_argument("--base", metavar="DIR", help="of a released .pth: see `leffa convert`")
    group.add_argument("--as", dest="preset", choices=PRESETS, help="of a released .pth: likewise")


def load_weights(args: argparse.Namespace, place: Path) -> "LoadedModel":
    """The weights that `weight_options` chose."""
    from leffa.inference import load_model

    return load_model(place, "raw" if args.raw else None, args.base, args.preset)


def picture_options(group: Any) -> None:
    """Which persons and garments, and their maps."""
    files = {
        "person": "a photograph, or a folder",
        "garment": "a garment, or for pose transfer the person to copy; or a folder",
        "mask": "white is repainted; a folder where --person is one, as all that follow",
        "densepose": "of the person",
        "parse": "label map of the person, for --recipe",
        "keypoints": "OpenPose json of the person, for --recipe",
    }
    for name, purpose in files.items():
        group.add_argument(f"--{name}", type=Path, metavar="PATH", help=purpose)
    group.add_argument(
        "--table",
        type=Path,
        metavar="CSV",
        help="instead: columns person, garment and, as needed, name, category, mask, ...",
    )
    group.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="where the table's paths begin; without a table, the folder that holds persons/, "
        "garments/ and, as needed, masks/, densepose/, ... (`leffa photo` makes them)",
    )
    group.add_argument(
        "--category", choices=CATEGORIES, default="upper_body", help="default: upper_body"
    )


def input_options(group: Any) -> None:
    """How the files become a sample."""
    group.add_argument("--size", metavar="HxW", help="height and width in pixels")
    group.add_argument(
        "--fit",
        choices=("pad", "stretch"),
        default="pad",
        help="how a photograph of another shape gets there and back; default: pad",
    )
    group.add_argument("--encoding", choices=ENCODINGS, help="of the DensePose files")
    group.add_argument("--recipe", metavar="NAME", help="makes masks; of leffa.preprocess.agnostic")
    group.add_argument("--label-set", choices=("cihp", "lip", "atr"), help="of --parse")


def _sampling(group: Any) -> None:
    group.add_argument(
        "--official",
        action="store_true",
        help="as the released pipeline: DDPM, 50 steps, guidance 2.5 rescaled by itself, and its "
        "noise; the options below change it",
    )
    group.add_argument("--scheduler", choices=SCHEDULERS)
    group.add_argument("--steps", type=int)
    group.add_argument("--guidance", type=float)
    group.add_argument("--seed", type=int, help="with a picture's name, fixes its noise")
    group.add_argument("--reference-cache", action="store_true", help="faster, a little different")
    group.add_argument(
        "--paste-back", action="store_true", help="keep the photograph outside the mask"
    )
    group.add_argument("--feather", type=int, help="pixels over which --paste-back blends")


def _speed(group: Any) -> None:
    option(group, "--batch-size", 1, "pictures at a time")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, mps; default: auto")
    group.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="32-true",
        help="bf16-true halves the memory of the weights too; default: 32-true",
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the networks first, which takes minutes"
    )
    group.add_argument(
        "--channels-last", action="store_true", help="the layout that the matrix units of GPUs read"
    )
    group.add_argument(
        "--reference-memory",
        type=float,
        default=4.0,
        metavar="GB",
        help="for what all pictures share, such as the one garment of many; default: 4",
    )


def chosen_records(args: argparse.Namespace) -> Any:
    """The pairs that `picture_options` chose."""
    from leffa.data.folder import FolderPairs
    from leffa.predict.pairs import MAPS, pairs_of_files, pairs_of_table

    given = [name for name in ("person", "garment", *MAPS) if getattr(args, name) is not None]
    if listed := args.table or args.root:
        if given:
            option = "--table" if args.table else "--root"
            raise ValueError(f"--{given[0]} and {option} {listed} exclude each other")
        if args.table is None:
            return FolderPairs(args.root, table=None, category=args.category)
        return pairs_of_table(args.table, args.root, args.category)
    for name in ("person", "garment"):
        if name not in given:
            raise ValueError(
                f"--{name} is missing: give --person and --garment, or --table, or --root"
            )
    maps = {name: getattr(args, name) for name in MAPS}
    return pairs_of_files(args.person, args.garment, maps, args.category)


def _job(args: argparse.Namespace, loaded: "LoadedModel", records: Any) -> "Job":
    """The settings of the weights, and what the command line changes in them."""
    from leffa.predict import Job

    transform, recipe = chosen_transform(args, loaded, records)
    return Job(
        weights=args.ckpt,
        records=records,
        transform=transform,
        sampler=_sampler(args, loaded),
        out=args.out,
        recipe=recipe,
        save_flow=args.save_flow,
        batch_size=args.batch_size,
        compile_networks=args.compile,
        channels_last=args.channels_last,
        reference_memory=args.reference_memory,
        precision=args.precision,
    )


def _sampler(args: argparse.Namespace, loaded: "LoadedModel") -> "SamplerSettings":
    from leffa.models.sampler import SamplerSettings

    changes = {
        "scheduler": args.scheduler,
        "steps": args.steps,
        "guidance": args.guidance,
        "seed": args.seed,
        "reference_cache": args.reference_cache or None,
        "paste_back": args.paste_back or None,
        "paste_feather": args.feather,
    }
    if args.feather is not None and not args.paste_back:
        raise ValueError("--feather goes with --paste-back only")
    given: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    if args.official:
        sampler = SamplerSettings.official(**given)
    else:
        sampler = loaded.settings.sampler.with_changes(**given)
    if sampler.noise == "global" and args.batch_size > 1:
        raise ValueError(
            f"--batch-size {args.batch_size}: the released pipeline draws the noise of a batch at "
            "once, so a picture would depend on its neighbours; leave it out"
        )
    return sampler


def chosen_transform(
    args: argparse.Namespace, loaded: "LoadedModel", records: Any
) -> tuple["PersonTransform", str | None]:
    """How the weights are fed, with the changes of `input_options`; and the mask recipe's name."""
    from leffa.data.transforms import PersonTransform

    inputs, needed = loaded.inputs, loaded.model.inputs
    height, width = _size(args.size, loaded)
    recipe = _recipe(args.recipe, inputs, records)
    # A map that the model does not read may still serve the recipe.
    in_recipe = recipe is not None and all(record.densepose is not None for record in records)
    files = args.encoding or inputs.densepose
    if "densepose" in needed and files != "none":
        densepose = {"densepose": files, **_read_as(files, inputs.densepose)}
    else:
        densepose = {"densepose": files if in_recipe else "none"}
    # Without a mask all of the picture is painted, as in pose transfer.
    unmasked = "mask" not in needed and recipe is None and records[0].mask is None
    read: dict[str, Any] = {
        **densepose,
        "pose": "pose" in needed,
        "part_range": inputs.part_range,
        "label_set": args.label_set or inputs.label_set,
        "image_filter": inputs.image_filter,
    }
    transform = PersonTransform(
        height=height,
        width=width,
        task="pose" if unmasked else inputs.task,
        agnostic=None if recipe is None else _agnostic(recipe),
        loss_region="all",
        fit=args.fit,
        as_shown=True,
        **read,
    )
    return transform, recipe


def _read_as(files: str, wanted: str) -> dict[str, Any]:
    """How files of one encoding become what the model reads, in words of this command."""
    from leffa.inference.inputs import body_map

    if files == "skeleton" and files != wanted:
        raise ValueError(f"--encoding skeleton: this model reads DensePose as {wanted}")
    try:
        return body_map(files, wanted, [])
    except ValueError as error:
        message = str(error).replace("dataset.transform.densepose=ENCODING", "their --encoding")
        message = message.replace("without_densepose=true", "--encoding none")
        raise ValueError(f"--encoding {files}: {message}") from error


def _recipe(wanted: str | None, inputs: Any, records: Any) -> str | None:
    """The recipe asked for; else that of the training, where there are maps and no mask files."""
    if inputs.task == "pose":
        if wanted is not None:
            raise ValueError("--recipe is for try-on; these weights are for pose transfer")
        return None
    has_masks = any(record.mask is not None for record in records)
    has_maps = all(record.parse is not None for record in records)
    recipe: str | None = inputs.recipe
    return wanted or (recipe if has_maps and not has_masks else None)


def _agnostic(recipe: str) -> Any:
    from leffa.preprocess.agnostic import AGNOSTIC

    if recipe not in AGNOSTIC:
        raise ValueError(f"--recipe {recipe}: choose one of {', '.join(AGNOSTIC)}")
    return AGNOSTIC[recipe]


def _size(text: str | None, loaded: "LoadedModel") -> tuple[int, int]:
    """(height, width): that of the training, or as asked for, if the model can make it."""
    import torch

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
