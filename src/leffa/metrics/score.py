"""Two folders in, a table out: no model, no configuration, one pass over the images.

scores = score_folders(Path("outputs/test"), Path("data/test/image"), "leffa")
print(scores.to_markdown())
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from leffa.metrics.distribution import (
    FID,
    INCEPTION,
    KID,
    DistributionMetrics,
    InceptionFeatures,
    small_set_note,
)
from leffa.metrics.folders import FolderMismatch, ImageFile, ImageFolder, match, read_folder
from leffa.metrics.loading import ImageReader
from leffa.metrics.paired import LPIPS, LPIPS_BACKBONES, PSNR, SSIM, PerImageMetric
from leffa.metrics.protocols import PairedName, Protocol, get_protocol
from leffa.metrics.result import Scores, library_versions
from leffa.metrics.weights import MissingWeights


def score_folders(
    pred: Path,
    true: Path,
    protocol: Protocol | str,
    *,
    paired: bool = True,
    names: Mapping[str, str] | None = None,
    real: Path | None = None,
    weights: Path | None = None,
    device: str = "cpu",
    batch_size: int = 16,
    workers: int = 0,
    progress: bool = False,
) -> Scores:
    """Score a folder of predictions against a folder of true images.

    Args:
        pred, true: folders of images; a prediction has its true image's name, suffixes aside.
        protocol: one of `leffa.metrics.protocols`, or its name.
        paired: compare image by image; without, only FID and KID of the two sets are computed.
        names: prediction's name -> true image's name, without suffixes, where they differ.
        real: the real set of FID and KID where it is not `true` (DeepFashion: all training images).
        weights: folder of the metrics' networks; see `WeightsFile.locate`.
        device, batch_size, workers: change the speed only.
        progress: show a bar.

    Raises:
        FileNotFoundError: a folder does not exist.
        FolderMismatch: the folders do not fit each other; lists how, before anything is computed.
    """
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    sides = {"pred": read_folder(pred), "true": read_folder(true)}
    if real is not None:
        sides["real"] = read_folder(real)
    files = plan(sides["pred"], sides["true"], sides.get("real"), paired=paired, names=names)
    scorer = Scorer(protocol, paired=paired, weights=weights, device=device)
    _feed(scorer, files, ImageReader(batch_size, workers, progress))
    images = {"pred": len(files.pred), "real": len(files.real)}
    return Scores(
        protocol=protocol,
        paired=paired,
        values=scorer.values(),
        images=images,
        formats={side: folder.formats() for side, folder in sides.items()},
        missing=scorer.missing,
        notes=_notes(images, sides["pred"].formats(), with_sets=scorer.distribution is not None),
        weights=scorer.weights,
        versions=library_versions(),
        per_image=scorer.values_per_image(),
    )


@dataclass(frozen=True)
class Files:
    """What is scored: all predictions, their pairs (none if unpaired), and the real set."""

    pred: list[ImageFile]
    pairs: list[tuple[ImageFile, ImageFile]]
    real: list[ImageFile]

    @property
    def real_is_in_pairs(self) -> bool:
        """Whether the pairs hold each real image once, so that one pass serves all metrics."""
        return sorted(true.path for _, true in self.pairs) == [image.path for image in self.real]


def plan(
    pred: ImageFolder,
    true: ImageFolder,
    real: ImageFolder | None = None,
    *,
    paired: bool = True,
    names: Mapping[str, str] | None = None,
) -> Files:
    """Decide which files are compared; the arguments are those of `score_folders`.

    Raises:
        FolderMismatch: with everything that does not fit.
        ValueError: names without pairs.
    """
    if names is not None and not paired:
        raise ValueError("names say which images form a pair: they need paired=True")
    problems = [problem for folder in (pred, true, real) if folder for problem in folder.problems]
    pairs: list[tuple[ImageFile, ImageFile]] = []
    if paired:
        pairs, mismatches = match(pred, true, names)
        problems += mismatches
    if problems:
        raise FolderMismatch(problems)
    if real is None and paired:
        real_files = {image for _, image in pairs}
    else:
        real_files = set((real or true).images.values())
    return Files(list(pred.images.values()), pairs, sorted(real_files, key=lambda file: file.path))


def _feed(scorer: "Scorer", files: Files, read: ImageReader) -> None:
    """Show each file to the scorer, once where the real images are those of the pairs."""
    one_pass = files.real_is_in_pairs
    for names, (pred, true) in read(files.pairs, "pairs"):
        scorer.add_pairs(names, pred, true)
        scorer.add_set(pred, real=False)
        if one_pass:
            scorer.add_set(true, real=True)
    if scorer.distribution is None:
        return
    if not files.pairs:
        for _, (pred,) in read([(image,) for image in files.pred], "predictions"):
            scorer.add_set(pred, real=False)
    if not one_pass:
        for _, (true,) in read([(image,) for image in files.real], "real set"):
            scorer.add_set(true, real=True)


def _notes(images: dict[str, int], formats: dict[str, int], *, with_sets: bool) -> list[str]:
    notes = []
    if "JPEG" in formats:
        notes.append("predictions are stored as JPEG: its losses are part of these numbers")
    if with_sets and (note := small_set_note(images["pred"], images["real"])):
        notes.append(note)
    return notes


class Scorer:
    """The metrics of a protocol, as far as their networks are on this machine.

    Args:
        protocol: which metrics, and how.
        paired: whether predictions have true images; if not, only FID and KID remain.
        weights: the networks' folder; see `WeightsFile.locate`.
        device: where they run.
    """

    def __init__(
        self, protocol: Protocol, *, paired: bool, weights: Path | None = None, device: str = "cpu"
    ) -> None:
        self.device = device
        self.names: list[str] = []
        self.missing: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self.per_image: dict[str, PerImageMetric] = {}
        self.distribution: DistributionMetrics | None = None
        if paired:
            self._build_paired(protocol, weights)
        if protocol.distribution:
            self._build_distribution(protocol, weights)

    def add_pairs(self, names: Sequence[str], pred: Tensor, true: Tensor) -> None:
        """Score uint8 images (B, 3, H, W) against each other."""
        self.names.extend(names)
        pred, true = (images.to(self.device) / 255 for images in (pred, true))
        for metric in self.per_image.values():
            metric.update(pred, true)

    def add_set(self, images: Tensor, *, real: bool) -> None:
        """Add uint8 images (B, 3, H, W) to one of the two sets."""
        if self.distribution is not None:
            self.distribution.update(images.to(self.device), real=real)

    def values(self) -> dict[str, float]:
        """Metric -> value over all images so far."""
        values = {name: metric.compute().item() for name, metric in self.per_image.items()}
        if self.distribution is not None:
            values |= {name: value.item() for name, value in self.distribution.compute().items()}
        return values

    def values_per_image(self) -> dict[str, dict[str, float]]:
        """Metric -> name -> value."""
        return {
            key: dict(zip(self.names, metric.per_image().tolist(), strict=True))
            for key, metric in self.per_image.items()
        }

    def _build_paired(self, protocol: Protocol, weights: Path | None) -> None:
        builders: dict[PairedName, Callable[[], PerImageMetric]] = {
            "ssim": lambda: SSIM(protocol.ssim_border, protocol.ssim_sigma),
            "psnr": lambda: PSNR(protocol.psnr_pooled),
            "lpips": lambda: LPIPS(protocol.lpips_net, weights),
        }
        for name in protocol.paired:
            try:
                self.per_image[name] = builders[name]().to(self.device)
            except MissingWeights as error:
                self.missing[name] = str(error)
        if "lpips" in self.per_image:
            self.weights["lpips"] = LPIPS_BACKBONES[protocol.lpips_net].label

    def _build_distribution(self, protocol: Protocol, weights: Path | None) -> None:
        kid = KID(
            subsets=protocol.kid_subsets,
            subset_size=protocol.kid_subset_size,
            seed=protocol.kid_seed,
        )
        try:
            extractor = InceptionFeatures(weights)
        except MissingWeights as error:
            self.missing |= dict.fromkeys(protocol.distribution, str(error))
            return
        self.distribution = DistributionMetrics(
            extractor,
            fid=FID() if "fid" in protocol.distribution else None,
            kid=kid if "kid" in protocol.distribution else None,
        ).to(self.device)
        self.weights["inception"] = INCEPTION.label
