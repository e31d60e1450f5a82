"""The command that shows where attention looks."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leffa.commands.options import Runner, option
from leffa.commands.predict import (
    chosen_records,
    chosen_transform,
    input_options,
    picture_options,
    weight_options,
)

if TYPE_CHECKING:
    from leffa.data.batch import Batch, Record
    from leffa.data.transforms import PersonTransform
    from leffa.explain import ExplainSettings, Model
    from leffa.inference.checkpoints import Weights

RELEASED = (".pth", ".pt", ".safetensors", ".bin")


def explain(parser: argparse.ArgumentParser) -> Runner:
    """Show where attention looks: a page to click around in, and PNGs; one model, or two."""
    weights = parser.add_argument_group("weights")
    weight_options(weights)
    weights.add_argument(
        "--compare", type=Path, metavar="PATH", help="other weights to show beside these"
    )
    weights.add_argument("--title", help="of --ckpt on the page; default: the run's name")
    weights.add_argument("--compare-title", metavar="TITLE", help="of --compare")
    sample = parser.add_argument_group("a sample of a data set")
    sample.add_argument("--dataset", metavar="NAME", help="a file of conf/dataset")
    sample.add_argument(
        "--sample", default="0", metavar="NAME", help="its name, or its number from 0; default: 0"
    )
    sample.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="changes its configuration, as with evaluate.py: dataset.root=DIR; repeatable",
    )
    picture_options(parser.add_argument_group("or pictures, as `leffa predict` takes them"))
    input_options(parser.add_argument_group("how pictures are read; default: as in training"))
    _what(parser.add_argument_group("what is looked at"))
    option(parser, "--out", Path("outputs/explain"), "folder for the page, PNGs and json")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps; default: auto")

    def run(args: argparse.Namespace) -> None:
        from leffa.evaluation.generate import choose_devices
        from leffa.explain import explain as look
        from leffa.explain import explained_files, write_explanation
        from leffa.io.outputs import check_folder, check_writable
        from leffa.io.progress import progress_bar

        check_folder(args.out)
        models = _models(args)
        record, batch, paired = _batch(args, models[0])
        settings = _settings(args, paired)
        files = [path for path in vars(record).values() if isinstance(path, Path)]
        check_writable(explained_files(record.name, settings, args.out), files)
        (device,) = choose_devices(args.device, 1)
        total = len(models) * len(settings.timesteps)
        with progress_bar("looking", total, sys.stderr.isatty()) as bar:
            explanation = look(models, batch, settings, device=device, on_look=bar)
        for path in write_explanation(explanation, models, settings, args.out):
            print(path)

    return run


def _what(group: Any) -> None:
    group.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="X,Y",
        help="from 0,0 (top left) to 1,1 of the picture as the model sees it; repeatable; "
        "default: the middle of what is painted",
    )
    group.add_argument(
        "--timesteps",
        default="800,600,400,200,50",
        metavar="T,T",
        help="noise levels; default: 800,600,400,200,50",
    )
    group.add_argument(
        "--temperature",
        type=float,
        metavar="TAU",
        help="1: as the network; default: its training's",
    )
    group.add_argument("--layer", metavar="NAME", help="shown first, e.g. 'up 2.1'; default: all")
    group.add_argument("--head", type=int, help="of --layer, from 1; default: the mean")
    group.add_argument(
        "--layers", default="", metavar="NAME,NAME", help="on the page; default: at most 8"
    )
    group.add_argument(
        "--noised",
        choices=("source", "generated"),
        help="the picture that noise is added to; default: the person's own for a sample of a "
        "paired data set, else the generated one",
    )
    option(group, "--seed", 0, "of the noise")


def _settings(args: argparse.Namespace, paired: bool) -> "ExplainSettings":
    from leffa.explain import ExplainSettings

    points = [_numbers(text, "--point", float) for text in args.point]
    for text, point in zip(args.point, points, strict=True):
        if len(point) != 2:
            raise ValueError(f"--point {text}: give X,Y, such as 0.5,0.4")
    return ExplainSettings(
        timesteps=_numbers(args.timesteps, "--timesteps", int),
        temperature=args.temperature,
        points=[(x, y) for x, y in points],
        layer=args.layer,
        head=args.head,
        layers=[name.strip() for name in args.layers.split(",") if name.strip()],
        paint=args.noised or ("source" if paired else "generated"),
        seed=args.seed,
    )


def _numbers(text: str, name: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} {text}: give numbers with commas between them") from None


def _models(args: argparse.Namespace) -> "list[Model]":
    """The weights, loaded when they are asked for, and once."""
    from functools import cache, partial

    from leffa.explain import Model
    from leffa.inference import load_model

    paths = [args.ckpt, *([args.compare] if args.compare is not None else [])]
    titles = [args.title or _title(paths[0])]
    if args.compare is not None:
        titles.append(args.compare_title or _title(args.compare))
    elif args.compare_title is not None:
        raise ValueError("--compare-title goes with --compare")
    if len(set(titles)) < len(titles):
        raise ValueError(f"both are called {titles[0]!r}: give --title and --compare-title")
    models = []
    for path, title in zip(paths, titles, strict=True):
        ours = path.suffix not in RELEASED
        base, preset = (None, None) if ours and len(paths) > 1 else (args.base, args.preset)
        weights: Weights | None = "raw" if args.raw else None
        load = partial(load_model, path, weights, base, preset)
        # The first one is asked how pictures are read before it is asked where it looks.
        models.append(Model(title, path, cache(load) if path == args.ckpt else load))
    return models


def _title(path: Path) -> str:
    """The name of a run, for its folder or a checkpoint inside it."""
    absolute = path.absolute()
    if path.suffix == ".ckpt" and absolute.parent.name == "checkpoints":
        return absolute.parents[1].name
    return absolute.stem if path.suffix in (*RELEASED, ".ckpt") else absolute.name


def _batch(args: argparse.Namespace, model: "Model") -> "tuple[Record, Batch, bool]":
    """The sample of a data set, or of the pictures given; and whether the source is the truth."""
    from leffa.data.dataset import PersonDataset, collate
    from leffa.predict.check import check_present, check_record

    given = [name for name in ("person", "garment", "table", "root") if getattr(args, name)]
    if args.overrides and args.dataset is None:
        raise ValueError("--set goes with --dataset")
    if args.dataset is not None:
        if given:
            raise ValueError(f"--dataset and --{given[0]} exclude each other")
        _check_of_dataset(args)
        record, transform, paired = _of_dataset(args, model)
    elif given:
        records = chosen_records(args)
        record = _named(records, args.sample, "the pictures given")
        (transform, _), paired = chosen_transform(args, model.load(), records), False
        check_present(record, transform)
        check_record(record, transform)
    else:
        raise ValueError("nothing to look at: give --dataset, or --person and --garment")
    return record, collate([PersonDataset([record], transform)[0]]), paired


def _of_dataset(args: argparse.Namespace, model: "Model") -> "tuple[Any, PersonTransform, bool]":
    from leffa.data.doctor.quick import check_records
    from leffa.inference.inputs import feed
    from leffa.run import test_set

    records, transform, paired = test_set([f"dataset={args.dataset}", *args.overrides])
    record = _named(records, args.sample, f"the data set {args.dataset}")
    check_records([record], transform)
    loaded, names = model.load(), (str(model.weights), args.dataset)
    without = args.encoding == "none"
    try:
        fed = feed(transform, [record], loaded.inputs, loaded.model, names, without)
    except ValueError as error:  # it names the key of evaluate.py
        message = str(error).replace("without_densepose=true", "--encoding none")
        raise ValueError(message) from error
    return record, fed, paired


def _check_of_dataset(args: argparse.Namespace) -> None:
    """Refuse what would have no effect: a data set says itself how it is read."""
    given = {name: getattr(args, name) for name in ("size", "recipe", "label_set")}
    given["encoding"] = None if args.encoding == "none" else args.encoding
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} {value}: is for pictures; a data set says itself how "
                "it is read, and --set dataset.transform.KEY=VALUE changes it"
            )


def _named(records: Any, wanted: str, where: str) -> Any:
    for record in records:
        if record.name == wanted:
            return record
    if wanted.isdigit() and int(wanted) < len(records):
        return records[int(wanted)]
    raise ValueError(
        f"--sample {wanted}: {where} has {len(records)} samples, 0 to {len(records) - 1}, such as "
        f"{records[0].name}"
    )
