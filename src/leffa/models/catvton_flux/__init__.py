"""catvton-flux: FLUX.1-Fill on a picture twice as wide (github.com/nftblackmagic/catvton-flux).

    left    noisy garment   garment         zeros
    right   noisy person    masked person   mask

The three columns are joined along the channels of a token. Both halves are denoised and the
garment's is discarded. Tokens of both meet in every attention, where the flow is read.
"""

from leffa.models.catvton_flux.model import CatVTONFlux
from leffa.models.catvton_flux.pair import Conditioning, PairFlux

__all__ = ["CatVTONFlux", "Conditioning", "PairFlux"]
