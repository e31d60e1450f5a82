"""The data contract: what every dataset yields and every step reads.

Shape letters, used in all docstrings of the project:

    B batch    C channels    H W pixels    h w latent cells    L tokens    N heads    D head width
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NotRequired, TypedDict

from torch import Tensor

from leffa.data.catalog.spec import SYNTHETIC as SYNTHETIC  # models import this module only
from leffa.data.keypoints import Annotation


class Batch(TypedDict):
    """Images are RGB in [-1, 1]; a single sample has the same keys without the leading B.

    In training the source is also the target: the model learns to reconstruct `source` inside
    `mask` from `reference` (Leffa, section 2.2).
    """

    source: Tensor  #: (B, 3, H, W) the person
    reference: Tensor  #: (B, 3, H, W) the garment, or the same person in another pose
    mask: Tensor  #: (B, 1, H, W) 1 = generate, 0 = keep
    densepose: Tensor  #: (B, 3, H, W) body-surface map of `source`, background -1
    loss_region: Tensor  #: (B, 1, H, W) 0 or 1: where the warped reference must equal the target
    name: list[str]  #: unique; names the saved prediction and seeds its noise
    category: list[str]
    pose: NotRequired[Tensor]  #: (B, 21, H, W) in [0, 1]: skeleton and heat maps of `source`
    latents: NotRequired[dict[str, Tensor]]  #: of the images, see `data.latent_cache`
    truth: NotRequired[Tensor]  #: (B, 3, H, W) `source` in what `reference` shows, if it differs
    flow: NotRequired[Tensor]  #: (B, H, W, 2) ground truth, (x, y) in [-1, 1], corner-aligned
    flow_valid: NotRequired[Tensor]  #: (B, 1, H, W) 0 or 1: where `flow` is known and unoccluded
    # (B, P, 4) trusted matches: x, y in the source and in the reference, in [-1, 1],
    # corner-aligned; padded with rows of NaN.
    matches: NotRequired[Tensor]


def target(batch: Batch) -> Tensor:
    """(B, 3, H, W) the target images."""
    return batch.get("truth", batch["source"])


@dataclass(frozen=True)
class Record:
    """The files of one sample; a field is None if the dataset has no such file."""

    name: str
    category: str
    source: Path
    reference: Path
    mask: Path | None = None  #: agnostic mask of `source`: white = generate
    densepose: Path | None = None
    parse: Path | None = None  #: label map of `source`
    keypoints: Path | Annotation | None = None  #: of `source`
    reference_mask: Path | None = None
    reference_densepose: Path | None = None  #: of another pose of the person, not of a garment
    reference_keypoints: Path | Annotation | None = None
    flow: Path | None = None  #: .npz with `flow` (H, W, 2) and `valid` (H, W); synthetic data only
    matches: Path | None = None  #: .json of trusted matches (`data.matches`); try-on only
    truth: Path | None = None  #: `source` in what `reference` shows, if it differs; likewise
    truth_parse: Path | None = None  #: label map of `truth`

    def target(self) -> "Record":
        """This record with the target image as its source."""
        if self.truth is None:
            return self
        return replace(
            self, source=self.truth, parse=self.truth_parse, truth=None, truth_parse=None
        )
