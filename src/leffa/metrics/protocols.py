"""Named, versioned evaluation protocols: everything that decides a number, apart from the pictures.

The same pictures score differently under the code of different papers (the choice of SSIM alone
moves it by more than 0.1), so a result always carries its protocol. Each is a file of
`conf/protocol`, read here without Hydra; a protocol's version rises when a number may change.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from leffa.conf_folder import CONF
from leffa.metrics.distribution import KID_SUBSET_SIZE, KID_SUBSETS
from leffa.metrics.features import FeatureName
from leffa.metrics.paired import Border, DataRange, Pooling
from leffa.metrics.perceptual import LpipsNet
from leffa.metrics.views import CLOSED, Size, View

IdRule = Literal["stem", "eight_characters", "first_part", "pidm"]
RealSet = Literal["test", "train"]


@dataclass(frozen=True, config=CLOSED)
class SSIMSettings:
    """See `leffa.metrics.paired.SSIM`; `view` is how both images are brought to the metric."""

    metric: Literal["ssim"] = "ssim"
    border: Border = "full"
    sigma: float = 1.5
    window: int | None = None
    data_range: DataRange = "unit"
    gray: bool = False
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class PSNRSettings:
    """See `leffa.metrics.paired.PSNR`."""

    metric: Literal["psnr"] = "psnr"
    pool: Pooling = "image"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class MaskedPSNRSettings:
    """See `leffa.metrics.paired.MaskedPSNR`; it needs a folder of masks."""

    metric: Literal["masked_psnr"] = "masked_psnr"
    view: None = None


@dataclass(frozen=True, config=CLOSED)
class MSESettings:
    """See `leffa.metrics.paired.MSE`."""

    metric: Literal["mse"] = "mse"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class LPIPSSettings:
    """See `leffa.metrics.perceptual.LPIPS`; images go in as [-1, 1]."""

    metric: Literal["lpips"] = "lpips"
    net: LpipsNet = "alex"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class FIDSettings:
    """See `leffa.metrics.distribution.FID`; `features` are those of `leffa.metrics.features`."""

    metric: Literal["fid"] = "fid"
    features: FeatureName = "clean_fid"
    view: View | None = None


@dataclass(frozen=True, config=CLOSED)
class KIDSettings:
    """See `leffa.metrics.distribution.KID`; the value is multiplied by `factor`."""

    metric: Literal["kid"] = "kid"
    features: FeatureName = "clean_fid"
    subsets: int = KID_SUBSETS
    subset_size: int = KID_SUBSET_SIZE
    seed: int = 0
    factor: float = 1.0
    view: View | None = None


PairedSettings = Annotated[
    SSIMSettings | PSNRSettings | MaskedPSNRSettings | MSESettings | LPIPSSettings,
    Field(discriminator="metric"),
]
SetSettings = Annotated[FIDSettings | KIDSettings, Field(discriminator="metric")]


@dataclass(frozen=True, config=CLOSED)
class Protocol:
    """How two folders of images are compared.

    Attributes:
        name, version: what a table prints.
        description: one sentence for the reader of a table.
        source: whose code is reproduced.
        paired: a result's name -> a metric against the true image.
        sets: a result's name -> a metric of the sets.
        prepare_pred: what happens to predictions before any metric sees them; None: nothing.
        prepare_true: the same for true images and for the real set.
        sizes: (height, width) that predictions may have; empty: any.
        ids: how a prediction finds its true image where their names differ; see
            `leffa.metrics.folders.ID_RULES`.
        real: the real set of FID and KID: the true images of the test, or all training images.
        drop_last: FID and LPIPS leave out the last images, by name, that do not fill a batch of
            this many.
        counts: a published test set -> how many predictions it has.
    """

    name: str
    version: int
    description: str
    source: str = ""
    paired: dict[str, PairedSettings] = field(default_factory=dict)
    sets: dict[str, SetSettings] = field(default_factory=dict)
    prepare_pred: View | None = None
    prepare_true: View | None = None
    sizes: tuple[Size, ...] = ()
    ids: IdRule = "stem"
    real: RealSet = "test"
    drop_last: int | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def sizes_truth(self) -> bool:
        """Whether true images go in as they are stored, because the protocol brings them to the
        predictions' size, or compares both at a size of its own."""
        views = [each.view for each in self.paired.values()]
        return self.prepare_true is not None or (bool(views) and None not in views)

    @property
    def views(self) -> tuple[View | None, ...]:
        """The different views that metrics have, None first: the prepared picture as it is."""
        settings = [*self.paired.values(), *self.sets.values()]
        return (None, *dict.fromkeys(each.view for each in settings if each.view is not None))


def parse_protocol(content: Any, where: str) -> Protocol:
    """A protocol from the plain values of its file.

    A result's name is its metric's too, unless it says otherwise with `metric`.

    Raises:
        ValueError: a key or a value is wrong; names it, and `where` it stands.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{where}: expected keys and values, got {type(content).__name__}")
    content = dict(content)
    for group in ("paired", "sets"):
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
    """The protocol of that name, or the one that a mapping describes.

    Raises:
        ValueError: there is none of that name (the message lists the names); or a mapping has the
            name of a protocol but other settings.
    """
    if isinstance(chosen, Protocol):
        return chosen
    if isinstance(chosen, str):
        if chosen not in PROTOCOLS:
            raise ValueError(f"no protocol {chosen!r}; choose from: {', '.join(sorted(PROTOCOLS))}")
        return PROTOCOLS[chosen]
    described = parse_protocol(chosen, "protocol")
    if PROTOCOLS.get(described.name, described) != described:
        raise ValueError(
            f"protocol {described.name} is changed: its numbers would not be those of "
            f"conf/protocol/{described.name}.yaml; give the changed one its own protocol.name"
        )
    return described
