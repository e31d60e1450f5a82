"""Generate a data set's images and score them: pictures, table and numbers in one folder.

    <folder>/images/<name>.png      generated, without padding
    <folder>/true/<name>.png        the true image at the generated size, likewise
    <folder>/originals/<name>.*     the true image as stored, if the protocol resizes it itself
    <folder>/masks/<name>.png       where the person is, if the protocol looks at it
    <folder>/flow/<name>.json       predicted against ground-truth flow, where the data has one
    <folder>/manifest.csv           each sample's category and files
    <folder>/samples.png            the first samples, column by column
    <folder>/{best,median,worst}.png   the same of these samples, if images have a truth
    <folder>/samples/<column>/      the pictures of a sheet one by one; best/, ... likewise
    <folder>/metrics.json  .md      the numbers, with all that they depend on

A finished image is kept: an interrupted evaluation goes on where it stopped. Pictures follow from
the checkpoint, the settings and each sample's name; the number of processes, the order and the
batch size only enter through the rounding of the device's kernels (see `evaluate_model`).
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset
from leffa.data.latent_cache import LatentCache
from leffa.data.transforms import PersonTransform
from leffa.evaluation.checks import (
    check_images,
    check_one_process,
    check_real,
    check_settings,
    check_size,
)
from leffa.evaluation.flows import flow_baselines, mean_flow_values, read_flow_values
from leffa.evaluation.folder import EvaluationFolder, sample_folder
from leffa.evaluation.generate import Load, Work, generate_all
from leffa.evaluation.masks import write_masks
from leffa.evaluation.samples import GROUPS, SHOWN, rank, write_sheet
from leffa.evaluation.scoring import dress_code_categories, named_metrics
from leffa.evaluation.settings import EvaluationSettings
from leffa.inference.generate import Generation, even_batch_size, open_batches
from leffa.io.atomic import write_text
from leffa.io.progress import progress_bar
from leffa.metrics.protocols import Protocol, get_protocol
from leffa.metrics.result import Scores, finite, left_out_remark
from leffa.metrics.score import score_folders
from leffa.models.interface import PersonGenerator

__all__ = ["Evaluation", "EvaluationSettings", "evaluate_model", "sample_folder"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found."""

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

    Pictures have the same bits for any number of devices and after any interruption. Another batch
    size means other kernels, which may move a pixel by one level of 255 (seen with batches of one).
    With the released noise (`noise="global"`) pictures are made one at a time.

    Args:
        model: in evaluation mode; ends on the first of the devices.
        load: makes the model again in another process; needed for more than one device.

    Raises:
        ValueError: a setting is wrong, the folder holds pictures of other settings, or another
            evaluation works in it.
        FolderMismatch: the real set or the true images cannot be scored.
    """
    protocol = get_protocol(settings.protocol)
    check_one_process()
    check_settings(
        settings.limit,
        settings.batch_size,
        settings.precision,
        settings.inspect_timesteps,
        settings.fid_resamples,
    )
    check_size(protocol, transform)
    check_real(settings.real)
    place = EvaluationFolder(folder)
    kept = list(records[: len(records) if settings.limit is None else settings.limit])
    with place.alone():
        truth = _begin(place, kept, transform, settings, protocol)
        # Before hours of work, since a parsing map may be wrong.
        has_masks = settings.paired and write_masks(
            protocol, kept, transform, place, settings.workers
        )
        work = _work(place, kept, transform, settings, model)
        generate_all(work, model, load, settings.devices, settings.progress)
        # Only now: with several, the first device is another process's until here.
        model.to(settings.devices[0])
        scores = _score(work, truth, protocol, settings, place.masks if has_masks else None)
        metrics = named_metrics(scores.values)
        if work.flow_timesteps:
            metrics |= _flow_metrics(work)
            if unseen := _unseen_flows(work):
                scores.left_out["flow/epe_px"] = unseen
        for metric, names in scores.left_out.items():
            log.warning(left_out_remark(metric, names))
        ranking = rank(scores)
        _write_result(work, settings, len(records), truth, scores, metrics, ranking)
        _write_sheets(model, work, ranking, settings.inspect_timesteps)
    shown = (f"{key} {value:.4f}" for key, value in metrics.items() if key.count("/") == 1)
    log.info("%s: %s", settings.name, ", ".join(shown))
    log.info("written to %s", folder)
    return Evaluation(metrics, scores, folder)


def _begin(
    place: EvaluationFolder,
    kept: Sequence[Record],
    transform: PersonTransform,
    settings: EvaluationSettings,
    protocol: Protocol,
) -> Path:
    """Claim the folder and write what is known; returns the folder of the true images."""
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
    place.write_manifest(kept)
    if not protocol.sizes_truth:
        return place.true
    place.link_originals(kept)
    check_images(place.originals)
    return place.originals


def _work(
    place: EvaluationFolder,
    kept: Sequence[Record],
    transform: PersonTransform,
    settings: EvaluationSettings,
    model: PersonGenerator,
) -> Work:
    # Evened here, so that all processes have the same.
    batch_size = even_batch_size(len(kept), settings.batch_size)
    latents = None
    if settings.latent_cache is not None:
        latents = _kept_latents(
            settings.latent_cache,
            f"{settings.name}_{settings.limit or 'all'}",
            kept,
            transform,
            model,
            settings.devices,
            settings.progress,
        )
    how = Generation(
        transform, settings.sampler, batch_size, settings.precision, settings.workers, latents
    )
    timesteps = list(settings.inspect_timesteps) if settings.paired else []
    return Work(kept, place, how, settings.flow_request, timesteps)


def _score(
    work: Work, truth: Path, protocol: Protocol, settings: EvaluationSettings, masks: Path | None
) -> Scores:
    """The whole set, and its categories in the same pass over the pictures."""
    return score_folders(
        work.folder.images,
        truth,
        protocol,
        paired=settings.paired,
        names={record.name: record.name for record in work.records} if settings.paired else None,
        real=settings.real,
        masks=masks,
        weights=settings.weights,
        fid_resamples=settings.fid_resamples,
        groups=dress_code_categories(work.records),
        device=settings.devices[0],
        workers=settings.workers,
        progress=settings.progress,
    )


def _write_result(
    work: Work,
    settings: EvaluationSettings,
    samples: int,
    truth: Path,
    scores: Scores,
    metrics: dict[str, float],
    ranking: dict[str, Any] | None,
) -> None:
    """Write metrics.json and metrics.md.

    Args:
        samples: of the whole data set.
    """
    transform = work.how.transform
    result = {
        "dataset": settings.name,
        "samples": len(work.records),
        "subset_of": samples if len(work.records) < samples else None,
        "size": [transform.height, transform.width],
        "precision": settings.precision,
        "truth": truth.name,
        "real": None if settings.real is None else str(settings.real),
        **settings.depends_on,
        "metrics": finite(metrics),
        "categories": {
            category: {"images": len(names), "values": finite(scores.groups[category])}
            for category, names in dress_code_categories(work.records).items()
        },
        "ranking": ranking,
        "scores": scores.as_dict(),
    }
    write_text(work.folder.path / "metrics.md", scores.to_markdown() + "\n")
    write_text(work.folder.result, json.dumps(result, indent=2, allow_nan=False) + "\n")


def _kept_latents(
    folder: Path,
    name: str,
    records: Sequence[Record],
    transform: PersonTransform,
    model: PersonGenerator,
    devices: Sequence[str],
    progress: bool,
) -> LatentCache:
    """Made on the first device, which the model then leaves to the processes to come."""
    place = folder / f"{name}_{transform.height}x{transform.width}"
    with progress_bar("encoding pictures", len(records), progress) as bar:
        cache = LatentCache(
            place,
            records,
            transform,
            model.to(devices[0]),
            progress=lambda done, _: bar(done),
        )
    model.to("cpu" if len(devices) > 1 else devices[0])
    return cache


def _flow_metrics(work: Work) -> dict[str, float]:
    values = read_flow_values(work.folder, work.records)
    if not values:
        return {}
    found = mean_flow_values(values.values())
    if not found:
        log.warning(
            "leffa_loss.min_resolution=%s leaves no attention layer: no flow is scored",
            work.flow_request.min_resolution,
        )
    with_flow = [record for record in work.records if record.flow is not None]
    how = work.how
    return found | flow_baselines(
        partial(open_batches, with_flow, how.transform, how.batch_size, how.workers)
    )


def _unseen_flows(work: Work) -> list[str]:
    """The samples whose ground-truth flow is nowhere visible."""
    return [
        name
        for name, layers in read_flow_values(work.folder, work.records).items()
        if layers and not any("epe_px" in metrics for metrics in layers.values())
    ]


def _write_sheets(
    model: PersonGenerator,
    work: Work,
    ranking: dict[str, Any] | None,
    inspect_timesteps: Sequence[int],
) -> None:
    dataset = PersonDataset(work.records, work.how.transform)
    sheets = {"samples": [record.name for record in work.records[:SHOWN]]}
    if ranking is not None:
        sheets |= {group: list(ranking[group]) for group in GROUPS if ranking[group]}
    for sheet, names in sheets.items():
        write_sheet(
            model, dataset, names, work.flow_request, inspect_timesteps[0], work.folder, sheet
        )
