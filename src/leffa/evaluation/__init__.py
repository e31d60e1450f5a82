"""Generate a data set's images and score them: pictures, table and numbers in one folder.

    <folder>/images/<name>.png      generated, without padding
    <folder>/true/<name>.png        the true image at the generated size, likewise
    <folder>/originals/<name>.*     the true image as stored, if the protocol resizes it itself
    <folder>/masks/<name>.png       where the person is, if the protocol looks at it
    <folder>/flow/<name>.json       predicted against true flow, where the data has one
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
from collections.abc import Mapping, Sequence
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
from leffa.inference.generate import Generation, even_batches, open_batches
from leffa.io.atomic import write_text
from leffa.io.progress import progress_bar
from leffa.losses.flow import FlowRequest
from leffa.metrics.protocols import Protocol, get_protocol
from leffa.metrics.result import Scores, finite, left_out_remark
from leffa.metrics.score import score_folders
from leffa.models.interface import PersonGenerator
from leffa.models.sampler import SamplerSettings

__all__ = ["Evaluation", "evaluate_model", "sample_folder"]

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
    paired: bool,
    name: str,
    sampler: SamplerSettings,
    flow_request: FlowRequest,
    inspect_timesteps: Sequence[int],
    protocol: Protocol | Mapping[str, Any] | str,
    folder: Path,
    batch_size: int,
    limit: int | None = None,
    weights: Path | None = None,
    real: Path | None = None,
    fid_resamples: int = 0,
    settings: dict[str, Any] | None = None,
    load: Load | None = None,
    devices: Sequence[str] = ("cpu",),
    workers: int = 0,
    precision: str = "32-true",
    latent_cache: Path | None = None,
    progress: bool = True,
) -> Evaluation:
    """Generate, score, and write everything below `folder`.

    Pictures have the same bits for any number of devices and after any interruption. Another batch
    size means other kernels, which may move a pixel by one level of 255 (seen with batches of one).
    With the released noise (`noise="global"`) pictures are made one at a time.

    Args:
        model: in evaluation mode; ends on the first of the devices.
        paired: whether the source wears the reference, so that image metrics have a truth.
        protocol: how pictures are scored, its name, or its settings.
        flow_request: how flows are read (temperature, resolutions).
        inspect_timesteps: where attention is compared with the true flow, if the data has one.
        limit: only the first samples; the result says so.
        weights: folder of the metrics' networks.
        real: folder of the real set behind FID and KID, where it is not the true images
            (DeepFashion: all training images).
        fid_resamples: for a confidence interval of FID, at least 2; 0: none.
        settings: what else the pictures depend on, plain values; kept in the result file.
        load: makes the model again in another process; needed for more than one device.
        devices: a process each.
        workers: processes per device that open files.
        precision: "32-true", "bf16-mixed" or "16-mixed", of the generation. On a GPU torch's own
            settings say how exact float32 is: by default convolutions round to TF32, matrix
            products do not. Scoring uses full float32 always.
        latent_cache: folder where the autoencoder's work on the data set is kept, for the next
            evaluation of the same pictures.
        progress: show bars; in a log file, a line a minute.

    Raises:
        ValueError: a setting is wrong, the folder holds pictures of other settings, or another
            evaluation works in it.
        FolderMismatch: the real set or the true images cannot be scored.
    """
    protocol = get_protocol(protocol)
    check_one_process()
    check_settings(limit, batch_size, precision, inspect_timesteps, fid_resamples)
    check_size(protocol, transform)
    check_real(real)
    place = EvaluationFolder(folder)
    kept = list(records[: len(records) if limit is None else limit])
    size = [transform.height, transform.width]
    depends_on = {
        "dataset": name,
        "size": size,
        "limit": limit,
        "precision": precision,
        "inspect_timesteps": list(inspect_timesteps),
    }
    if transform.fit == "pad":
        depends_on["padding"] = "cut off"
    with place.alone():
        place.claim({**depends_on, **(settings or {})})
        place.write_manifest(kept)
        truth = place.true
        if protocol.sizes_truth:
            truth = place.originals
            place.link_originals(kept)
            check_images(place.originals)
        # Before hours of work, since a parsing map may be wrong.
        has_masks = paired and write_masks(protocol, kept, transform, place, workers)
        timesteps = list(inspect_timesteps) if paired else []
        batch_size = even_batches(
            len(kept), batch_size
        )  # here, so that all processes have the same
        latents = None
        if latent_cache is not None:
            latents = _kept_latents(
                latent_cache, f"{name}_{limit or 'all'}", kept, transform, model, devices, progress
            )
        how = Generation(transform, sampler, batch_size, precision, workers, latents)
        work = Work(kept, place, how, flow_request, timesteps)
        generate_all(work, model, load, devices, progress)
        model.to(devices[0])  # only now: with several, the first is another process's until here

        categories = dress_code_categories(kept)
        scores = score_folders(
            place.images,
            truth,
            protocol,
            paired=paired,
            names={record.name: record.name for record in kept} if paired else None,
            real=real,
            masks=place.masks if has_masks else None,
            weights=weights,
            fid_resamples=fid_resamples,
            groups=categories,  # scored with the whole set, in one pass over the pictures
            device=devices[0],
            workers=workers,
            progress=progress,
        )
        metrics = named_metrics(scores.values)
        if timesteps:
            metrics |= _flow_metrics(work)
            if unseen := _unseen_flows(work):
                scores.left_out["flow/epe_px"] = unseen
        for metric, names in scores.left_out.items():
            log.warning(left_out_remark(metric, names))
        ranking = rank(scores)
        result = {
            "dataset": name,
            "samples": len(kept),
            "subset_of": len(records) if len(kept) < len(records) else None,
            "size": size,
            "precision": precision,
            "truth": truth.name,
            "real": None if real is None else str(real),
            **(settings or {}),
            "metrics": finite(metrics),
            "categories": {
                category: {"images": len(names), "values": finite(scores.groups[category])}
                for category, names in categories.items()
            },
            "ranking": ranking,
            "scores": scores.as_dict(),
        }
        write_text(folder / "metrics.md", scores.to_markdown() + "\n")
        write_text(place.result, json.dumps(result, indent=2, allow_nan=False) + "\n")
        _write_sheets(model, work, ranking, inspect_timesteps)
        shown = (f"{key} {value:.4f}" for key, value in metrics.items() if key.count("/") == 1)
        log.info("%s: %s", name, ", ".join(shown))
        log.info("written to %s", folder)
        return Evaluation(metrics, scores, folder)


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
    """The samples whose true flow is nowhere visible."""
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
