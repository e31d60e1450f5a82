"""Cloth-agnostic masks for a whole dataset, by a named recipe."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import cast

from PIL import Image

from leffa.data.batch import Record
from leffa.data.catalog import DATASETS
from leffa.data.catalog.spec import SPLITS, DatasetSpec, GroupSpec
from leffa.data.densepose import densepose_encoding
from leffa.data.doctor.recognise import recognise
from leffa.data.folder import is_custom_folder
from leffa.data.labels import LABELS, LabelSet
from leffa.data.layout import check_choice
from leffa.data.reader import TryOnPairs
from leffa.io.atomic import write_text
from leffa.preprocess.agnostic import AGNOSTIC
from leffa.preprocess.agnostic.from_files import mask_from_files
from leffa.preprocess.notes import agreed_note, read_note, write_note
from leffa.preprocess.prepare.jobs import Progress, alone, make_files
from leffa.preprocess.prepare.own import MASKS, check_tables, own_masks


@dataclass(frozen=True)
class MaskSet:
    """The masks of one folder.

    Args:
        folder: where the dataset's class reads them.
        files: record of each mask, by the mask's name.
        label_set: of the parse.
        densepose: encoding of the DensePose files, None where there are none, or it is not known.
        mode: of the images: the releases differ.
        tables: that name the masks, to be written when these are there; by path.
    """

    folder: Path
    files: dict[str, Record]
    label_set: LabelSet
    densepose: str | None
    mode: str
    tables: dict[Path, str] = field(default_factory=dict)

    @property
    def unfinished(self) -> Path:
        """Where the masks are kept until all are done: no class may read half a folder."""
        return self.folder.with_name(f"{self.folder.name}.unfinished")

    def jobs(self, recipe: str) -> dict[Path, Callable[[], Image.Image]]:
        """What makes each mask; finished sets have theirs in place already."""
        folder = self.folder if self.folder.is_dir() else self.unfinished
        return {
            folder / name: partial(
                mask_from_files, record, recipe, self.label_set, self.densepose, self.mode
            )
            for name, record in self.files.items()
        }


def make_masks(
    root: Path,
    recipe: str,
    workers: int = 1,
    progress: Progress | None = None,
    label_set: LabelSet | None = None,
    encoding: str | None = None,
) -> list[MaskSet]:
    """Make the masks of every split or category that has none, where its class reads them.

    VITON-HD: `<split>/agnostic-mask/<stem>_mask.png`; DressCode: `<category>/agnostic_masks/`;
    the user's own folder: `masks/`, and tables that name them (`own.own_masks`). A folder appears
    when all its masks are made; beside it, `<folder>.json` names the recipe.

    Args:
        root: of the dataset, which is recognised.
        recipe: a key of `preprocess.agnostic.AGNOSTIC`.
        label_set: of the parse files of the user's own folder; None: as `leffa photo` has noted,
            else "cihp".
        encoding: of its DensePose files (`data.densepose.ENCODINGS`); None: as noted; where nothing
            is, recipes go without.

    Returns:
        The sets, also those that an earlier run has finished.

    Raises:
        FileNotFoundError: files of the dataset are missing.
        ValueError: there is no such recipe, label set, encoding or dataset, a folder of masks by
            another recipe is there, persons lack what the recipe needs, or another run makes masks
            here.
    """
    check_choice("recipe", recipe, AGNOSTIC)
    sets = list(_mask_sets(root, label_set, encoding))
    for entry in sets:
        check_tables(entry.tables)
    with alone(root, "masks"):
        for entry in sets:
            _claim(entry, recipe)
        jobs = {path: job for entry in sets for path, job in entry.jobs(recipe).items()}
        make_files(jobs, "masks", workers, progress)
        for entry in sets:
            if not entry.folder.is_dir():
                entry.unfinished.replace(entry.folder)
            for path, content in entry.tables.items():
                write_text(path, content)
    return sets


def _claim(entry: MaskSet, recipe: str) -> None:
    """Note how the masks are made; refuse a folder made otherwise, or of unknown origin."""
    wanted = {"recipe": recipe, "label_set": entry.label_set}
    note = read_note(entry.folder)
    categories = {record.category for record in entry.files.values()}
    made = "recipe" in note and all(note.get(key, value) == value for key, value in wanted.items())
    if made and ("category" not in note or {note["category"]} == categories):
        return
    for folder in (entry.folder, entry.unfinished):
        if folder.is_dir():
            listed = ", ".join(f"{key} {value}" for key, value in note.items())
            origin = f"by the {listed}" if listed else "that were not made here"
            raise ValueError(
                f"{entry.folder}: holds masks {origin}; rename or delete {folder} to make others"
            )
    write_note(entry.folder, **wanted)


def _mask_sets(root: Path, label_set: LabelSet | None, encoding: str | None) -> Iterator[MaskSet]:
    dataset = "folder" if is_custom_folder(root) else recognise(root)
    spec = DATASETS.get(dataset or "")
    if spec is not None and spec.label_set is not None:
        if label_set or encoding:
            raise ValueError(
                f"{root}: is {dataset}, whose labels and DensePose are known; omit the label set "
                "and the encoding"
            )
        for group in spec.groups:
            if any(listing.find(root) for listing in group.lists):
                yield _published(root, spec, group)
    elif dataset == "folder":
        yield _own(root, label_set, encoding)
    else:
        raise ValueError(
            f"{root}: masks are made for viton_hd, dress_code and folder, and this is "
            f"{dataset or 'none of them'}"
        )


def _own(root: Path, label_set: LabelSet | None, encoding: str | None) -> MaskSet:
    noted = agreed_note(root / "parse", label_set=label_set).get("label_set", "cihp")
    check_choice("label_set", labels := label_set or noted, LABELS)
    encoding = encoding or agreed_note(root / "densepose").get("encoding")
    if encoding is not None:
        densepose_encoding(encoding)  # raises where there is none of this name
    files, written = own_masks(root)
    return MaskSet(root / MASKS, files, cast(LabelSet, labels), encoding, "L", written)


def _published(root: Path, spec: DatasetSpec, group: GroupSpec) -> MaskSet:
    """The masks of a split or category of a published dataset, as its release would have them."""
    files = {each.field: each for each in reversed(group.files) if not each.synthetic}
    mask, body, person = files["mask"], files["densepose"], group.main("person")
    folder = root / group.folder
    encoding = body.encoding if (folder / body.spellings[0]).is_dir() else None
    records = [
        record
        for split in SPLITS
        if any(one.split == split and one.find(root) for one in group.lists)
        for record in TryOnPairs(
            spec, root, split, "paired", encoding or "none", True, categories=[group.name]
        )
    ]
    names = {
        mask.pattern.format(person.key_of_stem(record.source.name)): record for record in records
    }
    mode = "RGB" if mask.encoder == "mask_rgb" else "L"
    assert spec.label_set is not None
    return MaskSet(folder / mask.spellings[0], names, spec.label_set, encoding, mode)
