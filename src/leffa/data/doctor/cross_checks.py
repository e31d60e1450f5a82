"""What only several files show: sizes that differ, persons among garments, another's body map."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from leffa.data.catalog.spec import DatasetSpec
from leffa.data.doctor.look import Look, Pixels
from leffa.data.doctor.report import Finding
from leffa.data.doctor.survey import Present
from leffa.data.fit import same_shape
from leffa.data.keypoints import LEAST_ON_BODY, foremost, lies_outside, share_on

Looked = Sequence[tuple[Present, Look]]
Photos = Mapping[tuple[str, str, str], Look]  # by group, role and key

_FEWEST_TO_COMPARE = 24  # pictures of each kind before one can be called unlike the others
_UNLIKE = -0.5  # of a prediction in which 1 is one's own kind and -1 the other
_WHITE = 245
_SAME = 6.0  # mean difference of two small pictures of one photograph, in grey levels
_OTHER_BODY = 0.25  # overlap of two silhouettes below which they are two persons'
_OTHER_PICTURE = 12.0  # mean difference of an agnostic picture from its photograph where it is kept
_AGNOSTIC_GREY = (118, 138)
# Contents that are read at any resolution; a drawing is what one's own folder has as DensePose.
_ANY_RESOLUTION = frozenset({"colour", "iuv", "vui", "labels", "drawing"})


def compare(looked: Looked, dataset: DatasetSpec) -> Iterator[Finding]:
    """All findings that need more than one file."""
    photos = {
        (present.group, present.files.role, present.key): look
        for present, look in looked
        if present.files.main
    }
    for check in (_sizes, _bodies, _agnostic_pictures):
        yield from check(looked, photos)
    yield from _odd_sizes(looked, dataset)
    yield from _wrong_kind(looked)
    yield from _same_pictures(looked)


def _sizes(looked: Looked, photos: Photos) -> Iterator[Finding]:
    """Whatever belongs to a photograph has its size (body maps: its shape), and its joints lie
    inside it."""
    for present, look in looked:
        photo = photos.get((present.group, present.files.role, present.key))
        if photo is None or photo.size is None:
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


def _bodies(looked: Looked, photos: Photos) -> Iterator[Finding]:
    """Parse, DensePose and pose of one photograph show one body."""
    by_key: dict[tuple[str, str], list[tuple[Present, Look]]] = defaultdict(list)
    for present, look in looked:
        usable = look.body is not None or look.people is not None
        if usable and present.files.field is not None:
            by_key[present.group, present.key].append((present, look))
    for entries in by_key.values():
        bodies = [(present, look.body) for present, look in entries if look.body is not None]
        if not bodies:
            continue
        first, body = bodies[0]
        for present, other in bodies[1:]:
            overlap = (body & other).sum() / max(1, min(body.sum(), other.sum()))
            if overlap < _OTHER_BODY:
                yield Finding("mismatch", present.where, present.path.name, f"unlike {first.where}")
        near = np.logical_or.reduce([look.near for _, look in entries if look.near is not None])
        for present, look in entries:
            photo = photos.get((present.group, present.files.role, present.key))
            if look.people is None or photo is None or photo.size is None:
                continue
            people = look.people.in_picture(photo.size)
            person = people[foremost(people, photo.size, near)]
            if not lies_outside(person) and share_on(person, near) < LEAST_ON_BODY:
                yield Finding(
                    "pose-elsewhere", present.where, present.path.name, f"unlike {first.where}"
                )


def _agnostic_pictures(looked: Looked, photos: Photos) -> Iterator[Finding]:
    """Where it is not grey, an agnostic picture is the photograph."""
    for present, look in looked:
        photo = photos.get((present.group, present.files.role, present.key))
        if present.files.content != "agnostic" or look.thumb is None:
            continue
        if photo is None or photo.thumb is None:
            continue
        low, high = _AGNOSTIC_GREY
        grey = ((look.thumb > low) & (look.thumb < high)).all(axis=-1)
        difference = np.abs(look.thumb.astype(int) - photo.thumb).mean(axis=-1)
        # The median: cells at the edge of the grey region are half grey.
        if (~grey).sum() > 16 and np.median(difference[~grey]) > _OTHER_PICTURE:
            yield Finding("mismatch", present.where, present.path.name)


def _odd_sizes(looked: Looked, dataset: DatasetSpec) -> Iterator[Finding]:
    """Photographs of another size than most, and folders of another size than the release's."""
    sizes: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for present, look in looked:
        if present.files.main and look.size is not None:
            sizes[present.where][look.size] += 1
    for where, counts in sizes.items():
        usual = counts.most_common(1)[0][0]
        if dataset.size is not None and usual != dataset.size:
            detail = f"{_by(usual)}, officially {_by(dataset.size)}"
            yield Finding("size-unofficial", where, "", detail)
        if not dataset.same_size:
            continue
        for present, look in looked:
            if present.files.main and present.where == where and look.size not in (None, usual):
                detail = f"{_by(look.size or usual)}, others {_by(usual)}"
                yield Finding("size-odd", where, present.path.name, detail)


def _wrong_kind(looked: Looked) -> Iterator[Finding]:
    """Persons among garments and garments among persons.

    The small pictures of both kinds are told apart by a ridge regression, each predicted from all
    others. A garment lies on white, which makes it certain; what is merely unusual is a suspect.
    """
    groups = {present.group for present, _ in looked}
    for group in sorted(groups):
        kinds: dict[str, list[tuple[Present, Pixels]]] = {"person": [], "garment": []}
        for present, look in looked:
            if present.group == group and present.files.main and look.thumb is not None:
                kinds.get(present.files.role, []).append((present, look.thumb))
        people, garments = kinds["person"], kinds["garment"]
        if min(len(people), len(garments)) < _FEWEST_TO_COMPARE:
            continue
        white = {kind: np.median([_whiteness(thumb) for _, thumb in kinds[kind]]) for kind in kinds}
        if white["person"] > 0.8 and white["garment"] < 0.2:
            wheres = f"{people[0][0].where} and {garments[0][0].where}"
            yield Finding("folders-swapped", wheres)
            continue
        entries = people + garments
        likeness = _likeness([thumb for _, thumb in entries], len(people))
        photographs = np.stack([thumb for _, thumb in people]).astype(np.int16)
        for (present, thumb), alike in zip(entries, likeness, strict=True):
            if alike > _UNLIKE:
                continue
            kind = "suspect"
            if present.files.role == "person" and _whiteness(thumb) > 0.9:
                kind = "garment-as-person"
            elif present.files.role == "garment":
                nearest = np.abs(photographs - thumb).mean(axis=(1, 2, 3)).min()
                kind = "person-as-garment" if nearest < _SAME else "suspect"
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
    for entries in same.values():
        first = entries[0]
        roles = {present.files.role for present in entries}
        for present in entries[1:]:
            if present.path == first.path:
                continue
            other = f"{first.where}/{first.path.name}"
            if len(roles) > 1:
                if present.files.role != first.files.role:
                    yield Finding(
                        "person-as-garment", present.where, present.path.name, f"is {other}"
                    )
            elif present.group != first.group:
                yield Finding("train-in-test", present.where, present.path.name, f"is {other}")
            else:
                yield Finding("same-picture", present.where, present.path.name, f"is {other}")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
