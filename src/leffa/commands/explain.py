"""The command that shows where attention looks."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, arg

from leffa.commands.options import (
    Device,
    Folder,
    Name,
    OptionalName,
    OptionalPlace,
    Repeated,
    Unset,
)
from leffa.commands.predict import Inputs, Pictures, Weights, tell_baseline

if TYPE_CHECKING:
    from leffa.data.batch import Batch, Record
    from leffa.data.transforms import PersonTransform
    from leffa.explain import ExplainSettings, Model


@dataclass(frozen=True)
class Sample:
    """A sample of a dataset; or your own images, as for `leffa predict`.

    Args:
        dataset: a file of conf/dataset
        sample: its name, or its number from 0
        overrides: override its configuration, as for evaluate.py: dataset.root=DIR
    """

    dataset: OptionalName = None
    sample: Name = "0"
    overrides: Annotated[Repeated[str], arg(name="set", metavar="KEY=VALUE")] = ()


@dataclass(frozen=True)
class Views:
    """Points, layers and timesteps.

    Args:
        point: from 0,0 (top left) to 1,1 of the image as the model sees it; default: the centre of
            the generated part
        timesteps: noise levels
        temperature: softmax temperature; 1: as in the network; default: as in its training
        layer: layer shown first, e.g. 'up 2.1', or all; default: the trained one, if it is one
        head: head of --layer, from 1; default: the mean
        layers: layers on the page; default: all, or an even choice of 8 and those trained
        noised: image that noise is added to; default: the person's own for a sample of a paired
            dataset, otherwise the generated one
        seed: noise seed
    """

    point: Annotated[Repeated[str], arg(metavar="X,Y")] = ()
    timesteps: Annotated[str, arg(metavar="T,T")] = "800,600,400,200,50"
    temperature: Annotated[float | None, arg(metavar="TAU", help_behavior_hint="")] = None
    layer: OptionalName = None
    head: Unset[int] = None
    layers: Annotated[str, arg(metavar="NAME,NAME")] = ""
    noised: Unset[Literal["source", "generated"]] = None
    seed: int = 0

    def settings(self) -> "ExplainSettings":
        """The same as numbers and lists."""
        from leffa.explain import ExplainSettings

        points = [_numbers(text, "--point", float) for text in self.point]
        for text, point in zip(self.point, points, strict=True):
            if len(point) != 2:
                raise ValueError(f"--point {text}: give X,Y, such as 0.5,0.4")
        return ExplainSettings(
            timesteps=_numbers(self.timesteps, "--timesteps", int),
            temperature=self.temperature,
            points=[(x, y) for x, y in points],
            layer=self.layer,
            head=self.head,
            layers=[name.strip() for name in self.layers.split(",") if name.strip()],
            paint=self.noised or "source",
            seed=self.seed,
        )


def _numbers(text: str, name: str, kind: type) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} {text}: give numbers with commas between them") from None


def explain(
    weights: OmitArgPrefixes[Weights],
    sample: OmitArgPrefixes[Sample],
    pictures: OmitArgPrefixes[Pictures],
    inputs: OmitArgPrefixes[Inputs],
    views: OmitArgPrefixes[Views],
    compare: OptionalPlace = None,
    out: Folder = Path("outputs/explain"),
    device: Device = "auto",
) -> None:
    """Show where attention looks, as an interactive page and PNGs, for one model or two.

    Args:
        compare: other weights to compare with
        out: output folder for the page, PNGs and JSON
        device: device of the networks
    """
    from leffa.data.dataset import PersonDataset, collate
    from leffa.explain import explain as read_models
    from leffa.explain import explained_files, write_explanation
    from leffa.inference.devices import choose_devices
    from leffa.io.outputs import check_folder, check_writable
    from leffa.io.progress import progress_bar

    check_folder(out)
    settings = views.settings()  # mistakes are told before the weights are loaded
    tell_baseline(weights.ckpt)
    models = _models(weights, compare)
    find = _of_pictures if sample.dataset is None else _of_dataset
    record, transform, paired = find(sample, pictures, inputs, models[0])
    if not paired and views.noised is None:
        settings = replace(settings, paint="generated")
    batch: Batch = collate([PersonDataset([record], transform)[0]])
    files = [path for path in vars(record).values() if isinstance(path, Path)]
    check_writable(explained_files(record.name, settings, out), files)
    (chosen,) = choose_devices(device, 1)
    total = len(models) * len(settings.timesteps)
    with progress_bar("looking", total, sys.stderr.isatty()) as bar:
        explanation = read_models(models, batch, settings, device=chosen, on_step=bar)
    for path in write_explanation(explanation, models, settings, out):
        print(path)


def _models(given: Weights, other: Path | None) -> "list[Model]":
    """The weights, loaded when they are asked for, and once."""
    from functools import cache, partial

    from leffa.explain import Model
    from leffa.inference.loaded import OFFICIAL_SUFFIXES, load_model

    if other == given.ckpt:
        raise ValueError(f"--compare {other}: are the same weights as those of --ckpt")
    paths = [given.ckpt, *([] if other is None else [other])]
    titles = [_title(path) for path in paths]
    if len(set(titles)) < len(titles):
        titles = [str(path) for path in paths]
    models: list[Model] = []
    for path, title in zip(paths, titles, strict=True):
        ours = path.suffix not in OFFICIAL_SUFFIXES and len(paths) > 1  # --base is then the other's
        base, preset = (None, None) if ours else (given.base, given.preset)
        load = partial(load_model, path, "raw" if given.raw else None, base, preset)
        # The first one is asked how images are read before it is asked where it looks.
        models.append(Model(title, path, load if models else cache(load)))
    return models


def _title(path: Path) -> str:
    """The name of a run, for its folder or a checkpoint inside it."""
    absolute = path.absolute()
    if path.suffix == ".ckpt" and absolute.parent.name == "checkpoints":
        return absolute.parents[1].name
    return absolute.stem if path.is_file() else absolute.name


def _of_pictures(
    sample: Sample, pictures: Pictures, inputs: Inputs, model: "Model"
) -> "tuple[Record, PersonTransform, bool]":
    """A pair of the user's own, how it is read, and whether the source is the truth."""
    from leffa.predict.check import check_present, check_record
    from leffa.predict.inputs import chosen_transform

    if sample.overrides:
        raise ValueError("--set goes with --dataset")
    if not pictures.given("person", "garment", "table", "root"):
        raise ValueError("no sample: give --dataset, or --person and --garment")
    records = pictures.records()
    record = _named(records, sample.sample, "the images given")
    transform, _ = chosen_transform(model.load(), records, **asdict(inputs))
    check_present(record, transform)
    check_record(record, transform)
    return record, transform, False


