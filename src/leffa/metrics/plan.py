"""What is scored: which files, in which pairs, at which sizes; checked before one is decoded."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from leffa.metrics.folders import FolderMismatch, ImageFile, ImageFolder, match, problem
from leffa.metrics.protocols import Protocol
from leffa.metrics.views import Size, View, as_text


@dataclass(frozen=True)
class Picture:
    """One image and what happens to it before the metrics; sizes are in pixels.

    Attributes:
        file: where it is stored.
        prepare: how it is brought to the size that all metrics start from; None: it stays.
        views: what metrics see of it: None, the prepared picture, or a further view.
        is_mask: it says which pixels count.
    """

    file: ImageFile
    prepare: View | None = None
    views: tuple[View | None, ...] = (None,)
    is_mask: bool = False

    @property
    def size(self) -> Size:
        """(height, width) after the preparation."""
        width, height = self.file.size
        if self.prepare is None:
            return height, width
        assert isinstance(self.prepare.size, tuple)
        return self.prepare.size


@dataclass(frozen=True)
class Plan:
    """What is scored.

    Attributes:
        pred: all predictions.
        pairs: each prediction, its true image and, where there are masks, its mask; none if
            unpaired.
        real: the real set of FID and KID; None where the protocol's set was not given.
    """

    pred: list[Picture]
    pairs: list[tuple[Picture, ...]]
    real: list[Picture] | None

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
    masks: ImageFolder | None = None,
    *,
    paired: bool = True,
    names: Mapping[str, str] | None = None,
) -> Plan:
    """Decide which files are compared; the arguments are those of `score_folders`.

    Raises:
        FolderMismatch: with everything that does not fit.
        ValueError: names without pairs.
    """
    if names is not None and not paired:
        raise ValueError("names say which images form a pair: they need paired=True")
    problems = [each for folder in (pred, true, real, masks) if folder for each in folder.problems]
    problems += _size_problems(protocol, pred)
    matched: list[tuple[ImageFile, ImageFile]] = []
    if paired:
        matched, mismatches = match(pred, true, names, protocol.ids)
        problems += mismatches
    elif real is None and protocol.real == "test" and len(pred.images) != len(true.images):
        problems.append(
            f"{len(pred.images)} predictions but {len(true.images)} true images: generate one for "
            "each, or name the real set by itself (--real) to compare sets of different size"
        )
    if problems:
        raise FolderMismatch(problems)
    prepare = _Preparation(protocol, pred)
    pairs = [(prepare.pred(p), prepare.true(t)) for p, t in matched]
    problems = []
    if any(metric.view is None for metric in protocol.paired.values()):
        problems = problem("sizes differ, resize one side", map(_sizes, filter(_unequal, pairs)))
    if masks is not None:
        problems += _mask_problems(pairs, masks)
    if problems:
        raise FolderMismatch(problems)
    if real is not None or protocol.real == "test":
        # The pair list decides, not the folder: a folder may hold garments and other persons.
        in_pairs = {t.path: t for _, t in matched} if real is None and paired else {}
        chosen = list(in_pairs.values()) or list((real or true).images.values())
    else:
        chosen = None
    return Plan(
        pred=[prepare.pred(file) for file in _by_path(pred.images.values())],
        pairs=[(*pair, *_mask_of(pair, masks)) for pair in pairs],
        real=None if chosen is None else [prepare.true(file) for file in _by_path(chosen)],
    )


class _Preparation:
    """Pictures of both sides, with the sizes that a protocol wants in pixels."""

    def __init__(self, protocol: Protocol, pred: ImageFolder) -> None:
        self.protocol = protocol
        sizes = {(file.size[1], file.size[0]) for file in pred.images.values()}
        self.prediction_size = sizes.pop() if len(sizes) == 1 else None

    def pred(self, file: ImageFile) -> Picture:
        return self._picture(file, self.protocol.prepare_pred)

    def true(self, file: ImageFile) -> Picture:
        return self._picture(file, self.protocol.prepare_true)

    def _picture(self, file: ImageFile, prepare: View | None) -> Picture:
        width, height = file.size
        if prepare is not None:
            prepare = prepare.resolved((height, width), self.prediction_size)
        return Picture(file, prepare, self.protocol.views)


def _size_problems(protocol: Protocol, pred: ImageFolder) -> list[str]:
    """What is wrong with the predictions' sizes, for protocols that depend on them."""
    found = [(file, (file.size[1], file.size[0])) for file in pred.images.values()]
    if protocol.sizes:
        wanted = " or ".join(as_text(size) for size in protocol.sizes)
        wrong = [
            f"{file.path.name} {as_text(size)}"
            for file, size in found
            if size not in protocol.sizes
        ]
        return problem(f"{protocol.name} takes predictions of {wanted}", wrong)
    relative = protocol.prepare_true is not None and isinstance(protocol.prepare_true.size, str)
    different = {size: f"{file.path.name} {as_text(size)}" for file, size in found}
    if relative and len(different) > 1:
        return problem(
            f"{protocol.name} brings truth to the predictions' size, but they have several",
            different.values(),
        )
    return []


def _unequal(pair: tuple[Picture, Picture]) -> bool:
    return pair[0].size != pair[1].size


def _sizes(pair: tuple[Picture, Picture]) -> str:
    p, t = pair
    return f"{p.file.path.name} {as_text(p.size)} but {t.file.path.name} {as_text(t.size)}"


def _mask_of(pair: tuple[Picture, Picture], masks: ImageFolder | None) -> tuple[Picture, ...]:
    """The mask of a pair, by the name of its true image or of its prediction; nothing if none."""
    if masks is None:
        return ()
    names = (picture.file.name for picture in reversed(pair))
    found = next((masks.images[name] for name in names if name in masks.images), None)
    return () if found is None else (Picture(found, is_mask=True),)


def _mask_problems(pairs: Sequence[tuple[Picture, Picture]], masks: ImageFolder) -> list[str]:
    missing = [true.file.name for _, true in pairs if not _mask_of((_, true), masks)]
    found = [(pair[1], mask) for pair in pairs for mask in _mask_of(pair, masks)]
    return [
        *problem("masks missing", missing),
        *problem("masks of another size than their image", map(_sizes, filter(_unequal, found))),
    ]


def _by_path(files: Iterable[ImageFile]) -> list[ImageFile]:
    return sorted(files, key=lambda file: file.path)
