"""What is scored: which files, in which pairs, at which sizes; checked before one is decoded."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from leffa.metrics.folders import FolderMismatch, ImageFile, ImageFolder, match, problem
from leffa.metrics.protocols import Protocol
from leffa.metrics.views import Size, View, as_text

Pair = tuple["Picture", ...]  # a prediction, its true image and, where there are masks, its mask


@dataclass(frozen=True)
class Picture:
    """One image and what happens to it before the metrics."""

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
    pairs: list[Pair]  # empty if unpaired
    real: list[Picture] | None  # of FID and KID; None where the protocol's set was not given

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
    sizes = {file.size for file in pred.images.values()}
    one_size = sizes.pop() if len(sizes) == 1 else None
    as_pred = partial(_picture, protocol.prepare_pred, protocol.views, one_size)
    as_true = partial(_picture, protocol.prepare_true, protocol.views, one_size)
    pairs = [(as_pred(p), as_true(t), *_mask_of(p, t, masks)) for p, t in matched]
    if problems := _pair_problems(protocol, pairs, masks is not None):
        raise FolderMismatch(problems)
    real_files = _real_set(protocol, matched, true, real)
    return Plan(
        pred=[as_pred(file) for file in _by_path(pred.images.values())],
        pairs=pairs,
        real=None if real_files is None else [as_true(file) for file in _by_path(real_files)],
    )


def _picture(
    prepare: View | None, views: tuple[View | None, ...], one_size: Size | None, file: ImageFile
) -> Picture:
    """A file with its sizes in pixels; `one_size` is that of the predictions, if they agree."""
    return Picture(file, prepare and prepare.resolved(file.size, one_size), views)


def _mask_of(pred: ImageFile, true: ImageFile, masks: ImageFolder | None) -> tuple[Picture, ...]:
    """The mask of a pair, by the name of its true image or of its prediction; nothing if none."""
    found = masks and (masks.images.get(true.name) or masks.images.get(pred.name))
    return (Picture(found, is_mask=True),) if found else ()


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
    """What is wrong with the predictions' sizes, for protocols that depend on them."""
    files = pred.images.values()
    if protocol.sizes:
        wanted = " or ".join(as_text(size) for size in protocol.sizes)
        wrong = [str(Picture(file)) for file in files if file.size not in protocol.sizes]
        return problem(f"{protocol.name} takes predictions of {wanted}", wrong)
    relative = protocol.prepare_true is not None and isinstance(protocol.prepare_true.size, str)
    different = {file.size: str(Picture(file)) for file in files}
    if relative and len(different) > 1:
        what = f"{protocol.name} brings truth to the predictions' size, but they have several"
        return problem(what, different.values())
    return []


def _pair_problems(protocol: Protocol, pairs: Sequence[Pair], masks: bool) -> list[str]:
    problems = []
    if any(metric.view is None for metric in protocol.paired.values()):
        problems = problem("sizes differ, resize one side", _unequal(p[:2] for p in pairs))
    if masks:
        unmasked = [pair[1].file.name for pair in pairs if len(pair) < 3]
        problems += problem("masks missing", unmasked)
        in_both = (pair[1:] for pair in pairs if len(pair) == 3)
        problems += problem("masks of another size than their image", _unequal(in_both))
    return problems


def _unequal(pairs: Iterable[Pair]) -> list[str]:
    return [f"{a} but {b}" for a, b in pairs if a.size != b.size]


def _by_path(files: Iterable[ImageFile]) -> list[ImageFile]:
    return sorted(files, key=lambda file: file.path)
