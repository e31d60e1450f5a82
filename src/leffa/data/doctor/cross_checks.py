"""Checks over several files: different sizes, swapped folders, maps of another person."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from leffa.data.catalog.spec import DatasetSpec
from leffa.data.doctor.contents import Inspection, Pixels
from leffa.data.doctor.report import Finding
from leffa.data.doctor.survey import Present
from leffa.data.fit import same_shape
from leffa.data.keypoints import LEAST_ON_BODY, Joints, foremost, lies_outside, share_on
from leffa.data.leaks import find_again

Inspected = Sequence[tuple[Present, Inspection]]
# A file, what it gives, and what its photograph gives.
WithPhoto = Sequence[tuple[Present, Inspection, Inspection]]
# The splits, or tables of a user's own, that list a photograph.
Splits = Callable[[Present], Set[str]]

_FEWEST_TO_COMPARE = 24  # images of each kind
_WHITE = 245
_OTHER_BODY = 0.25  # overlap of two silhouettes below which they are two persons'
_LARGER = (1.18, 1.25, 1.33)  # scales at which joints are tried that do not all lie on the body
_MOST_ON_BODY, _ALL_ON_BODY = 0.9, 0.98  # before and after
# Contents that are read at any resolution; a drawing is what one's own folder has as DensePose.
_ANY_RESOLUTION = frozenset({"colour", "iuv", "vui", "labels", "drawing"})


def compare(inspected: Inspected, spec: DatasetSpec, splits: Splits) -> Iterator[Finding]:
    """All findings that need more than one file."""
    photos = {
        (present.group, present.files.role, present.key): result
        for present, result in inspected
        if present.files.main
    }
    with_photo = [
        (present, result, photo)
        for present, result in inspected
        if (photo := photos.get((present.group, present.files.role, present.key))) is not None
    ]
    yield from _sizes(with_photo)
    yield from _bodies(with_photo)
    yield from _odd_sizes(inspected, spec)
    yield from _swapped_folders(inspected)
    yield from _same_pictures(inspected, splits)
    yield from _leaks(inspected, splits)


def _sizes(with_photo: WithPhoto) -> Iterator[Finding]:
    """All files of a photograph have its size (body maps: its shape), and its joints lie inside."""
    for present, result, photo in with_photo:
        if photo.size is None:
            continue
        if result.size is not None and not _fits(result.size, photo.size, present.files.content):
            sizes = f"{_by(result.size)}, photograph {_by(photo.size)}"
            yield Finding("size-mismatch", present.where, present.path.name, sizes)
        if result.people is not None:
            people = result.people.in_picture(photo.size)
            if lies_outside(people[foremost(people, photo.size)]):
                yield Finding("pose-outside", present.where, present.path.name)


def _fits(size: tuple[int, int], photo: tuple[int, int], content: str) -> bool:
    return size == photo or (content in _ANY_RESOLUTION and same_shape(size, photo))


def _bodies(with_photo: WithPhoto) -> Iterator[Finding]:
    """Parse, DensePose and pose of one photograph show one body."""
    by_key: dict[tuple[str, str], list[tuple[Present, Inspection, Inspection]]] = defaultdict(list)
    for entry in with_photo:
        if entry[0].files.field is not None:
            by_key[entry[0].group, entry[0].key].append(entry)
    for entries in by_key.values():
        bodies = [
            (present, result.body) for present, result, _ in entries if result.body is not None
        ]
        if not bodies:
            continue
        first, body = bodies[0]
        for present, other in bodies[1:]:
            overlap = (body & other).sum() / max(1, min(body.sum(), other.sum()))
            if overlap < _OTHER_BODY:
                yield Finding("mismatch", present.where, present.path.name, f"unlike {first.where}")
        near = np.logical_or.reduce(
            [result.near for _, result, _ in entries if result.near is not None]
        )
        for present, result, photo in entries:
            if result.people is None or photo.size is None:
                continue
            people = result.people.in_picture(photo.size)
            person = people[foremost(people, photo.size, near)]
            if not lies_outside(person) and _beside(person, near):
                yield Finding(
                    "pose-elsewhere", present.where, present.path.name, f"unlike {first.where}"
                )


def _beside(person: Joints, near: NDArray[np.bool_]) -> bool:
    """Whether joints lie beside the body, or, found in a smaller image, do so but for few."""
    share = share_on(person, near)
    larger = (share_on(person * np.array((scale, scale, 1)), near) for scale in _LARGER)
    return share < LEAST_ON_BODY or (share < _MOST_ON_BODY and max(larger) > _ALL_ON_BODY)


def _odd_sizes(inspected: Inspected, spec: DatasetSpec) -> Iterator[Finding]:
    """Photographs of another size than most, and folders of another size than the release's."""
    folders: dict[str, list[tuple[str, tuple[int, int]]]] = defaultdict(list)
    for present, result in inspected:
        if present.files.main and result.size is not None:
            folders[present.where].append((present.path.name, result.size))
    for where, sizes in folders.items():
        usual = Counter(size for _, size in sizes).most_common(1)[0][0]
        if spec.size is not None and usual != spec.size:
            detail = f"{_by(usual)}, officially {_by(spec.size)}"
            yield Finding("size-unofficial", where, "", detail)
        for name, size in sizes if spec.same_size else ():
            if size != usual:
                yield Finding("size-odd", where, name, f"{_by(size)}, others {_by(usual)}")


