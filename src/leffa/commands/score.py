"""Commands that score folders of images and compare results with published ones."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from leffa.commands.options import (
    Device,
    Flag,
    Folder,
    Name,
    OptionalFile,
    OptionalFolder,
    OptionalName,
    Repeated,
)

if TYPE_CHECKING:
    from leffa.metrics.paired import Role


@dataclass(frozen=True)
class Networks:
    """Options of the metric networks.

    Args:
        features: cache folder for the features of the real set
        device: device of the networks
        batch_size: images at a time; does not change results
        workers: number of processes that read files
    """

    features: OptionalFolder = None
    device: Device = "cpu"
    batch_size: int = 16
    workers: int = 0


@dataclass(frozen=True)
class Folders:
    """Folders of further images, named like the ground-truth images.

    Args:
        real: the real set for FID and KID, if it is not TRUE
        masks: masks or parsing maps for masked metrics; white or any label counts
        worn: masks of the garment in the ground-truth images, for garment fidelity (leffa@2)
        inpainted: masks used to generate the predictions, likewise
        garments: photographs of the garments, likewise
    """

    real: OptionalFolder = None
    masks: OptionalFolder = None
    worn: OptionalFolder = None
    inpainted: OptionalFolder = None
    garments: OptionalFolder = None

    @property
    def beside(self) -> "dict[Role, Path]":
        """Those that were given, but for the real set."""
        roles: tuple[Role, ...] = ("masks", "worn", "inpainted", "garments")
        return {role: folder for role in roles if (folder := getattr(self, role)) is not None}


def score(
    pred: Annotated[Path, Positional, arg(metavar="PRED")],
    true: Annotated[Path, Positional, arg(metavar="TRUE")],
    protocol: Name,
    folders: OmitArgPrefixes[Folders],
    networks: OmitArgPrefixes[Networks],
    unpaired: Flag = False,
    metrics: Annotated[Repeated[str], arg(metavar="NAME")] = (),
    pairs: OptionalFile = None,
    json: OptionalFile = None,
    remark: Annotated[Repeated[str], arg(metavar="TEXT")] = (),
) -> None:
    """Score a folder of predictions against a folder of ground-truth images; prints Markdown.

    Args:
        pred: folder of predictions
        true: folder of ground-truth images with the same names
        protocol: a file of conf/protocol, e.g. leffa, or leffa@2 with garment fidelity
        unpaired: compare the sets only (FID, KID)
        metrics: compute only this metric of the protocol; an error if it cannot be computed
        pairs: CSV file with the columns prediction,true, for names that differ or images that
            repeat
        json: also write the result to this file
        remark: note for the result: origin of masks, repainting, guidance, seed
    """
    from leffa.inference.devices import choose_devices
    from leffa.io.outputs import check_writable
    from leffa.metrics.folders import read_pairs
    from leffa.metrics.score import score_folders

    (device,) = choose_devices(networks.device, 1)
    if json is not None:
        check_writable([json], option="--json")
    scores = score_folders(
        pred,
        true,
        protocol,
        paired=not unpaired,
        names=read_pairs(pairs) if pairs else None,
        real=folders.real,
        beside=folders.beside,
        metrics=metrics or None,
        remarks=list(remark),
        progress=sys.stderr.isatty(),
        **asdict(networks) | {"device": device},
    )
    if json is not None:
        scores.save(json)
    print(scores.to_markdown())


def report(
    runs: Annotated[tuple[Path, ...], Positional, arg(metavar="RUN ...", help_behavior_hint="")],
    out: Folder = Path("outputs/report"),
) -> None:
    """Compare finished evaluations with published numbers: HTML, Markdown, LaTeX and CSV.

    Args:
        runs: folder of an evaluation, or of several
        out: output folder
    """
    from leffa.metrics.pages import write_report

    if not runs:
        raise ValueError("leffa report: give the folders of evaluations")
    for path in write_report(runs, out):
        print(path)


def sweep_report(
    folder: Annotated[Path, Positional, arg(metavar="DIR")],
    metric: OptionalName = None,
    largest: Annotated[Flag, arg(name="max")] = False,
    out: OptionalFolder = None,
) -> None:
    """Rank the runs of a sweep, and plot the metric over the varied keys.

    Args:
        folder: folder of a sweep, or of several
        metric: logged metric, such as val/ssim; default: the sweep's objective
        largest: larger is better; default: smaller, as in the sweep
        out: output folder; default: DIR/report
    """
    from leffa.sweeps.report import write_report

    for path in write_report(folder, out or folder / "report", metric, largest=largest):
        print(path)
