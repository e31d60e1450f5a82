"""What of an evaluation would fail after hours is refused before its first picture."""

import os
from collections.abc import Sequence
from pathlib import Path

from leffa.data.transforms import PersonTransform
from leffa.inference.generate import PRECISIONS
from leffa.metrics.bootstrap import check_resamples
from leffa.metrics.folders import FolderMismatch, read_folder
from leffa.metrics.protocols import Protocol
from leffa.metrics.views import as_text


def check_settings(
    limit: int | None,
    batch_size: int,
    precision: str,
    inspect_timesteps: Sequence[int],
    fid_resamples: int,
) -> None:
    """Refuse values that are out of range.

    Raises:
        ValueError: names the first one.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: give a number from 1, or null for all samples")
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give a number from 1")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision}: choose one of {', '.join(PRECISIONS)}")
    if not inspect_timesteps:
        raise ValueError("inspect_timesteps is empty: give one at least, such as [200]")
    check_resamples(fid_resamples)


def check_one_process() -> None:
    """Refuse to be one of several processes that a launcher started with the same command.

    Raises:
        ValueError: torchrun or srun did.
    """
    for variable, launcher in (("WORLD_SIZE", "torchrun"), ("SLURM_STEP_NUM_TASKS", "srun")):
        if int(os.environ.get(variable, "1")) > 1:
            raise ValueError(
                f"the evaluation starts its own processes, and {launcher} started it "
                f"{os.environ[variable]} times: start it once, with devices=N"
            )


def check_size(protocol: Protocol, transform: PersonTransform) -> None:
    """Refuse a size that the protocol does not take; pictures without padding have sizes of their
    own, which only scoring sees.

    Raises:
        ValueError: names the sizes.
    """
    size = (transform.height, transform.width)
    if not protocol.sizes or transform.fit == "pad" or size in protocol.sizes:
        return
    taken = " or ".join(as_text(each) for each in protocol.sizes)
    raise ValueError(
        f"protocol={protocol.name} takes pictures of {taken}, these would be {as_text(size)}: "
        "give another protocol, or dataset.transform.height=... and dataset.transform.width=..."
    )


def check_real(real: Path | None) -> None:
    """Refuse a real set that cannot be scored; headers are read, nothing is decoded.

    Raises:
        FileNotFoundError: there is no such folder.
        FolderMismatch: lists what is wrong with its images.
    """
    if real is None:
        return
    if not real.is_dir():
        raise FileNotFoundError(
            f"{real}: no such folder; it is the real set behind FID and KID "
            "(dataset.real=null compares with the true images instead)"
        )
    check_images(real)


def check_images(folder: Path) -> None:
    """Refuse a folder of images as `score_folders` would.

    Raises:
        FolderMismatch: lists what is wrong with its images.
    """
    if problems := read_folder(folder).problems:
        raise FolderMismatch(problems)
