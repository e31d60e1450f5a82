"""Two folders in, a table out: no model, no configuration, one pass over the images.

scores = score_folders(Path("outputs/test"), Path("data/test/image"), "leffa")
print(scores.to_markdown())
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from leffa.io.colour import SRGB
from leffa.metrics.bootstrap import check_resamples
from leffa.metrics.distribution import small_set_note
from leffa.metrics.folders import ImageFolder, read_folder
from leffa.metrics.loading import ImageReader
from leffa.metrics.plan import Plan, make_plan
from leffa.metrics.precision import full_float32
from leffa.metrics.protocols import Protocol, get_protocol
from leffa.metrics.result import Scores, library_versions
from leffa.metrics.scorer import Scorer
from leffa.metrics.views import as_text

MASK_MODES = ("L", "P", "1", "RGB")


@full_float32()
def score_folders(
    pred: Path,
    true: Path,
    protocol: Protocol | Mapping[str, Any] | str,
    *,
    paired: bool = True,
    names: Mapping[str, str] | None = None,
    real: Path | None = None,
    masks: Path | None = None,
    weights: Path | None = None,
    remarks: Sequence[str] = (),
    fid_resamples: int = 0,
    groups: Mapping[str, Collection[str]] | None = None,
    device: str = "cpu",
    batch_size: int = 16,
    workers: int = 0,
    progress: bool = False,
) -> Scores:
    """Score a folder of predictions against a folder of true images.

    Args:
        pred, true: folders of images; a prediction has its true image's name, suffixes aside, or
            one that the protocol's rule understands.
        protocol: one of `leffa.metrics.protocols`, its name, or its settings.
        paired: compare image by image; without, only FID and KID of the two sets are computed.
        names: prediction's name -> true image's name, without suffixes, where they differ.
        real: the real set of FID and KID where it is not `true` (DeepFashion: all training images).
        masks: folder of masks or parsing maps, named as the true images, for masked metrics.
        weights: folder of the metrics' networks; see `WeightsFile.locate`.
        remarks: for the result: what numbers depend on and files do not show, such as guidance.
        fid_resamples: for a confidence interval of FID; each takes up to a second.
        groups: parts of the predictions, by name, each scored as a set of its own; unpaired, true
            images have the predictions' names. No FID and KID where `real` is another set.
        device, batch_size, workers: change the speed only, and values by no more than rounding.
        progress: show a bar on stderr.

    Raises:
        FileNotFoundError: a folder does not exist.
        FolderMismatch: the folders do not fit each other; lists how, before anything is computed.
        ValueError: a setting is wrong.
    """
    check_resamples(fid_resamples)
    read = ImageReader(batch_size, workers, progress)
    protocol = get_protocol(protocol)
    sides = _read_sides(pred, true, real, masks)
    plan = make_plan(protocol, **sides, paired=paired, names=names)
    scorer = Scorer(
        protocol,
        paired=paired,
        masks=masks is not None,
        sets=None if plan.real is None else (len(plan.pred), len(plan.real)),
        weights=weights,
        device=device,
        fid_resamples=fid_resamples,
        groups=bool(groups),
    )
    _feed(scorer, plan, read)
    return _result(scorer, plan, sides, paired, groups or {}, remarks)


def _read_sides(
    pred: Path, true: Path, real: Path | None, masks: Path | None
) -> dict[str, ImageFolder]:
    sides = {"pred": read_folder(pred), "true": read_folder(true)}
    if real is not None:
        sides["real"] = read_folder(real)
    if masks is not None:
        sides["masks"] = read_folder(masks, MASK_MODES)
    return sides


def _result(
    scorer: Scorer,
    plan: Plan,
    sides: Mapping[str, ImageFolder],
    paired: bool,
    groups: Mapping[str, Collection[str]],
    remarks: Sequence[str],
) -> Scores:
    values, per_image = scorer.values(), scorer.values_per_image()
    intervals, on_intervals = scorer.intervals()
    notes = _notes(scorer.protocol, plan, sides, with_sets=bool(scorer.sets))
    unjudged = {key: [n for n, v in each.items() if v != v] for key, each in per_image.items()}
    return Scores(
        protocol=scorer.protocol,
        paired=paired,
        values=values,
        images={"pred": len(plan.pred), "real": len(plan.real or ())},
        formats={side: folder.formats() for side, folder in sides.items()},
        missing=scorer.missing,
        notes=[*remarks, *notes, *on_intervals],
        weights=scorer.weights,
        versions=library_versions(),
        per_image={key: {n: v for n, v in x.items() if v == v} for key, x in per_image.items()},
        intervals=intervals,
        groups={name: scorer.group_values(set(part)) for name, part in groups.items()},
        left_out={key: names for key, names in unjudged.items() if names},
        names_sha256=plan.fingerprint,
    )


def _feed(scorer: Scorer, plan: Plan, read: ImageReader) -> None:
    """Show each file to the scorer, once where the real images are those of the pairs."""
    one_pass = plan.real_is_in_pairs
    if scorer.per_image or (plan.pairs and scorer.sets):
        for names, (pred, true, *masks) in read(plan.pairs, "pairs"):
            scorer.add_pairs(names, pred, true, *masks)
            scorer.add_set(names, pred, real=False)
            if one_pass:  # under the predictions' names
                scorer.add_set(names, true, real=True)
    if not scorer.sets:
        return
    if not plan.pairs:
        for names, (pred,) in read([(picture,) for picture in plan.pred], "predictions"):
            scorer.add_set(names, pred, real=False)
    if not one_pass and plan.real is not None:
        for names, (true,) in read([(picture,) for picture in plan.real], "real set"):
            scorer.add_set(names, true, real=True)


def _sizes_note(plan: Plan) -> list[str]:
    """Inception sees 299x299 pixels of every image: enlarged from few, or reduced from many."""
    sizes = [{picture.size for picture in side} for side in (plan.pred, plan.real or [])]
    if sizes[0] == sizes[1]:
        return []
    shown = [as_text(min(side)) + (" and others" if len(side) > 1 else "") for side in sizes]
    return [
        f"predictions are {shown[0]}, the real set is {shown[1]}: FID and KID measure the "
        "difference in resolution too"
    ]


def _profiles_note(sides: Mapping[str, ImageFolder]) -> list[str]:
    """Colour profiles are read by no protocol's code, so they are not applied here either."""
    found = {side: sides[side].profiles() for side in sides if side != "masks"}
    if all(profiles.keys() <= {SRGB} for profiles in found.values()):
        return []
    counted = "; ".join(
        f"{side}: {', '.join(f'{name} {count:,}' for name, count in profiles.items())}"
        for side, profiles in found.items()
    )
    return [f"pixels are compared as stored, and colour profiles are not all sRGB ({counted})"]


def _notes(
    protocol: Protocol, plan: Plan, sides: Mapping[str, ImageFolder], *, with_sets: bool
) -> list[str]:
    notes = []
    formats = sides["pred"].formats()
    notes += [folder.left_out for folder in sides.values() if folder.left_out]
    if "JPEG" in formats:
        notes.append("predictions are stored as JPEG: its losses are part of these numbers")
    notes += _profiles_note(sides)
    resized = sum(
        picture.prepare is not None and picture.file.size != picture.size for picture in plan.pred
    )
    if resized:
        notes.append(f"{resized:,} predictions were resized, as {protocol.name} does")
    if protocol.counts and len(plan.pred) not in protocol.counts.values():
        known = ", ".join(f"{name} {count:,}" for name, count in protocol.counts.items())
        notes.append(
            f"{len(plan.pred):,} predictions are not a published test set of this protocol "
            f"({known}): do not compare with published numbers"
        )
    if with_sets and plan.real is not None:
        notes += _sizes_note(plan)
        note = small_set_note(len(plan.pred), len(plan.real))
        notes += [note] if note else []
    return notes
