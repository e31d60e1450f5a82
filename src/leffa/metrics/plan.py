"""What to score: files, pairs and sizes, checked before any file is decoded."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from leffa.metrics.folders import FolderMismatch, ImageFile, ImageFolder, match, problem
from leffa.metrics.paired import Role
from leffa.metrics.protocols import Protocol
from leffa.metrics.views import Size, View, as_text

Group = tuple["Picture", ...]  # a prediction, then what is compared with it
Matched = tuple[ImageFile, ImageFile | None]  # a prediction and its true image
BESIDE: dict[Role, str] = {  # what may be given beside predictions and true images, in words
    "masks": "masks",
    "worn": "masks of the worn garment",
    "inpainted": "masks of what was generated",
    "garments": "garments",
}
NO_PERSONS = "TRUE must hold the person of each prediction, under its name and in its size"


@dataclass(frozen=True)
class Picture:
    """One image and its processing before the metrics."""

    file: ImageFile
    prepare: View | None = None  # to the size that all metrics start from; None: it stays
    views: tuple[View | None, ...] = (None,)  # what metrics see: as prepared, or a further view
    is_mask: bool = False  # it says which pixels count

    @property
    def size(self) -> Size:
        """(height, width) after the preparation."""
        if self.prepare is None:
            return self.file.size
        assert isinstance(self.prepare.size, tuple)
        return self.prepare.size

    def __str__(self) -> str:
        return f"{self.file.path.name} {as_text(self.size)}"


@dataclass(frozen=True)
class Plan:
    """What is scored."""

    pred: list[Picture]
    groups: list[Group]  # of each prediction: itself, then an image for each of the `roles`
    roles: tuple[Role, ...]
    garments: dict[str, ImageFile]  # by the prediction's name
    real: list[Picture] | None  # of FID and KID; None where the protocol's set was not given
    paired: bool

    @property
    def pairs(self) -> list[Group]:
        """The groups, where predictions have true images; otherwise none."""
        return self.groups if self.paired else []

    @property
    def real_is_in_pairs(self) -> bool:
        """Whether the pairs hold each real image once, so that one pass serves all metrics."""
        if self.real is None:
            return False
        in_pairs = sorted(pair[1].file.path for pair in self.pairs)
        return in_pairs == [picture.file.path for picture in self.real]

    @property
    def fingerprint(self) -> str:
        """SHA256 of the pairs' names, or of the predictions' names where nothing is paired."""
        groups: Sequence[Sequence[Picture]] = self.pairs or [[picture] for picture in self.pred]
        lines = sorted("\t".join(each.file.name for each in group[:2]) for group in groups)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def make_plan(
    protocol: Protocol,
    pred: ImageFolder,
    true: ImageFolder,
    real: ImageFolder | None = None,
    beside: Mapping[Role, ImageFolder] | None = None,
    *,
    paired: bool = True,
    names: Mapping[str, str] | None = None,
) -> Plan:
    """Decide which files are compared; the arguments are those of `score_folders`, `beside` its
    folders of masks and garments.

    Raises:
        FolderMismatch: with everything that does not fit.
        ValueError: names without pairs.
    """
    if names is not None and not paired:
        raise ValueError("names say which images form a pair: they need paired=True")
    beside = beside or {}
    folders = (pred, true, real, *beside.values())
    problems = [each for folder in folders if folder for each in folder.problems]
    problems += _size_problems(protocol, pred)
    matched, mismatches = match(pred, true, names, protocol.ids) if paired else ([], [])
    problems += mismatches
    if not paired and real is None:
        problems += _count_problems(protocol, pred, true)
    if problems:
        raise FolderMismatch(problems)
    chosen = list(matched) if paired else _with_persons(pred, true, protocol)
    sizes = {file.size for file in pred.images.values()}
    one_size = sizes.pop() if len(sizes) == 1 else None
    as_pred = partial(_picture, protocol.prepare_pred, protocol.views, one_size)
    as_true = partial(_picture, protocol.prepare_true, protocol.views, one_size)
    groups = [(as_pred(p), *([as_true(t)] if t else [])) for p, t in chosen]
    if paired and any(metric.view is None for metric in protocol.paired.values()):
        problems = problem("sizes differ, resize one side", _unequal(groups))
    roles: tuple[Role, ...] = ("true",) if all(t for _, t in chosen) else ()
    files = {role: _files_of(folder, chosen) for role, folder in beside.items()}
    for role, (found, missing) in files.items():
        problems += problem(f"{BESIDE[role]} missing", missing)
        if role != "garments" and not missing:
            groups, unequal = _with_masks(groups, found, paired)
            problems += problem(f"{BESIDE[role]} of another size than their image", unequal)
            roles += (role,)
    if problems:
        raise FolderMismatch(problems)
    real_files = _real_set(protocol, matched, true, real)
    garments = zip(chosen, files["garments"][0], strict=True) if "garments" in files else ()
    return Plan(
        pred=[as_pred(file) for file in _by_path(pred.images.values())],
        groups=groups,
        roles=roles,
        garments={pair[0].name: file for pair, file in garments},
        real=None if real_files is None else [as_true(file) for file in _by_path(real_files)],
        paired=paired,
    )


def _count_problems(protocol: Protocol, pred: ImageFolder, true: ImageFolder) -> list[str]:
    """Sets of different size, where the true images are the real set."""
    if protocol.real != "test" or len(pred.images) == len(true.images):
        return []
    return [
        f"{len(pred.images)} predictions but {len(true.images)} true images: generate one for "
        "each, or give the real set separately (--real) to compare sets of different size"
    ]


def _with_masks(
    groups: Sequence[Group], files: Sequence[ImageFile], paired: bool
) -> tuple[list[Group], list[str]]:
    """Each group with its mask, and those whose size is not that of the image that it is of."""
    masks = [Picture(file, is_mask=True) for file in files]
    images = [group[1] if paired else group[0] for group in groups]
    joined = [(*group, mask) for group, mask in zip(groups, masks, strict=True)]
    return joined, _unequal(zip(images, masks, strict=True))


def _with_persons(pred: ImageFolder, true: ImageFolder, protocol: Protocol) -> list[Matched]:
    """Unpaired predictions, with the photographs of their persons where the protocol compares
    what must not change, and TRUE has them all."""
    files = [pred.images[name] for name in sorted(pred.images)]
    persons = [true.images.get(file.name) if protocol.fidelity else None for file in files]
    there = all(t is not None and t.size == p.size for p, t in zip(files, persons, strict=True))
    return list(zip(files, persons if there else [None] * len(files), strict=True))


def _files_of(folder: ImageFolder, chosen: Sequence[Matched]) -> tuple[list[ImageFile], list[str]]:
    """For each prediction its file in a folder, by its true image's name or its own; and the names
    that are missing."""
    found = [
        (true and folder.images.get(true.name)) or folder.images.get(pred.name)
        for pred, true in chosen
    ]
    missing = [(t or p).name for (p, t), file in zip(chosen, found, strict=True) if file is None]
    return [file for file in found if file], missing


def _picture(
    prepare: View | None, views: tuple[View | None, ...], one_size: Size | None, file: ImageFile
) -> Picture:
    """A file with its sizes in pixels; `one_size` is that of the predictions, if they agree."""
    return Picture(file, prepare and prepare.resolved(file.size, one_size), views)


def _real_set(
    protocol: Protocol,
    matched: Sequence[tuple[ImageFile, ImageFile]],
    true: ImageFolder,
    real: ImageFolder | None,
) -> Iterable[ImageFile] | None:
    if real is not None:
        return real.images.values()
    if protocol.real != "test":
        return None
    # The pair list decides, not the folder: a folder may hold garments and other persons.
    return {t.path: t for _, t in matched}.values() or true.images.values()


def _size_problems(protocol: Protocol, pred: ImageFolder) -> list[str]:
    """Problems with the predictions' sizes, for protocols that depend on them."""
    files = pred.images.values()
    if protocol.sizes:
        wanted = " or ".join(as_text(size) for size in protocol.sizes)
        wrong = [str(Picture(file)) for file in files if file.size not in protocol.sizes]
        return problem(f"{protocol.name} takes predictions of {wanted}", wrong)
    relative = protocol.prepare_true is not None and isinstance(protocol.prepare_true.size, str)
    different = {file.size: str(Picture(file)) for file in files}
    if relative and len(different) > 1:
        what = (
            f"{protocol.name} resizes true images to the predictions' size, but the predictions "
            "have several sizes"
        )
        return problem(what, different.values())
    return []


def _unequal(pairs: Iterable[Group]) -> list[str]:
    return [f"{a} but {b}" for a, b in pairs if a.size != b.size]


def _by_path(files: Iterable[ImageFile]) -> list[ImageFile]:
    return sorted(files, key=lambda file: file.path)
