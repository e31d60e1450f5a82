"""What only several files show: sizes that differ, persons among garments, another's body map."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from leffa.data.catalog.spec import DatasetSpec
from leffa.data.doctor.contents import Look, Pixels
from leffa.data.doctor.report import Finding
from leffa.data.doctor.survey import Present
from leffa.data.fit import same_shape
from leffa.data.keypoints import LEAST_ON_BODY, foremost, lies_outside, share_on

Looked = Sequence[tuple[Present, Look]]
WithPhoto = Sequence[tuple[Present, Look, Look]]  # a file, its look and that of its photograph

_FEWEST_TO_COMPARE = 24  # pictures of each kind before one can be called unlike the others
_UNLIKE = -0.5  # of a prediction in which 1 is one's own kind and -1 the other
_WHITE = 245
_OTHER_BODY = 0.25  # overlap of two silhouettes below which they are two persons'
_OTHER_PICTURE = 12.0  # mean difference of an agnostic picture from its photograph where it is kept
_AGNOSTIC_GREY = (118, 138)
# Contents that are read at any resolution; a drawing is what one's own folder has as DensePose.
_ANY_RESOLUTION = frozenset({"colour", "iuv", "vui", "labels", "drawing"})


def compare(looked: Looked, spec: DatasetSpec) -> Iterator[Finding]:
    """All findings that need more than one file."""
    photos = {
        (present.group, present.files.role, present.key): look
        for present, look in looked
        if present.files.main
    }
    with_photo = [
        (present, look, photo)
        for present, look in looked
        if (photo := photos.get((present.group, present.files.role, present.key))) is not None
    ]
    yield from _sizes(with_photo)
    yield from _bodies(with_photo)
    yield from _agnostic_pictures(with_photo)
    yield from _odd_sizes(looked, spec)
    yield from _wrong_kind(looked)
    yield from _same_pictures(looked)


def _sizes(with_photo: WithPhoto) -> Iterator[Finding]:
    """Whatever belongs to a photograph has its size (body maps: its shape), and its joints lie
    inside it."""
    for present, look, photo in with_photo:
        if photo.size is None:
            continue
        if look.size is not None and not _fits(look.size, photo.size, present.files.content):
            sizes = f"{_by(look.size)}, photograph {_by(photo.size)}"
            yield Finding("size-mismatch", present.where, present.path.name, sizes)
        if look.people is not None:
            people = look.people.in_picture(photo.size)
            if lies_outside(people[foremost(people, photo.size)]):
                yield Finding("pose-outside", present.where, present.path.name)


def _fits(size: tuple[int, int], photo: tuple[int, int], content: str) -> bool:
    return size == photo or (content in _ANY_RESOLUTION and same_shape(size, photo))


def _bodies(with_photo: WithPhoto) -> Iterator[Finding]:
    """Parse, DensePose and pose of one photograph show one body."""
    by_key: dict[tuple[str, str], list[tuple[Present, Look, Look]]] = defaultdict(list)
    for entry in with_photo:
        if entry[0].files.field is not None:
            by_key[entry[0].group, entry[0].key].append(entry)
    for entries in by_key.values():
        bodies = [(present, look.body) for present, look, _ in entries if look.body is not None]
        if not bodies:
            continue
        first, body = bodies[0]
        for present, other in bodies[1:]:
            overlap = (body & other).sum() / max(1, min(body.sum(), other.sum()))
            if overlap < _OTHER_BODY:
                yield Finding("mismatch", present.where, present.path.name, f"unlike {first.where}")
        near = np.logical_or.reduce([look.near for _, look, _ in entries if look.near is not None])
        for present, look, photo in entries:
            if look.people is None or photo.size is None:
                continue
            people = look.people.in_picture(photo.size)
            person = people[foremost(people, photo.size, near)]
            if not lies_outside(person) and share_on(person, near) < LEAST_ON_BODY:
                yield Finding(
                    "pose-elsewhere", present.where, present.path.name, f"unlike {first.where}"
                )


def _agnostic_pictures(with_photo: WithPhoto) -> Iterator[Finding]:
    """Where it is not grey, an agnostic picture is the photograph."""
    low, high = _AGNOSTIC_GREY
    for present, look, photo in with_photo:
        if present.files.content != "agnostic" or look.thumb is None or photo.thumb is None:
            continue
        grey = ((look.thumb > low) & (look.thumb < high)).all(axis=-1)
        difference = np.abs(look.thumb.astype(int) - photo.thumb).mean(axis=-1)
        # The median: cells at the edge of the grey region are half grey.
        if (~grey).sum() > 16 and np.median(difference[~grey]) > _OTHER_PICTURE:
            yield Finding("mismatch", present.where, present.path.name)


def _odd_sizes(looked: Looked, spec: DatasetSpec) -> Iterator[Finding]:
    """Photographs of another size than most, and folders of another size than the release's."""
    folders: dict[str, list[tuple[str, tuple[int, int]]]] = defaultdict(list)
    for present, look in looked:
        if present.files.main and look.size is not None:
            folders[present.where].append((present.path.name, look.size))
    for where, sizes in folders.items():
        usual = Counter(size for _, size in sizes).most_common(1)[0][0]
        if spec.size is not None and usual != spec.size:
            detail = f"{_by(usual)}, officially {_by(spec.size)}"
            yield Finding("size-unofficial", where, "", detail)
        for name, size in sizes if spec.same_size else ():
            if size != usual:
                yield Finding("size-odd", where, name, f"{_by(size)}, others {_by(usual)}")


