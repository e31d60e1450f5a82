"""Named, versioned evaluation protocols: everything that decides a number, apart from the pictures.

The same pictures score differently under the code of different papers (the choice of SSIM alone
moves it by more than 0.1), so a result always carries its protocol. A protocol's version rises when
a number may change.
"""

from dataclasses import dataclass
from typing import Literal

from leffa.metrics.distribution import KID_SUBSET_SIZE, KID_SUBSETS
from leffa.metrics.paired import Border, LpipsNet

PairedName = Literal["ssim", "psnr", "lpips"]
SetName = Literal["fid", "kid"]


@dataclass(frozen=True)
class Protocol:
    """How two folders of images are compared.

    Attributes:
        name, version: what a table prints.
        description: one sentence for the reader of a table.
        paired: metrics against the true image of the same name.
        distribution: metrics of the sets; the network is Inception of 2015-12-05, resized as
            clean-fid does.
        ssim_border, ssim_sigma: see `leffa.metrics.paired.SSIM`.
        psnr_pooled: see `leffa.metrics.paired.PSNR`.
        lpips_net: backbone of LPIPS.
        kid_subsets, kid_subset_size, kid_seed: see `leffa.metrics.distribution.KID`.
    """

    name: str
    version: int
    description: str
    paired: tuple[PairedName, ...] = ("ssim", "psnr", "lpips")
    distribution: tuple[SetName, ...] = ("fid", "kid")
    ssim_border: Border = "full"
    ssim_sigma: float = 1.5
    psnr_pooled: bool = False
    lpips_net: LpipsNet = "alex"
    kid_subsets: int = KID_SUBSETS
    kid_subset_size: int = KID_SUBSET_SIZE
    kid_seed: int = 0


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="leffa",
            version=1,
            description=(
                "Images as stored, equal sizes, PNG predictions; SSIM over the whole image, PSNR "
                "and LPIPS (AlexNet) as per-image means; FID, raw KID on clean-fid's resizing."
            ),
        ),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"no protocol {name!r}; choose from: {', '.join(sorted(PROTOCOLS))}")
    return PROTOCOLS[name]
