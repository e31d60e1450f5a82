"""Checks an evaluation before its first image, so that it does not fail after hours."""

import os
from collections.abc import Collection, Mapping

from leffa.data.matches import require_matches
from leffa.data.transforms import PersonTransform
from leffa.evaluation.attention import NAME as ATTENTION
from leffa.evaluation.settings import EvaluationSettings, Work
from leffa.inference.generate import PRECISIONS
from leffa.io.numbers import check_count
from leffa.metrics.folders import FolderMismatch, read_folder
from leffa.metrics.paired import Role
from leffa.metrics.protocols import Protocol
from leffa.metrics.scorer import Scorer
from leffa.metrics.views import as_text


def check_matches(work: Work) -> None:
    """Raise ValueError where only some samples have stored matches: the rest would be ignored."""
    if any(record.matches is not None for record in work.with_truth):
        require_matches(work.records, work.settings.name)


def check_before_work(
    settings: EvaluationSettings, protocol: Protocol, transform: PersonTransform
) -> None:
    """Refuse several launched processes, settings out of range, a size that the protocol does not
    take, and a real set that cannot be scored.

    Raises:
        ValueError: names the first one.
        FileNotFoundError: the folder of the real set does not exist.
        FolderMismatch: lists what is wrong with its images.
    """
    for variable, launcher in (("WORLD_SIZE", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun")):
        if int(os.environ.get(variable, "1")) > 1:
            raise ValueError(
                f"the evaluation starts its own processes, and {launcher} started it "
                f"{os.environ[variable]} times: start it once, with devices=N"
            )
    check_count("batch_size", settings.batch_size)
    if settings.precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise ValueError(f"precision={settings.precision}: choose one of {known}")
    if not settings.inspect_timesteps:
        raise ValueError("inspect_timesteps is empty: give at least one, such as [200]")
    size = (transform.height, transform.width)
    # Images without padding have sizes of their own, which only scoring sees.
    if protocol.sizes and transform.fit != "pad" and size not in protocol.sizes:
        taken = " or ".join(as_text(each) for each in protocol.sizes)
        raise ValueError(
            f"protocol={protocol.name} takes images of {taken}, these would be {as_text(size)}: "
            "give another protocol, or dataset.transform.height=... and dataset.transform.width=..."
        )
    if settings.real is not None:
        if not settings.real.is_dir():
            raise FileNotFoundError(
                f"{settings.real}: no such folder; it is the real set behind FID and KID "
                "(dataset.real=null compares with the true images instead)"
            )
        if problems := read_folder(settings.real).problems:
            raise FolderMismatch(problems)


def refuse_missing(
    work: Work, protocol: Protocol, beside: Collection[Role], absent: Mapping[Role, str]
) -> None:
    """Raise ValueError where a metric that was asked for by name cannot be computed."""
    settings = work.settings
    no_real = protocol.real == "train" and settings.real is None
    count = len(work.records)
    scorer = Scorer(
        protocol,
        paired=settings.paired,
        roles={"true", *beside},
        absent=absent,
        sets=None if no_real else (count, count),
    )
    refused = scorer.not_computed()
    if work.share:
        refused.pop(ATTENTION, None)
    if refused:
        raise ValueError("; ".join(f"metrics={name}: {why}" for name, why in refused.items()))