def _wrong_kind(looked: Looked) -> Iterator[Finding]:
    """Persons among garments and garments among persons.

    The small pictures of both kinds are told apart by a ridge regression, each predicted from all
    others. A garment lies on white, which makes it certain; what is merely unusual is a suspect.
    """
    for group in sorted({present.group for present, _ in looked}):
        kinds: dict[str, list[tuple[Present, Pixels]]] = {"person": [], "garment": []}
        for present, look in looked:
            if present.group == group and present.files.main and look.thumb is not None:
                kinds.get(present.files.role, []).append((present, look.thumb))
        people, garments = kinds["person"], kinds["garment"]
        if min(len(people), len(garments)) < _FEWEST_TO_COMPARE:
            continue
        white = {kind: np.median([_whiteness(thumb) for _, thumb in kinds[kind]]) for kind in kinds}
        if white["person"] > 0.8 and white["garment"] < 0.2:
            yield Finding("folders-swapped", f"{people[0][0].where} and {garments[0][0].where}")
            continue
        likeness = _likeness([thumb for _, thumb in people + garments], len(people))
        for (present, thumb), alike in zip(people + garments, likeness, strict=True):
            if alike <= _UNLIKE:
                certain = present.files.role == "person" and _whiteness(thumb) > 0.9
                kind = "garment-as-person" if certain else "suspect"
                yield Finding(kind, present.where, present.path.name)


def _whiteness(thumb: Pixels) -> float:
    """The share of the border that is as white as the ground of a garment's photograph."""
    border = np.concatenate([thumb[0], thumb[:, 0], thumb[:, -1]])
    return float((border.min(axis=-1) >= _WHITE).mean())


def _likeness(thumbs: Sequence[Pixels], people: int, ridge: float = 10.0) -> NDArray[np.float64]:
    """How like its own kind each picture is, by what all others teach: about 1, or -1 if unlike."""
    pixels = np.stack([thumb.ravel() for thumb in thumbs]).astype(np.float64) / 127.5 - 1
    pixels = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    kinds = np.where(np.arange(len(pixels)) < people, 1.0, -1.0)
    square = pixels.T @ pixels + ridge * np.eye(pixels.shape[1])
    solved = np.linalg.solve(square, pixels.T)
    leverage = np.einsum("ij,ji->i", pixels, solved)
    own: NDArray[np.float64] = kinds * (pixels @ (solved @ kinds) - leverage * kinds)
    return own / (1 - leverage)


def _same_pictures(looked: Looked) -> Iterator[Finding]:
    """Files with the same bytes: a garment in a person's place, a repeated or a leaked picture."""
    same: dict[bytes, list[Present]] = defaultdict(list)
    for present, look in looked:
        if present.files.main and look.digest:
            same[look.digest].append(present)
    for first, *others in same.values():
        roles = {present.files.role for present in (first, *others)}
        for present in others:
            if present.path == first.path:
                continue
            if present.files.role != first.files.role:
                kind = "person-as-garment"
            elif len(roles) > 1:
                continue
            else:
                kind = "same-picture" if present.group == first.group else "train-in-test"
            other = f"is {first.where}/{first.path.name}"
            yield Finding(kind, present.where, present.path.name, other)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
