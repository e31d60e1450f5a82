"""Generate images for a dataset and score them: images, table and numbers in one folder.

    <folder>/images/<name>.png      generated, without padding
    <folder>/true/<name>.png        the true image at the generated size, likewise
    <folder>/originals/<name>.*     the true image as stored, if the protocol resizes it itself
    <folder>/masks/<name>.png       where the person is, if the protocol has a masked metric
    <folder>/worn/<name>.png        where the garment is in the true image, if it has the garment's
    <folder>/inpainted/<name>.png   fidelity; the mask of generation; and the garment's photograph
    <folder>/garments/<name>.*
    <folder>/flow/<name>.json       predicted against ground-truth flow, where the data has one
    <folder>/attention/<name>.json  the garment's share of the attention, likewise
    <folder>/manifest.csv           each sample's category and files
    <folder>/samples.png            the first samples, column by column
    <folder>/{best,median,worst}.png   the same of these samples, if images have a truth
    <folder>/samples/<column>/      the images of a sheet one by one; best/, ... likewise
    <folder>/metrics.json  .md      the numbers, with everything they depend on

Finished images are kept: rerun the same command to resume.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.data.labels import CATEGORIES
from leffa.data.transforms import PersonTransform
from leffa.evaluation.attention import add_attention
from leffa.evaluation.checks import check_before_work, check_matches, refuse_missing
from leffa.evaluation.flows import flow_metrics
from leffa.evaluation.folder import sample_folder
from leffa.evaluation.generate import Load, generate_all
from leffa.evaluation.masks import write_for_fidelity, write_masks
from leffa.evaluation.samples import rank, write_sheets
from leffa.evaluation.settings import EvaluationSettings, Work, plan_work
from leffa.io.atomic import write_text
from leffa.metrics.folders import FolderMismatch, read_folder
from leffa.metrics.paired import Role
from leffa.metrics.protocols import Protocol, get_protocol
from leffa.metrics.result import Scores, excluded_remark, finite
from leffa.metrics.score import score_folders
from leffa.models.interface import PersonGenerator

__all__ = ["Evaluation", "EvaluationSettings", "evaluate_model", "sample_folder"]

log = logging.getLogger(__name__)

SET_METRICS = ("fid", "kid")


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation."""

    metrics: dict[str, float]  # "paired/ssim", "set/fid", "flow/epe_px", ...
    scores: Scores
    folder: Path


def evaluate_model(
    model: PersonGenerator,
    records: Sequence[Record],
    transform: PersonTransform,
    folder: Path,
    settings: EvaluationSettings,
    load: Load | None = None,
) -> Evaluation:
    """Generate, score, and write everything below `folder`.

    Args:
        model: in evaluation mode; ends on the first of the devices.
        load: loads the model again in another process; needed for more than one device.

    Raises:
        ValueError: a setting is wrong, or the folder is in use or holds other images.
        FolderMismatch: the real set or the true images cannot be scored.
    """
    protocol = get_protocol(settings.protocol)
    if settings.metrics is not None:
        protocol = protocol.only(settings.metrics)
        settings = replace(settings, protocol=protocol)
    check_before_work(settings, protocol, transform)
    work = plan_work(records, transform, folder, settings)
    check_matches(work)
    with work.folder.exclusive_lock():
        truth = _begin(work, protocol)
        beside, absent = write_for_fidelity(protocol, work)
        if settings.paired and write_masks(protocol, work):
            beside["masks"] = work.folder.masks
        if settings.metrics is not None:
            refuse_missing(work, protocol, beside, absent)
        generate_all(work, model, load)
        # Only now: with several devices, the first is used by another process until here.
        model.to(settings.devices[0])
        scores = _score(work, truth, protocol, beside, absent)
        add_attention(work, scores)
        metrics = _metrics(work, scores)
        ranking = rank(scores)
        _write_result(work, len(records), truth, scores, metrics, ranking)
        write_sheets(model, work, ranking)
    shown = (f"{key} {value:.4f}" for key, value in metrics.items() if key.count("/") == 1)
    log.info("%s: %s", settings.name, ", ".join(shown))
    log.info("written to %s", folder)
    return Evaluation(metrics, scores, folder)


