"""Two folders in, a table out: no model, no configuration, one pass over the images.

scores = score_folders(Path("outputs/test"), Path("data/test/image"), "leffa")
print(scores.to_markdown())
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from leffa.io.colour import SRGB
from leffa.io.numbers import check_count
from leffa.metrics.distribution import small_set_note
from leffa.metrics.folders import ImageFolder, read_folder
from leffa.metrics.loading import read_batches
from leffa.metrics.paired import Role
from leffa.metrics.plan import BESIDE, Plan, make_plan
from leffa.metrics.precision import full_float32
from leffa.metrics.protocols import Protocol, get_protocol
from leffa.metrics.real_features import RealFeatures
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
    beside: Mapping[Role, Path] | None = None,
    metrics: Sequence[str] | None = None,
    absent: Mapping[Role, str] | None = None,
    features: Path | None = None,
    remarks: Sequence[str] = (),
    groups: Mapping[str, Collection[str]] | None = None,
    device: str = "cpu",
    batch_size: int = 16,
    workers: int = 0,
    progress: bool = False,
) -> Scores:
    """Score a folder of predictions against a folder of ground-truth images.

    Args:
        pred, true: folders of images with the same names, or names matched by the protocol's rule.
        protocol: one of `leffa.metrics.protocols`, its name, or its settings.
        paired: compare image by image; otherwise only FID and KID of the two sets are computed.
        names: prediction's name -> true image's name, without suffixes, where they differ.
        real: the real set of FID and KID where it is not `true`.
        beside: folders of files named as the true images: "masks" or parsing maps for masked
            metrics of pairs; for the garment's fidelity "worn", its masks in the true images,
            "inpainted", the masks that were generated in, and "garments", their photographs.
        metrics: only these of the protocol's; one that cannot be computed is then refused.
        absent: why one of these folders is missing, for the result.
        features: folder that keeps the features of a real set that is not `true`; None: none does.
        groups: parts of the predictions by name, scored apart; FID and KID only without `real`.

    Raises:
        FolderMismatch: the folders do not fit each other; lists how, before anything is computed.
        FileNotFoundError, ValueError: a folder does not exist, or a setting is wrong.
    """
    check_count("batch_size", batch_size)
    protocol = get_protocol(protocol).only(metrics)
    folders, plan = _read(protocol, pred, true, real, beside or {}, paired, names)
    scorer = Scorer(
        protocol,
        paired=paired,
        roles={*plan.roles, *(beside or {})},
        absent=absent,
        sets=None if plan.real is None else (len(plan.pred), len(plan.real)),
        device=device,
        groups=bool(groups),
        complete=metrics is not None,
    )
    read = partial(read_batches, batch_size=batch_size, workers=workers, progress=progress)
    _feed(scorer, plan, read, features)
    notes = [*remarks, *_notes(protocol, plan, folders, with_sets=bool(scorer.sets))]
    return _result(scorer, plan, folders, groups or {}, notes)


def _read(
    protocol: Protocol,
    pred: Path,
    true: Path,
    real: Path | None,
    beside: Mapping[Role, Path],
    paired: bool,
    names: Mapping[str, str] | None,
) -> tuple[dict[str, ImageFolder], Plan]:
    """The folders by what they hold, and what of them is compared."""
    named = {"pred": pred, "true": true} | ({"real": real} if real is not None else {})
    folders, others = {side: read_folder(path) for side, path in named.items()}, {}
    for role, path in beside.items():
        if role != "masks" and not protocol.fidelity:
            raise ValueError(
                f"--{role} {path}: protocol {protocol.name} has no metric of the garment's "
                "fidelity; leffa@2 has"
            )
        if paired or role != "masks":
            others[role] = read_folder(path, ("RGB",) if role == "garments" else MASK_MODES)
    plan = make_plan(protocol, **folders, beside=others, paired=paired, names=names)
    return folders | {str(role): folder for role, folder in others.items()}, plan


def _feed(scorer: Scorer, plan: Plan, read: Any, features: Path | None) -> None:
    """Show each file to the scorer, once where the real images are those of the pairs."""
    one_pass, fed = plan.real_is_in_pairs, False
    if scorer.per_image or (plan.pairs and scorer.sets):
        fed = True
        for names, (pred, *others) in read(plan.groups, "pairs" if plan.paired else "predictions"):
            beside = dict(zip(plan.roles, others, strict=True))
            if plan.garments:
                beside["garments"] = [plan.garments[name].path for name in names]
            scorer.add_images(names, pred, beside)
            scorer.add_set(names, pred, real=False)
            if one_pass:  # under the predictions' names
                scorer.add_set(names, beside["true"], real=True)
    if not scorer.sets:
        return
    if not fed:
        for names, (pred,) in read([(picture,) for picture in plan.pred], "predictions"):
            scorer.add_set(names, pred, real=False)
    if not one_pass and plan.real is not None:
        kept = None if features is None else RealFeatures(features, scorer, plan.real)
        if kept is not None and kept.load():
            return
        for names, (true,) in read([(picture,) for picture in plan.real], "real set"):
            found = scorer.add_set(names, true, real=True)
            if kept is not None:
                kept.add(names, found)
        if kept is not None:
            kept.save()


def _result(
    scorer: Scorer,
    plan: Plan,
    folders: Mapping[str, ImageFolder],
    groups: Mapping[str, Collection[str]],
    notes: list[str],
) -> Scores:
    values, per_image = scorer.values(), scorer.values_per_image()
    excluded = {key: [n for n, v in each.items() if v != v] for key, each in per_image.items()}
    return Scores(
        protocol=scorer.protocol,
        paired=plan.paired,
        values=values,
        images={"pred": len(plan.pred), "real": len(plan.real or ())},
        formats={name: folder.count("format") for name, folder in folders.items()},
        missing=scorer.missing,
        notes=notes,
        weights=scorer.weights,
        versions=library_versions(),
        per_image={key: {n: v for n, v in x.items() if v == v} for key, x in per_image.items()},
        intervals=scorer.intervals(),
        groups={name: scorer.group_values(set(part)) for name, part in groups.items()},
        excluded={key: names for key, names in excluded.items() if names},
        coverage={
            key: len(per_image[key]) - len(excluded[key])
            for key in scorer.protocol.fidelity
            if key in values
        },
        names_sha256=plan.fingerprint,
    )


def _notes(
    protocol: Protocol, plan: Plan, folders: Mapping[str, ImageFolder], *, with_sets: bool
) -> Iterator[str]:
    """Notes for the reader of the numbers."""
    yield from (folder.excluded for folder in folders.values() if folder.excluded)
    if "JPEG" in folders["pred"].count("format"):
        yield "predictions are stored as JPEG: its losses are part of these numbers"
    # No protocol's code reads colour profiles, so they are not applied here either.
    profiles = {side: each.count("profile") for side, each in folders.items() if side not in BESIDE}
    if any(found.keys() - {SRGB} for found in profiles.values()):
        counted = "; ".join(
            f"{side}: {', '.join(f'{name} {count:,}' for name, count in found.items())}"
            for side, found in profiles.items()
        )
        yield f"pixels are compared as stored, and colour profiles are not all sRGB ({counted})"
    resized = sum(each.prepare is not None and each.file.size != each.size for each in plan.pred)
    if resized:
        yield f"{resized:,} predictions were resized, as {protocol.name} does"
    if protocol.counts and len(plan.pred) not in protocol.counts.values():
        known = ", ".join(f"{name} {count:,}" for name, count in protocol.counts.items())
        yield (
            f"{len(plan.pred):,} predictions are not a published test set of this protocol "
            f"({known}): do not compare with published numbers"
        )
    if with_sets and plan.real is not None:
        sizes = [{picture.size for picture in side} for side in (plan.pred, plan.real)]
        if sizes[0] != sizes[1]:  # Inception sees 299x299 pixels, enlarged or reduced
            pred, real = (as_text(min(s)) + (" and others" if len(s) > 1 else "") for s in sizes)
            yield (
                f"predictions are {pred}, the real set is {real}: FID and KID measure the "
                "difference in resolution too"
            )
        if note := small_set_note(len(plan.pred), len(plan.real)):
            yield note
