"""catvton-flux: FLUX.1-Fill on an image twice as wide (github.com/nftblackmagic/catvton-flux).

    left    noisy garment   garment         zeros
    right   noisy person    masked person   mask

The three columns are joined along the channels of a token. Both halves are denoised and the
garment's is discarded. Tokens of both meet in every attention, where the flow is read.

`layout=tokens` shows a FLUX.1-Kontext what is known as further tokens instead, see `tokens`.
"""

from leffa.models.catvton_flux.model import CatVTONFlux
from leffa.models.catvton_flux.pair import PairFlux
from leffa.models.catvton_flux.tokens import TokensFlux

__all__ = ["CatVTONFlux", "PairFlux", "TokensFlux"]