def _begin(work: Work, protocol: Protocol) -> Path:
    """Claim the folder and write what is known; returns the folder of the true images."""
    place, settings, transform = work.folder, work.settings, work.how.transform
    depends_on = {
        "dataset": settings.name,
        "size": [transform.height, transform.width],
        "limit": settings.limit,
        "precision": settings.precision,
        "inspect_timesteps": list(settings.inspect_timesteps),
    }
    if transform.fit == "pad":
        depends_on["padding"] = "cut off"
    place.claim({**depends_on, **settings.depends_on})
    place.write_manifest(work.records)
    if not protocol.sizes_truth:
        return place.true
    place.link(place.originals, {r.name: r.target().source for r in work.records})
    if problems := read_folder(place.originals).problems:
        raise FolderMismatch(problems)
    return place.originals


def _score(
    work: Work,
    truth: Path,
    protocol: Protocol,
    beside: Mapping[Role, Path],
    absent: Mapping[Role, str],
) -> Scores:
    """The whole set, and its categories in the same pass over the images."""
    settings = work.settings
    return score_folders(
        work.folder.images,
        truth,
        protocol,
        paired=settings.paired,
        names={record.name: record.name for record in work.records} if settings.paired else None,
        real=settings.real,
        beside=beside,
        absent=absent,
        features=settings.features,
        groups=_dress_code_categories(work.records),
        device=settings.devices[0],
        workers=settings.workers,
        progress=settings.progress,
    )


def _metrics(work: Work, scores: Scores) -> dict[str, float]:
    """`set/<metric>` of the sets, `paired/<metric>` of pairs, `fidelity/<metric>` of garments, then
    those of flows."""
    fidelity = dict.fromkeys(scores.protocol.fidelity, "fidelity")
    kinds = {k: "set" if k.split("_")[0] in SET_METRICS else "paired" for k in scores.values}
    metrics = {f"{(kinds | fidelity)[key]}/{key}": value for key, value in scores.values.items()}
    of_flows, unseen = flow_metrics(work)
    if unseen:
        scores.excluded["flow/epe_px"] = unseen
    if (pairs := of_flows.get("flow/match_pairs")) is not None:
        shown = f"at the trusted matches of {pairs:.0f} of {len(work.records)} pairs, mean per pair"
        scores.notes.append(f"flow/match_epe_px and the like: {shown}; the others have none")
    for metric, names in scores.excluded.items():
        log.warning(excluded_remark(metric, names))
    return metrics | of_flows


def _dress_code_categories(records: Sequence[Record]) -> dict[str, list[str]]:
    """Category -> its samples' names; empty where there is one category only, or other ones."""
    names: dict[str, list[str]] = {category: [] for category in CATEGORIES}
    for record in records:
        names.setdefault(record.category, []).append(record.name)
    found = {category: each for category, each in names.items() if each}
    return found if len(found) > 1 and found.keys() <= set(CATEGORIES) else {}


def _write_result(
    work: Work,
    samples: int,
    truth: Path,
    scores: Scores,
    metrics: dict[str, float],
    ranking: dict[str, Any] | None,
) -> None:
    """Write metrics.json and metrics.md; `samples` are those that could be scored."""
    settings, transform = work.settings, work.how.transform
    whole = samples + len(settings.in_training)
    result = {
        "dataset": settings.name,
        "samples": len(work.records),
        "subset_of": whole if len(work.records) < whole else None,
        "in_training": list(settings.in_training),
        "size": [transform.height, transform.width],
        "precision": settings.precision,
        "truth": truth.name,
        "truth_drawn": any(record.truth is not None for record in work.records),
        "real": None if settings.real is None else str(settings.real),
        **settings.depends_on,
        "metrics": finite(metrics),
        "categories": {
            category: {"images": len(names), "values": finite(scores.groups[category])}
            for category, names in _dress_code_categories(work.records).items()
        },
        "ranking": ranking,
        "scores": scores.as_dict(),
    }
    write_text(work.folder.path / "metrics.md", scores.to_markdown() + "\n")
    write_text(work.folder.result, json.dumps(result, indent=2, allow_nan=False) + "\n")
