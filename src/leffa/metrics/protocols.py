"""Named, versioned evaluation protocols: everything that decides a number, apart from the images.

Each is a file of `conf/protocol`, read here without Hydra: NAME.yaml, and NAME@VERSION.yaml for a
version that is not the usual one. A new metric is a class in this package, its settings below, and
its entry in `scorer.METRICS`.
"""

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from leffa.conf_folder import CONF
from leffa.metrics.distribution import KID_SUBSET_SIZE, KID_SUBSETS
from leffa.metrics.features import FeatureName
from leffa.metrics.fidelity import MARGIN, Part
from leffa.metrics.paired import Border, DataRange, Pooling
from leffa.metrics.perceptual import LpipsNet
from leffa.metrics.text import CONFIDENCE, LETTERS
from leffa.metrics.views import CLOSED, Size, View

IdRule = Literal["stem", "eight_characters", "first_part", "pidm"]

# The settings of a metric are the arguments of its class; `view` is how its images are resized.


@dataclass(frozen=True, config=CLOSED)
class SSIMSettings:
    metric: Literal["ssim"] = "ssim"
    border: Border = "full"
    sigma: float = 1.5
    window: int | None = None
    data_range: DataRange = "unit"
    gray: bool = False
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class PSNRSettings:
    metric: Literal["psnr"] = "psnr"
    pool: Pooling = "image"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class PlainSettings:
    """Of metrics that have none, and take images as they are."""

    # The last is of the model: `leffa.evaluation`.
    metric: Literal["masked_psnr", "match_count", "garment_attention"]
    view: None = None


@dataclass(frozen=True, config=CLOSED)
class MSESettings:
    metric: Literal["mse"] = "mse"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class LPIPSSettings:
    metric: Literal["lpips"] = "lpips"
    net: LpipsNet = "alex"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class FIDSettings:
    metric: Literal["fid"] = "fid"
    features: FeatureName = "clean_fid"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class KIDSettings:
    metric: Literal["kid"] = "kid"
    features: FeatureName = "clean_fid"
    subsets: int = KID_SUBSETS
    subset_size: int = KID_SUBSET_SIZE
    seed: int = 0
    factor: float = 1.0  # by which the value is multiplied
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class WornRegionSettings:
    metric: Literal["region_ssim", "ciede2000"]
    part: Part = "interior"
    margin: float = MARGIN


@dataclass(frozen=True, config=CLOSED)
class LeakageSettings:
    metric: Literal["leakage"] = "leakage"
    measure: Literal["mean", "share"] = "mean"
    margin: float = MARGIN


@dataclass(frozen=True, config=CLOSED)
class TextSettings:
    metric: Literal["text_similarity"] = "text_similarity"
    letters: int = LETTERS
    confidence: float = CONFIDENCE


@dataclass(frozen=True, config=CLOSED)
class MatchFidelitySettings:
    metric: Literal["match_fidelity"] = "match_fidelity"
    measure: Literal["share", "distance"] = "share"


PairedSettings = Annotated[
    SSIMSettings | PSNRSettings | MSESettings | LPIPSSettings | PlainSettings,
    Field(discriminator="metric"),
]
FidelitySettings = Annotated[
    WornRegionSettings | LeakageSettings | TextSettings | MatchFidelitySettings | PlainSettings,
    Field(discriminator="metric"),
]
SetSettings = Annotated[FIDSettings | KIDSettings, Field(discriminator="metric")]


@dataclass(frozen=True, config=CLOSED)
class Protocol:
    """How two folders of images are compared."""

    name: str
    version: int  #: rises when a number may change
    description: str
    source: str = ""  #: whose code is reproduced
    paired: dict[str, PairedSettings] = field(default_factory=dict)  # by the result's name
    sets: dict[str, SetSettings] = field(default_factory=dict)  # likewise
    # Of the garment; what works unpaired is computed there too.
    fidelity: dict[str, FidelitySettings] = field(default_factory=dict)
    prepare_pred: View | None = None  #: of predictions, before any metric sees them
    prepare_true: View | None = None  #: of true images and of the real set
    sizes: tuple[Size, ...] = ()  #: that predictions may have; empty: any
    ids: IdRule = "stem"  #: how names that differ belong together
    real: Literal["test", "train"] = "test"  #: the real set: true images, or all training images
    drop_last: int | None = None  #: FID and LPIPS leave out what does not fill such a batch
    counts: dict[str, int] = field(default_factory=dict)  #: predictions of published test sets

    @property
    def label(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"

    def only(self, metrics: str | Collection[str] | None) -> "Protocol":
        """The same with these metrics, or this one, alone; None: with all.

        Raises:
            ValueError: it has no such metric, or none is named.
        """
        if metrics is None:
            return self
        metrics = (metrics,) if isinstance(metrics, str) else metrics
        if not metrics:
            raise ValueError("metrics is empty: name at least one, or omit it for all")
        known = {*self.paired, *self.sets, *self.fidelity}
        if unknown := [name for name in metrics if name not in known]:
            raise ValueError(
                f"protocol {self.name} has no metric {unknown[0]}; choose from: "
                f"{', '.join(sorted(known))}"
            )
        return replace(
            self,
            paired={name: each for name, each in self.paired.items() if name in metrics},
            sets={name: each for name, each in self.sets.items() if name in metrics},
            fidelity={name: each for name, each in self.fidelity.items() if name in metrics},
        )

    @property
    def sizes_truth(self) -> bool:
        """Whether the protocol resizes true images itself, so that they go in as stored."""
        views = [each.view for each in self.paired.values()]
        return self.prepare_true is not None or (bool(views) and None not in views)

    @property
    def views(self) -> tuple[View | None, ...]:
        """The different views that metrics have, the first of them None (as prepared)."""
        settings = [*self.paired.values(), *self.sets.values()]
        return (None, *dict.fromkeys(each.view for each in settings if each.view is not None))


def parse_protocol(content: Any, where: str) -> Protocol:
    """A protocol from the plain values of its file; `metric` is the result's name by default.

    Raises:
        ValueError: a key or a value is wrong; names it, and `where` it stands.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected keys and values, got {type(content).__name__}")
    content = dict(content)
    for group in ("paired", "sets", "fidelity"):
        content[group] = {
            name: {"metric": name, **(settings or {})}
            for name, settings in (content.get(group) or {}).items()
        }
    try:
        return TypeAdapter(Protocol).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {key}: {first['msg']}") from None


PROTOCOLS: dict[str, Protocol] = {
    file.stem: parse_protocol(yaml.safe_load(file.read_text(encoding="utf-8")), str(file))
    for file in sorted((CONF / "protocol").glob("*.yaml"))
}


def get_protocol(chosen: str | Mapping[str, Any] | Protocol) -> Protocol:
    """The protocol of that name, or NAME@VERSION, or the one that a mapping describes.

    Raises:
        ValueError: there is none of that name, or a mapping has its name but other settings.
    """
    if isinstance(chosen, Protocol):
        return chosen
    if isinstance(chosen, str):
        if found := [p for key, p in PROTOCOLS.items() if chosen in (key, p.label)]:
            return found[0]
        raise ValueError(f"no protocol {chosen!r}; choose from: {', '.join(sorted(PROTOCOLS))}")
    described = parse_protocol(chosen, "protocol")
    named = [each for each in PROTOCOLS.values() if each.name == described.name]
    if named and described not in named:
        raise ValueError(
            f"protocol {described.name} is changed: its numbers would not be those of "
            f"conf/protocol/{described.name}.yaml; give the changed one its own protocol.name"
        )
    return described
