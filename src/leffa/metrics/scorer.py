"""The metrics of a protocol, fed with one batch of pictures after the other."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from leffa.metrics.bootstrap import Interval, fid_interval, per_image_interval
from leffa.metrics.distribution import FID, KID, DistributionMetrics
from leffa.metrics.features import KINDS, FeatureName, InceptionFeatures
from leffa.metrics.loading import Views
from leffa.metrics.paired import MSE, PSNR, SSIM, MaskedPSNR, PerImageMetric, full_batches
from leffa.metrics.perceptual import LPIPS, LPIPS_BACKBONES
from leffa.metrics.protocols import (
    FIDSettings,
    KIDSettings,
    LPIPSSettings,
    PairedSettings,
    Protocol,
)
from leffa.metrics.views import View
from leffa.metrics.weights import MissingWeights

NO_MASKS = "it needs a folder of masks: give --masks"
NO_REAL_SET = "the real set of this protocol is all training images: give their folder with --real"
TOO_FEW = "it needs two images of each set"
NOTHING_JUDGED = "there is no image that it can judge"
SetKey = tuple[FeatureName, View | None]


class Scorer:
    """The metrics of a protocol, as far as their networks are on this machine.

    Args:
        protocol: which metrics, and how.
        paired: whether predictions have true images; if not, only the set metrics remain.
        masks: whether pairs come with masks.
        sets: how many images of each side, generated and real; None: there is no real set.
        weights: the networks' folder; see `WeightsFile.locate`.
        device: where they run.
        fid_resamples: of the FID's confidence interval; 0: none.
        groups: whether `group_values` will be asked for: features are kept, 8 KB per image.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        paired: bool,
        masks: bool = False,
        sets: tuple[int, int] | None = None,
        weights: Path | None = None,
        device: str = "cpu",
        fid_resamples: int = 0,
        groups: bool = False,
    ) -> None:
        self.protocol, self.device, self.fid_resamples = protocol, device, fid_resamples
        self.keep = fid_resamples > 0 or groups
        self.names: list[str] = []
        self.set_names: dict[bool, list[str]] = {False: [], True: []}
        self.missing: dict[str, str] = {}
        self.weights: dict[str, str] = {}
        self.per_image: dict[str, PerImageMetric] = {}
        self.sets: dict[SetKey, DistributionMetrics] = {}
        self.to_come = {False: 0, True: 0}
        if paired:
            self._build_paired(masks, weights)
        if sets is None:
            self.missing |= dict.fromkeys(protocol.sets, NO_REAL_SET)
        elif min(sets) < 2:
            self.missing |= dict.fromkeys(protocol.sets, TOO_FEW)
        else:
            self.to_come = {
                real: full_batches(images, protocol.drop_last)
                for real, images in zip((False, True), sets, strict=True)
            }
            self._build_sets(weights)

    @torch.no_grad()
    def add_pairs(
        self, names: Sequence[str], pred: Views, true: Views, masks: Views | None = None
    ) -> None:
        """Score the views of some predictions against those of their true images."""
        self.names.extend(names)
        pairs = {
            view: (self._unit(p), self._unit(t))
            for view, p, t in zip(self.protocol.views, pred, true, strict=True)
        }
        for name, metric in self.per_image.items():
            images = pairs[self.protocol.paired[name].view]
            if isinstance(metric, MaskedPSNR):
                assert masks is not None
                metric.update(*images, masks[0].to(self.device))
            else:
                metric.update(*images)

    def add_set(self, names: Sequence[str], views: Views, *, real: bool) -> None:
        """Add the views of some images to one of the two sets.

        Args:
            names: by which `group_values` finds them.
        """
        kept = min(len(views[0]), self.to_come[real])
        self.to_come[real] -= kept
        if not kept:
            return
        self.set_names[real].extend(names[:kept])
        by_view = dict(zip(self.protocol.views, views, strict=True))
        for (_, view), metrics in self.sets.items():
            images = by_view[view][:kept].to(self.device)
            metrics.update(images / 255 if images.is_floating_point() else images, real=real)

    def values(self) -> dict[str, float]:
        """Result's name -> value over all images so far, in the protocol's order."""
        values = {name: metric.compute().item() for name, metric in self.per_image.items()}
        judged = {name: value for name, value in values.items() if not math.isnan(value)}
        self.missing |= dict.fromkeys(values.keys() - judged.keys(), NOTHING_JUDGED)
        return judged | self._set_values(self.sets)

    def values_per_image(self) -> dict[str, dict[str, float]]:
        """Result's name -> prediction's name -> value; nan where it cannot be judged, such as an
        image whose mask is empty."""
        return {
            key: dict(zip(self.names, metric.per_image().tolist(), strict=True))
            for key, metric in self.per_image.items()
        }

    def group_values(self, members: Collection[str]) -> dict[str, float]:
        """The same over some of the images, as if they had been scored by themselves.

        Args:
            members: their names.
        """
        inside = _places(self.names, members)
        values = {
            name: metric.aggregate(metric.per_image()[inside]).item()
            for name, metric in self.per_image.items()
            if len(inside) and not metric.per_image()[inside].isnan().all()
        }
        places = {real: _places(self.set_names[real], members) for real in (False, True)}
        if min(map(len, places.values())) < 2:
            return values
        parts = {key: metrics.part(places) for key, metrics in self.sets.items()}
        return values | self._set_values(parts)

    def _set_values(self, sets: Mapping[SetKey, DistributionMetrics]) -> dict[str, float]:
        values, computed = {}, {key: metrics.compute() for key, metrics in sets.items()}
        for name, settings in self._set_settings().items():
            found = computed[settings.features, settings.view]
            if isinstance(settings, FIDSettings):
                values[name] = found["fid"].item()
            else:
                values[name] = found["kid"].item() * settings.factor
                values[f"{name}_std"] = found["kid_std"].item() * settings.factor
        return values

    def intervals(self) -> tuple[dict[str, Interval], list[str]]:
        """Result's name -> 95 % interval, and remarks on them."""
        found = {name: per_image_interval(metric) for name, metric in self.per_image.items()}
        intervals = {name: interval for name, interval in found.items() if interval is not None}
        notes = []
        for name, settings in self._set_settings().items() if self.fid_resamples else ():
            if isinstance(settings, FIDSettings):
                metrics = self.sets[settings.features, settings.view]
                features = metrics.features(real=False), metrics.features(real=True)
                intervals[name], bias = fid_interval(*features, self.fid_resamples)
                notes.append(
                    f"{name}: its interval covers the choice of test images, not the bias of small "
                    f"sets; resampling these images raises it by {bias:.2f}"
                )
        return intervals, notes

    def _unit(self, images: Tensor) -> Tensor:
        """Floats in [0, 1] on the device."""
        return images.to(self.device) / 255

    def _set_settings(self) -> dict[str, FIDSettings | KIDSettings]:
        settings = self.protocol.sets.items()
        return {name: each for name, each in settings if (each.features, each.view) in self.sets}

    def _build_paired(self, masks: bool, weights: Path | None) -> None:
        for name, settings in self.protocol.paired.items():
            if settings.metric == "masked_psnr" and not masks:
                self.missing[name] = NO_MASKS
                continue
            try:
                metric = build_paired(settings, weights, self.protocol.drop_last)
            except MissingWeights as error:
                self.missing[name] = str(error)
                continue
            self.per_image[name] = metric.to(self.device)
            if isinstance(settings, LPIPSSettings):
                self.weights[name] = LPIPS_BACKBONES[settings.net].label

    def _build_sets(self, weights: Path | None) -> None:
        for name, settings in self.protocol.sets.items():
            key = settings.features, settings.view
            try:
                if key not in self.sets:
                    extractor = InceptionFeatures(weights, settings.features)
                    metrics = DistributionMetrics(extractor, None, None, self.keep)
                    self.sets[key] = metrics.to(self.device)
            except MissingWeights as error:
                self.missing[name] = str(error)
                continue
            self.weights[name] = KINDS[settings.features].weights.label
            if isinstance(settings, FIDSettings):
                self.sets[key].fid = FID().to(self.device)
            else:
                options = {
                    key: getattr(settings, key) for key in ("subsets", "subset_size", "seed")
                }
                self.sets[key].kid = KID(**options).to(self.device)


def _places(names: Sequence[str], members: Collection[str]) -> Tensor:
    """Where members stand in a list of names."""
    return torch.tensor([i for i, name in enumerate(names) if name in members], dtype=torch.long)


PAIRED: dict[str, type[PerImageMetric]] = {
    "ssim": SSIM,
    "psnr": PSNR,
    "masked_psnr": MaskedPSNR,
    "mse": MSE,
    "lpips": LPIPS,
}


def build_paired(
    settings: PairedSettings, weights: Path | None = None, drop_last: int | None = None
) -> PerImageMetric:
    """The metric that a protocol describes.

    Raises:
        MissingWeights: its network is not on this machine.
    """
    names = (each.name for each in fields(settings) if each.name not in ("metric", "view"))
    options = {name: getattr(settings, name) for name in names}
    if settings.metric == "lpips":
        options |= {"weights": weights, "drop_last": drop_last}
    return PAIRED[settings.metric](**options)
