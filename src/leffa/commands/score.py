"""The commands that score folders of pictures, and set results beside the published ones."""

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
    """How the metrics' networks compute.

    Args:
        features: folder where those of the real set are kept, and taken from the next time
        device: where they compute
        batch_size: images at a time; changes no value
        workers: processes that open files
    """

    features: OptionalFolder = None
    device: Device = "cpu"
    batch_size: int = 16
    workers: int = 0


@dataclass(frozen=True)
class Folders:
    """Folders of further pictures, which have the names of the true ones.

    Args:
        real: the real set of FID and KID, where it is not TRUE
        masks: masks or parsing maps, for masked metrics; white or any label counts
        worn: masks of the garment in the true images, for its fidelity (leffa@2)
        inpainted: the masks that pictures were generated in, likewise
        garments: the garments' photographs, likewise
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
    """Score a folder of predictions against a folder of true images; prints Markdown.

    Args:
        pred: folder of predictions
        true: folder of true images of the same names
        protocol: a file of conf/protocol, e.g. leffa, or leffa@2 with the garment's fidelity
        unpaired: compare the sets only (FID, KID)
        metrics: only this one of the protocol's; refused where it cannot be computed
        pairs: CSV file with the columns prediction,true: where names differ, or true images repeat
        json: write everything there as well
        remark: for the result: where masks come from, repaint, guidance, seed
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
    """Set finished evaluations beside the published numbers: HTML, Markdown, LaTeX and CSV.

    Args:
        runs: folder of an evaluation, or of several
        out: folder for the pages
    """
    from leffa.metrics.pages import write_report

    if not runs:
        raise ValueError("leffa report: which? give the folders of evaluations")
    for path in write_report(runs, out):
        print(path)


def sweep_report(
    folder: Annotated[Path, Positional, arg(metavar="DIR")],
    metric: OptionalName = None,
    largest: Annotated[Flag, arg(name="max")] = False,
    out: OptionalFolder = None,
) -> None:
    """Rank the runs of a sweep, and draw curves and heat maps of what was varied.

    Args:
        folder: a sweep, or several in a folder
        metric: such as val/ssim; default: the sweep's objective
        largest: largest is best; default: smallest, as in the sweep
        out: default: DIR/report
    """
    from leffa.sweeps.report import write_report

    for path in write_report(folder, out or folder / "report", metric, largest=largest):
        print(path)
