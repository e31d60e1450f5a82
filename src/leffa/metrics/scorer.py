"""The metrics of a protocol, updated batch by batch."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leffa.metrics.distribution import FID, KID, DistributionMetrics
from leffa.metrics.features import FeatureName, InceptionFeatures
from leffa.metrics.fidelity import Leakage, RegionColourDifference, RegionSSIM
from leffa.metrics.loading import Views
from leffa.metrics.matches import MatchCount, MatchFidelity
from leffa.metrics.paired import (
    MSE,
    PSNR,
    SSIM,
    MaskedPSNR,
    PerImageMetric,
    Role,
    full_batches,
)
from leffa.metrics.perceptual import LPIPS, LPIPS_BACKBONES
from leffa.metrics.plan import NO_PERSONS
from leffa.metrics.protocols import (
    FidelitySettings,
    KIDSettings,
    PairedSettings,
    Protocol,
    SetSettings,
)
from leffa.metrics.text import TextSimilarity
from leffa.metrics.views import View
from leffa.metrics.weights import MissingWeights

ABSENT: dict[Role, str] = {
    "true": NO_PERSONS,
    "masks": "it needs a folder of masks: give --masks",
    "worn": "it needs masks of the garment in the true images: give --worn",
    "inpainted": "it needs the masks that images were generated in: give --inpainted",
    "garments": "it needs the photographs of the garments: give --garments",
}
OF_THE_MODEL = "it is read from a model's attention, not from images: evaluate.py computes it"
UNPAIRED = "it needs the true image, which unpaired predictions do not have"
NO_REAL_SET = "the real set of this protocol is all training images: give their folder with --real"
TOO_FEW = "it needs two images of each set"
NOTHING_JUDGED = "it applies to none of these images"
METRICS: dict[str, type[PerImageMetric]] = {
    "ssim": SSIM,
    "psnr": PSNR,
    "masked_psnr": MaskedPSNR,
    "mse": MSE,
    "lpips": LPIPS,
    "region_ssim": RegionSSIM,
    "ciede2000": RegionColourDifference,
    "leakage": Leakage,
    "text_similarity": TextSimilarity,
    "match_count": MatchCount,
    "match_fidelity": MatchFidelity,
}
SetKey = tuple[FeatureName, View | None]


class Scorer:
    """The metrics of a protocol, as far as their networks are on this machine.

    Args:
        paired: whether predictions have true images.
        roles: what is there to compare with them.
        absent: why something is not, where that is known better than `ABSENT` says it.
        sets: how many images of each side, generated and real; None: there is no real set.
        groups: whether `group_values` will be asked for: features are kept, 8 KB per image.
        complete: raise ValueError, with the reasons, where a metric cannot be computed.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        paired: bool,
        roles: Collection[Role] = (),
        absent: Mapping[Role, str] | None = None,
        sets: tuple[int, int] | None = None,
        device: str = "cpu",
        groups: bool = False,
        complete: bool = False,
    ) -> None:
        self.protocol, self.device, self.groups = protocol, device, groups
        self.names: list[str] = []
        self.set_names: dict[bool, list[str]] = {False: [], True: []}
        self.missing: dict[str, str] = {}  # metric -> why
        self.weights: dict[str, str] = {}  # metric -> its network's file
        self.per_image: dict[str, PerImageMetric] = {}
        self.sets: dict[SetKey, DistributionMetrics] = {}
        self.to_come = {False: 0, True: 0}
        reasons = ABSENT | dict(absent or {})
        for name, settings in (protocol.paired | protocol.fidelity).items():
            if settings.metric == "garment_attention":
                self.missing[name] = OF_THE_MODEL
                continue
            metric = METRICS[settings.metric]
            lacking = [role for role in metric.needs if role not in roles]
            if not paired and not metric.unpaired:
                if name in protocol.fidelity:
                    self.missing[name] = UNPAIRED
            elif lacking:
                self.missing[name] = reasons[lacking[0]]
            else:
                self._build(name, settings)
        if sets is None:
            self.missing |= dict.fromkeys(protocol.sets, NO_REAL_SET)
        elif min(sets) < 2:
            self.missing |= dict.fromkeys(protocol.sets, TOO_FEW)
        else:
            pred, real = (full_batches(images, protocol.drop_last) for images in sets)
            self.to_come = {False: pred, True: real}
            self._build_sets()
        if complete and (refused := self.not_computed()):
            raise ValueError("; ".join(f"{name}: {why}" for name, why in refused.items()))

    def _build(self, name: str, settings: PairedSettings | FidelitySettings) -> None:
        options = _options(settings)
        if settings.metric == "lpips":
            options["drop_last"] = self.protocol.drop_last
        try:
            self.per_image[name] = METRICS[settings.metric](**options).to(self.device)
        except MissingWeights as error:
            self.missing[name] = str(error)
            return
        if settings.metric == "lpips":
            self.weights[name] = LPIPS_BACKBONES[settings.net].label

    def _build_sets(self) -> None:
        for name, settings in self.protocol.sets.items():
            key = settings.features, settings.view
            try:
                if key not in self.sets:
                    extractor = InceptionFeatures(settings.features)
                    self.sets[key] = DistributionMetrics(extractor, {}, self.groups).to(self.device)
            except MissingWeights as error:
                self.missing[name] = str(error)
                continue
            self.weights[name] = str(self.sets[key].extractor.label)
            metric = KID if isinstance(settings, KIDSettings) else FID
            self.sets[key].metrics[name] = metric(**_options(settings)).to(self.device)

    def not_computed(self) -> dict[str, str]:
        """Metric -> why, also for those that compare pairs where there are none."""
        pairs = self.protocol.paired.keys() - self.per_image.keys() - self.missing.keys()
        return self.missing | dict.fromkeys(pairs, UNPAIRED)

    @torch.no_grad()
    def add_images(
        self, names: Sequence[str], pred: Views, beside: Mapping[Role, Views | Sequence[Path]]
    ) -> None:
        """Score the views of some predictions against what belongs to them: the views of true
        images, masks, and the files of garments."""
        self.names.extend(names)
        for name, metric in self.per_image.items():
            settings = self.protocol.paired.get(name)
            view = self.protocol.views.index(settings.view if settings else None)
            seen = pred[view].to(self.device) / 255
            metric.update(seen, *(self._seen(role, beside[role], view) for role in metric.needs))

    def _seen(self, role: Role, what: Any, view: int) -> Any:
        """The inputs of a metric: images in [0, 1], masks of 0 and 1, or files."""
        if role == "garments":
            return what
        return what[view].to(self.device) / 255 if role == "true" else what[0].to(self.device)

    def add_set(self, names: Sequence[str], views: Views, *, real: bool) -> list[Tensor]:
        """Add the views of some images to one of the two sets; gives the features (B, D) of those
        that count, by each of `sets`."""
        kept = min(len(views[0]), self.to_come[real])
        self.to_come[real] -= kept
        if not kept:
            return []
        self.set_names[real].extend(names[:kept])
        by_view = dict(zip(self.protocol.views, views, strict=True))
        found = []
        for (_, view), metrics in self.sets.items():
            images = by_view[view][:kept].to(self.device)
            images = images / 255 if images.is_floating_point() else images
            found.append(metrics.update(images, real=real))
        return found

    def add_features(self, names: Sequence[str], features: Sequence[Tensor], *, real: bool) -> None:
        """Add images that `add_set` has seen before, by what it gave."""
        self.to_come[real] -= len(names)
        self.set_names[real].extend(names)
        for metrics, found in zip(self.sets.values(), features, strict=True):
            metrics.add_features(found.to(self.device), real=real)

    def values(self) -> dict[str, float]:
        """Result's name -> value over all images so far, in the protocol's order."""
        values = {name: metric.compute().item() for name, metric in self.per_image.items()}
        judged = {name: value for name, value in values.items() if not math.isnan(value)}
        self.missing |= dict.fromkeys(values.keys() - judged.keys(), NOTHING_JUDGED)
        return judged | self._set_values(self.sets)

    def values_per_image(self) -> dict[str, dict[str, float]]:
        """Result's name -> prediction's name -> value; nan where its mask is empty."""
        return {
            key: dict(zip(self.names, metric.per_image().tolist(), strict=True))
            for key, metric in self.per_image.items()
        }

    def group_values(self, members: Collection[str]) -> dict[str, float]:
        """The values over the images of these names, as if they had been scored by themselves."""
        inside = _indices(self.names, members)
        values = {
            name: metric.aggregate(metric.per_image()[inside]).item()
            for name, metric in self.per_image.items()
            if len(inside) and not metric.per_image()[inside].isnan().all()
        }
        indices = {real: _indices(self.set_names[real], members) for real in (False, True)}
        if min(map(len, indices.values())) < 2:
            return values
        return values | self._set_values({k: each.part(indices) for k, each in self.sets.items()})

    def _set_values(self, sets: Mapping[SetKey, DistributionMetrics]) -> dict[str, float]:
        values: dict[str, float] = {}
        computed = {k: v for each in sets.values() for k, v in each.compute().items()}
        for name, settings in self.protocol.sets.items():
            factor = settings.factor if isinstance(settings, KIDSettings) else 1
            found = [key for key in (name, f"{name}_std") if key in computed]
            values |= {key: computed[key].item() * factor for key in found}
        return values

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Result's name -> 95 % interval, of metrics that judge single images."""
        found = {name: metric.interval() for name, metric in self.per_image.items()}
        return {name: interval for name, interval in found.items() if interval is not None}


def _options(settings: PairedSettings | FidelitySettings | SetSettings) -> dict[str, Any]:
    """The arguments of the metric that a protocol describes."""
    names = {each.name for each in fields(settings)} - {"metric", "view", "features", "factor"}
    return {name: getattr(settings, name) for name in names}


def _indices(names: Sequence[str], members: Collection[str]) -> Tensor:
    return torch.tensor([i for i, name in enumerate(names) if name in members], dtype=torch.long)
