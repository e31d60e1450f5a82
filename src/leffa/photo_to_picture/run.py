"""Runs a request from photos to images: fetch weights, prepare photos, load, sample."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leffa.data.batch import Record
from leffa.data.densepose import ENCODINGS
from leffa.data.transforms import PersonTransform
from leffa.inference.devices import choose_devices
from leffa.io.outputs import check_folder, check_writable
from leffa.io.progress import progress_bar
from leffa.models.placement import check_performance
from leffa.photo_to_picture.duration import tell_time
from leffa.photo_to_picture.maps import (
    PUBLISHED,
    MapMaker,
    check_packages,
    check_pair,
    lacking,
    remove_all_but_masks,
)
from leffa.photo_to_picture.request import PhotoRequest, Weights, find_weights, released_of
from leffa.predict import Job, predict
from leffa.predict.check import check_record
from leffa.predict.inputs import photo_transform
from leffa.released.bring import bring
from leffa.released.catalogue import named


@dataclass
class Pictures:
    """The result of a request.

    Args:
        made: the images, those of earlier calls included.
        failed: the reason, by the name of the pair.
    """

    made: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def make_pictures(
    request: PhotoRequest, tell: Callable[[str], None], progress: bool = True
) -> Pictures:
    """Generate the missing images; a photo that cannot be prepared does not stop the rest.

    Only what is needed and missing is fetched and loaded.

    Args:
        tell: called with a line before all that takes long: what is fetched, whose licence, for
            how long the work will take; and one for each image that cannot be made, at once.
        progress: shows bars; in a log file, one line per minute.

    Raises:
        FileNotFoundError, ValueError: nothing can be done: no such files or weights, too little
            disk, no network.
    """
    check_folder(request.out)
    (device,) = choose_devices(request.device, 1)
    check_performance(device, request.performance)
    result, ready = Pictures(), dict[str, list[Record]]()

    def refuse(record: Record, error: Exception) -> None:
        result.failed[record.name] = str(error)
        tell(f"not made: {error}")

    pairs = _usable_pairs(request, refuse)
    if not pairs:
        return result
    chosen = {name: find_weights(name, request.task) for name in pairs}
    tell_time(request, pairs, chosen, device, tell)
    kinds = {
        kind
        for name in pairs
        for record in pairs[name]
        for kind in lacking(record, chosen[name], request.worn)
    }
    _bring(kinds, chosen.values(), tell)
    maker = MapMaker(request.out, device if device.startswith("cuda") else "cpu", request.worn)
    with progress_bar("preparing", sum(map(len, pairs.values())), progress) as bar:
        every = [(name, record) for name in pairs for record in pairs[name]]
        for done, (weights, record) in enumerate(every, start=1):
            try:
                complete = maker.complete(record, chosen[weights])
                check_record(complete, _transform(chosen[weights]))
                ready.setdefault(weights, []).append(complete)
            except (ValueError, OSError) as error:
                refuse(record, error)
            bar(done)
    roots = maker.roots
    del maker  # its networks make room
    for name, records in ready.items():
        result.made += _predict(request, chosen[name], records, device, progress)
    if not request.keep_maps:
        remove_all_but_masks(roots)
    return result


def bring_released(
    tasks: Collection[str], with_tools: bool, tell: Callable[[str], None]
) -> dict[str, list[Weights]]:
    """Released Leffa's weights by task, on this machine and not loaded yet.

    Args:
        with_tools: also what makes maps of photos.
        tell: called with a line before anything is fetched.

    Raises:
        ValueError: a package is missing, too little disk, no network.
    """
    chosen = {task: released_of(task) for task in tasks}
    kinds = set(PUBLISHED) if "tryon" in tasks else {"densepose"}
    every = [weights for found in chosen.values() for weights in found]
    _bring(kinds if with_tools else set(), every, tell)
    return chosen


def _usable_pairs(
    request: PhotoRequest, refuse: Callable[[Record, Exception], None]
) -> dict[str, list[Record]]:
    """The pairs by their weights, without those whose files cannot be used, which are refused.

    Raises:
        ValueError: an image would replace a file of the user's.
    """
    pairs: dict[str, list[Record]] = {}
    for record in request.pairs():
        try:
            check_pair(record)
        except (ValueError, OSError) as error:
            refuse(record, error)
        else:
            pairs.setdefault(request.weights_for(record), []).append(record)
            picture, settings = (request.out / f"{record.name}{end}" for end in (".png", ".json"))
            if not settings.is_file():
                check_writable([picture, settings], [record.source, record.reference])
    return pairs


def _bring(kinds: set[str], chosen: Collection[Weights], tell: Callable[[str], None]) -> None:
    """Fetch what lacks of the models, and of what makes these kinds of maps."""
    check_packages(kinds)
    models = [weights.entry for weights in chosen if weights.entry is not None]
    tools = [named(name) for kind, names in PUBLISHED.items() if kind in kinds for name in names]
    bring([*models, *tools], tell)


def _predict(
    request: PhotoRequest,
    weights: Weights,
    records: Sequence[Record],
    device: str,
    progress: bool,
) -> list[Path]:
    """The images of pairs that have all their maps; no weights are loaded for finished ones."""
    job = Job(
        weights=weights.file,
        records=records,
        transform=_transform(weights),
        sampler=request.sampler(weights),
        out=request.out,
        performance=weights.performance(request.performance, device),
    )
    if not job.unfinished():
        return [job.outputs(record)[0] for record in records]
    made = predict(job, weights.load(), device, progress)
    weights.loaded = None
    return made


def _transform(weights: Weights) -> PersonTransform:
    """How the weights are fed: as in training, but nothing is stretched."""
    inputs = weights.inputs
    reads_body = "densepose" in weights.reads or inputs.densepose not in ENCODINGS
    densepose = inputs.densepose if reads_body else "none"
    return photo_transform(inputs, weights.reads, densepose=densepose)
