"""The settings of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leffa.losses.flow import FlowRequest
from leffa.metrics.protocols import Protocol
from leffa.models.sampler import SamplerSettings


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured, and how.

    Args:
        name: of the data set.
        paired: whether the source wears the reference, so that image metrics have a truth.
        flow_request: how flows are read (temperature, resolutions).
        inspect_timesteps: where attention is compared with the ground-truth flow, if there is one.
        protocol: how pictures are scored, its name, or its settings.
        batch_size: at most, per device.
        limit: only the first samples; the result says so.
        weights: folder of the metrics' networks.
        real: folder of the real set behind FID and KID, where it is not the true images
            (DeepFashion: all training images).
        fid_resamples: for a confidence interval of FID, at least 2; 0: none.
        depends_on: what else the pictures depend on, plain values; kept in the result file.
        devices: a process each.
        workers: processes per device that open files.
        precision: "32-true", "bf16-mixed" or "16-mixed", of the generation. On a GPU torch's own
            settings say how exact float32 is: by default convolutions round to TF32, matrix
            products do not. Scoring uses full float32 always.
        latent_cache: folder where the autoencoder's work on the data set is kept, for the next
            evaluation of the same pictures.
        progress: show bars; in a log file, a line a minute.
    """

    name: str
    paired: bool
    sampler: SamplerSettings
    flow_request: FlowRequest
    inspect_timesteps: Sequence[int]
    protocol: Protocol | Mapping[str, Any] | str
    batch_size: int
    limit: int | None = None
    weights: Path | None = None
    real: Path | None = None
    fid_resamples: int = 0
    depends_on: dict[str, Any] = field(default_factory=dict)
    devices: Sequence[str] = ("cpu",)
    workers: int = 0
    precision: str = "32-true"
    latent_cache: Path | None = None
    progress: bool = True