def _of_dataset(
    sample: Sample, pictures: Pictures, inputs: Inputs, model: "Model"
) -> "tuple[Record, PersonTransform, bool]":
    """The same of a dataset, which says itself how it is read."""
    from leffa.data.doctor.quick import check_records
    from leffa.inference.inputs import feed
    from leffa.run import test_set

    if given := pictures.given("person", "garment", "table", "root"):
        raise ValueError(f"--dataset and --{given[0]} exclude each other")
    without = inputs.encoding == "none"
    for name in ("size", "recipe", "label_set", *(() if without else ("encoding",))):
        if (value := getattr(inputs, name)) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} {value}: is for images; a dataset says itself how "
                "it is read, and --set dataset.transform.KEY=VALUE changes it"
            )
    records, transform, paired = test_set([f"dataset={sample.dataset}", *sample.overrides])
    record = _named(records, sample.sample, f"the dataset {sample.dataset}")
    check_records([record], transform)
    loaded, names = model.load(), (str(model.weights), str(sample.dataset))
    try:
        transform = feed(transform, [record], loaded.inputs, loaded.model, names, without)
    except ValueError as error:  # it names the key of evaluate.py
        message = str(error).replace("without_densepose=true", "--encoding none")
        raise ValueError(message) from error
    return record, transform, paired


def _named(records: "Sequence[Record]", wanted: str, where: str) -> "Record":
    for record in records:
        if record.name == wanted:
            return record
    if wanted.isdigit() and int(wanted) < len(records):
        return records[int(wanted)]
    raise ValueError(
        f"--sample {wanted}: {where} has {len(records)} samples, 0 to {len(records) - 1}, such as "
        f"{records[0].name}"
    )
