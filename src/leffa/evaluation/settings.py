"""The settings of an evaluation, and the work that follows from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leffa.data.batch import Record
from leffa.data.transforms import PersonTransform
from leffa.evaluation.folder import EvaluationFolder, unfinished
from leffa.inference.generate import Generation, even_batch_size
from leffa.io.folders import names_in, normal
from leffa.losses.request import FlowRequest
from leffa.metrics.protocols import Protocol, get_protocol
from leffa.models.sampler import SamplerSettings


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure, and how."""

    name: str  # of the dataset
    # Whether images have a truth: the source wears the reference, or is rendered in it (`truth`).
    paired: bool
    sampler: SamplerSettings
    flow_request: FlowRequest
    inspect_timesteps: Sequence[int]  # where flows are compared with the ground truth, if known
    protocol: Protocol | Mapping[str, Any] | str
    batch_size: int  # at most, per device
    metrics: Sequence[str] | None = None  # only these of the protocol; refused if impossible
    limit: int | None = None  # only the first samples; the result says so
    in_training: Sequence[str] = ()  # samples that are not scored for that reason
    features: Path | None = None  # folder where the features of real sets are kept
    real: Path | None = None  # the real set behind FID and KID; None: the true images
    depends_on: dict[str, Any] = field(default_factory=dict)  # what else the images depend on
    devices: Sequence[str] = ("cpu",)  # a process each
    workers: int = 0  # processes per device that open files
    precision: str = "32-true"  # of the generation, a key of `PRECISIONS`; scoring uses float32
    progress: bool = True


@dataclass(frozen=True)
class Work:
    """What to generate, and how; plain values, so that it can be sent to another process."""

    records: Sequence[Record]
    folder: EvaluationFolder
    how: Generation
    settings: EvaluationSettings
    share: bool = False  # whether the garment's share of the attention is wanted

    @property
    def with_truth(self) -> list[Record]:
        """Paired samples with a ground-truth flow or stored matches, by which theirs is scored."""
        if not self.settings.paired:
            return []
        return [one for one in self.records if one.flow is not None or one.matches is not None]

    def unfinished(self) -> tuple[list[Record], list[Record], list[Record]]:
        """The samples that lack an image, those that lack their flow metrics, and those that lack
        their share of the attention."""
        images = unfinished(self.records, self.folder.images, self.folder.true)
        shared = unfinished(self.records, self.folder.attention) if self.share else []
        done = {normal(name) for name in names_in(self.folder.flows)}
        files = [(one, self.folder.flow_file(one)) for one in self.with_truth]
        return images, [one for one, file in files if normal(file.name) not in done], shared


def plan_work(
    records: Sequence[Record],
    transform: PersonTransform,
    folder: Path,
    settings: EvaluationSettings,
) -> Work:
    """The work on the first `settings.limit` samples; all processes have the same batch size."""
    chosen = list(records[: settings.limit])
    size = even_batch_size(len(chosen), settings.batch_size)
    how = Generation(transform, settings.sampler, size, settings.precision, settings.workers)
    fidelity = get_protocol(settings.protocol).fidelity.values()
    share = transform.task == "tryon" and any(x.metric == "garment_attention" for x in fidelity)
    return Work(chosen, EvaluationFolder(folder), how, settings, share)
