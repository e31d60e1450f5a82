"""Commands for data on disk: check a folder, and prepare a download for training."""

from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

from leffa.commands.options import OptionalFile, OptionalName, Root, Unset, usable_cores
from leffa.data.catalog import CATALOG
from leffa.data.labels import LabelSet

Preparation = Literal["deepfashion", "masks", "matches"]
if TYPE_CHECKING:
    Dataset = str
else:
    Dataset = Literal[("auto", *CATALOG)]


def doctor(
    dataset: Positional[Dataset],
    root: Root,
    json: OptionalFile = None,
    html: OptionalFile = None,
    workers: int = usable_cores(),
) -> int:
    """Check a dataset's lists, names and files; the exit code is 1 if there are problems.

    Args:
        dataset: dataset layout; auto detects it
        root: folder with the dataset's lists
        json: also write the report to this file
        html: write a contact sheet to this file
        workers: number of processes
    """
    from leffa.data.doctor.examine import examine
    from leffa.data.doctor.sheet import write_sheet
    from leffa.io.atomic import write_text
    from leffa.io.outputs import check_writable
    from leffa.io.progress import progress_bar

    for option, file in (("--json", json), ("--html", html)):
        if file is not None:
            check_writable([file], option=option)
    with progress_bar("opening files") as progress:
        report = examine(root, dataset, workers, progress)
    if json is not None:
        write_text(json, report.to_json())
    if html is not None:
        write_sheet(report, html)
    print(report.to_text())
    return 0 if report.clean else 1


def prepare(
    what: Positional[Preparation],
    root: Root,
    recipe: OptionalName = None,
    label_set: Unset[LabelSet] = None,
    encoding: OptionalName = None,
    workers: int = usable_cores(),
) -> None:
    """Prepare a download for training: resized images, masks, trusted matches.

    Args:
        what: DeepFashion at 256x176 and 512x352, or the masks or trusted matches of a dataset
        root: its folder; rerun to complete an interrupted run
        recipe: for masks: a recipe of leffa.preprocess.agnostic
        label_set: for masks of your own folder: label set of its parse files; default: as recorded
            by leffa photo, otherwise cihp
        encoding: for masks of your own folder: encoding of its DensePose files; default: as
            recorded by leffa photo
        workers: number of processes
    """
    from leffa.io.progress import progress_bar
    from leffa.preprocess.prepare.masks import make_masks
    from leffa.preprocess.prepare.matches import prepare_matches
    from leffa.preprocess.prepare.resize import resize_deepfashion

    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the dataset's folder")
    if what == "masks" and recipe is None:
        raise ValueError("--recipe is missing: name one, for example hr_viton")
    given = {"recipe": recipe, "label-set": label_set, "encoding": encoding}
    for name, value in given.items():
        if value is not None and what != "masks":
            raise ValueError(f"--{name} goes with `leffa prepare masks` only")
    made: list[object]
    with progress_bar("matching" if what == "matches" else "preparing") as progress:
        if what == "matches":
            found = prepare_matches(root, workers, progress)
            made = [*found.folders, found]
        elif recipe is not None:
            sets = make_masks(root, recipe, workers, progress, label_set, encoding)
            made = [path for each in sets for path in (each.folder, *each.tables)]
        else:
            made = [*resize_deepfashion(root, workers=workers, progress=progress)]
    for line in made:
        print(line)
