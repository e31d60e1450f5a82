"""The command that generates images from weights and photographs."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, arg

from leffa.commands.options import (
    Device,
    Encoding,
    Flag,
    Folder,
    OptionalFolder,
    OptionalName,
    OptionalPlace,
    Place,
    Preset,
    Scheduler,
    Unset,
)
from leffa.data.labels import Category, LabelSet
from leffa.performance import Performance

if TYPE_CHECKING:
    from leffa.inference import LoadedModel
    from leffa.models.sampler import SamplerSettings


BASELINE, POSE_BASELINE = Path("tryon_baseline"), Path("pose_baseline")


def tell_baseline(weights: Path) -> None:
    """Say so where the shipped weights are taken: perhaps an option was forgotten."""
    if weights in (BASELINE, POSE_BASELINE):
        print(
            f"{weights}: ships with the package, and works for synthetic persons only; other "
            "options of this command select other weights",
            file=sys.stderr,
        )


@dataclass(frozen=True)
class Weights:
    """Which weights.

    Args:
        ckpt: a .ckpt or the folder of a run, a folder of `leffa convert`, a released .pth, or
            tryon_baseline or pose_baseline, which ship with the package, for synthetic images
        raw: use the raw weights instead of the EMA
        base: base of a released .pth, see `leffa convert`
        preset: type of a released .pth, see `leffa convert`
    """

    ckpt: Place = BASELINE
    raw: Flag = False
    base: Annotated[str | None, arg(metavar="DIR", help_behavior_hint="")] = None
    preset: Annotated[Preset | None, arg(name="as", help_behavior_hint="")] = None

    def load(self) -> "LoadedModel":
        from leffa.inference import load_model

        return load_model(self.ckpt, "raw" if self.raw else None, self.base, self.preset)


@dataclass(frozen=True)
class Pictures:
    """Which persons and garments, and their maps.

    Args:
        person: a photograph, or a folder
        garment: a garment, or for pose transfer the person to copy; or a folder
        mask: white is repainted; a folder if --person is one, as for all below
        densepose: DensePose map of the person
        parse: label map of the person, for --recipe
        keypoints: OpenPose JSON of the person, for --recipe
        table: CSV file of pairs: columns person, garment and optionally name, category, mask, ...
        root: base of relative paths in the table; without a table, the folder with persons/,
            garments/ and optionally masks/, densepose/, ... (written by `leffa photo`)
        category: garment category
    """

    person: OptionalPlace = None
    garment: OptionalPlace = None
    mask: OptionalPlace = None
    densepose: OptionalPlace = None
    parse: OptionalPlace = None
    keypoints: OptionalPlace = None
    table: Annotated[Path | None, arg(metavar="CSV", help_behavior_hint="")] = None
    root: OptionalFolder = None
    category: Category = "upper_body"

    def records(self) -> Any:
        from leffa.data.folder import FolderPairs
        from leffa.predict.pairs import MAPS, pairs_of_files, pairs_of_table

        if listed := self.table or self.root:
            if given := self.given("person", "garment", *MAPS):
                option = "--table" if self.table else "--root"
                raise ValueError(f"--{given[0]} and {option} {listed} exclude each other")
            if self.table is None:
                return FolderPairs(listed, table=None, category=self.category)
            return pairs_of_table(self.table, self.root, self.category)
        if self.person is None or self.garment is None:
            name = "garment" if self.person else "person"
            raise ValueError(
                f"--{name} is missing: give --person and --garment, or --table, or --root"
            )
        maps = {name: getattr(self, name) for name in MAPS}
        return pairs_of_files(self.person, self.garment, maps, self.category)

    def given(self, *options: str) -> list[str]:
        return [name for name in options if getattr(self, name) is not None]


@dataclass(frozen=True)
class Inputs:
    """How images are read; default: as in training.

    Args:
        size: height and width in pixels
        fit: how photographs with another aspect ratio are resized
        encoding: encoding of the DensePose files
        recipe: mask recipe, from leffa.preprocess.agnostic
        label_set: label set of --parse
    """

    size: Annotated[str | None, arg(metavar="HxW", help_behavior_hint="")] = None
    fit: Literal["pad", "stretch"] = "pad"
    encoding: Unset[Encoding] = None
    recipe: OptionalName = None
    label_set: Unset[LabelSet] = None


@dataclass(frozen=True)
class Sampling:
    """How images are sampled; default: the sampler of the weights.

    Args:
        official: as the released pipeline: DDPM, 50 steps, guidance 2.5 with a rescale of 2.5, and
            its noise; the options below override it
        scheduler: sampling scheduler
        steps: sampling steps
        guidance: guidance scale
        seed: noise seed; the noise depends on it and the image's name
        reference_cache: evaluate the reference once: faster, slightly different
        paste_back: keep the photograph outside the mask
        paste_feather: pixels over which --paste-back blends
    """

    official: Flag = False
    scheduler: Unset[Scheduler] = None
    steps: Unset[int] = None
    guidance: Unset[float] = None
    seed: Unset[int] = None
    reference_cache: Flag = False
    paste_back: Flag = False
    paste_feather: Annotated[int | None, arg(name="feather", help_behavior_hint="")] = None

    def settings(self, loaded: "LoadedModel", batch_size: int) -> "SamplerSettings":
        """Those of the weights, with the changes."""
        from leffa.models.sampler import SamplerSettings
        from leffa.models.schedulers import check_sampler

        if self.paste_feather is not None and not self.paste_back:
            raise ValueError("--feather goes with --paste-back only")
        given = {k: v for k, v in asdict(self).items() if v is not None and v is not False}
        if given.pop("official", False):
            sampler = SamplerSettings.official(**given)
        else:
            sampler = loaded.settings.sampler.with_changes(**given)
        check_sampler(sampler.scheduler, loaded.model.scheduler_config, sampler.steps)
        if sampler.noise == "global" and batch_size > 1:
            raise ValueError(
                f"--batch-size {batch_size}: the released pipeline draws the noise of a batch at "
                "once, so an image would depend on its neighbours; leave it out"
            )
        return sampler


@dataclass(frozen=True)
class Speed:
    """Batches; changes images by rounding only.

    Args:
        batch_size: images at a time
        reference_memory: memory for cached results that images share, such as a common garment
    """

    batch_size: int = 1
    reference_memory: Annotated[float, arg(metavar="GB")] = 4.0


def predict(
    weights: OmitArgPrefixes[Weights],
    pictures: OmitArgPrefixes[Pictures],
    out: Folder,
    inputs: OmitArgPrefixes[Inputs],
    sampling: OmitArgPrefixes[Sampling],
    speed: OmitArgPrefixes[Speed],
    performance: OmitArgPrefixes[Performance],
    device: Device = "auto",
    save_flow: Flag = False,
) -> None:
    """Generate try-on or pose-transfer images from photos and maps: a pair, folders, or a table.

    Args:
        out: output folder for PNG and JSON files
        device: device of the networks
        save_flow: also save the warped reference and its flow
    """
    from leffa.inference.devices import choose_devices
    from leffa.io.outputs import check_folder
    from leffa.models.placement import check_performance
    from leffa.predict import Job
    from leffa.predict import predict as predict_job
    from leffa.predict.inputs import chosen_transform

    check_folder(out)
    check_performance(choose_devices(device, 1)[0], performance)
    tell_baseline(weights.ckpt)
    records = pictures.records()  # before the weights, which take longer
    loaded = weights.load()
    transform, recipe = chosen_transform(loaded, records, **asdict(inputs))
    sampler = sampling.settings(loaded, speed.batch_size)
    made_of = weights.ckpt, records, transform, sampler
    job = Job(*made_of, out, recipe, save_flow, **asdict(speed), performance=performance)
    made = predict_job(job, loaded, device)
    print(f"{made[0]}" if len(made) == 1 else f"{len(made)} images in {out}")
