"""Commands about data on disk: check a folder, and make what training reads from a download."""

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
    """Check a data set's lists, names and every file; exit code 1 where something is wrong.

    Args:
        dataset: auto recognises it
        root: folder that holds the data set's lists
        json: write everything there as well
        html: write a contact sheet there
        workers: processes that decode
    """
    from leffa.data.doctor.examine import examine
    from leffa.data.doctor.sheet import write_json, write_sheet
    from leffa.io.outputs import check_writable
    from leffa.io.progress import progress_bar

    for option, file in (("--json", json), ("--html", html)):
        if file is not None:
            check_writable([file], option=option)
    with progress_bar("opening files") as progress:
        report = examine(root, dataset, workers, progress)
    for write, file in ((write_json, json), (write_sheet, html)):
        if file is not None:
            write(report, file)
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
    """Make what training reads from a download: resized pictures, masks, matches.

    Args:
        what: DeepFashion at 256x176 and 512x352, or the masks or trusted matches of a data set
        root: its folder; a killed run is completed by the next
        recipe: masks: of preprocess.agnostic
        label_set: masks of a folder of your own: of its parse files; default: as leffa photo noted,
            else cihp
        encoding: masks of a folder of your own: of its DensePose files; default: as leffa photo
            noted
        workers: processes
    """
    from leffa.io.progress import progress_bar
    from leffa.preprocess.prepare.masks import make_masks
    from leffa.preprocess.prepare.matches import prepare_matches
    from leffa.preprocess.prepare.resize import resize_deepfashion

    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the data set's folder")
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