def _swapped_folders(inspected: Inspected) -> Iterator[Finding]:
    """Garments, which lie on white, where persons should be, and the other way round."""
    for group in sorted({present.group for present, _ in inspected}):
        kinds: dict[str, list[tuple[Present, Pixels]]] = {"person": [], "garment": []}
        for present, result in inspected:
            if present.group == group and present.files.main and result.thumb is not None:
                kinds.get(present.files.role, []).append((present, result.thumb))
        people, garments = kinds["person"], kinds["garment"]
        if min(len(people), len(garments)) < _FEWEST_TO_COMPARE:
            continue
        white = {kind: np.median([_whiteness(thumb) for _, thumb in kinds[kind]]) for kind in kinds}
        if white["person"] > 0.8 and white["garment"] < 0.2:
            yield Finding("folders-swapped", f"{people[0][0].where} and {garments[0][0].where}")


def _whiteness(thumb: Pixels) -> float:
    """The share of the border that is as white as the ground of a garment's photograph."""
    border = np.concatenate([thumb[0], thumb[:, 0], thumb[:, -1]])
    return float((border.min(axis=-1) >= _WHITE).mean())


def _same_pictures(inspected: Inspected, splits: Splits) -> Iterator[Finding]:
    """Files with the same bytes: a garment in a person's place, or a repeated image."""
    same: dict[bytes, list[Present]] = defaultdict(list)
    for present, result in inspected:
        if present.files.main and result.digest:
            same[result.digest].append(present)
    for first, *others in same.values():
        roles = {present.files.role for present in (first, *others)}
        for present in others:
            if present.path == first.path:
                continue
            other = f"is {first.where}/{first.path.name}"
            if present.files.role != first.files.role:
                yield Finding("person-as-garment", present.where, present.path.name, other)
            elif len(roles) == 1 and splits(present) & splits(first):
                yield Finding("same-picture", present.where, present.path.name, other)


def _leaks(inspected: Inspected, splits: Splits) -> Iterator[Finding]:
    """Test images that show what a training image shows, however both were saved."""
    for role in sorted({present.files.role for present, _ in inspected if present.files.main}):
        sets: dict[bool, list[tuple[Present, int]]] = {True: [], False: []}
        for present, result in inspected:
            if present.files.main and present.files.role == role and result.fingerprint is not None:
                for known in {"train" in split for split in splits(present)}:
                    sets[known].append((present, result.fingerprint))
        tests, trained = ([(each.path, bits) for each, bits in sets[key]] for key in (False, True))
        for ours, theirs in find_again(tests, trained):
            present, other = sets[False][ours][0], sets[True][theirs][0]
            if present.path != other.path:
                detail = f"is {other.where}/{other.path.name}"
                yield Finding("train-in-test", present.where, present.path.name, detail)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
