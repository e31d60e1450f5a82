"""IDM-VTON: an inpainting SDXL that is shown the garment in two ways (arXiv 2403.05139).

    what it is like    image encoder -> resampler -> cross-attention    (an image-prompt adapter)
    how it looks       garment network -> self-attention                (a frozen SDXL)

The garment network's hidden states are appended to the person's own tokens in every self-attention
of the try-on network, as keys and values; that is where a flow is read. In the published code they
are queries as well, and that half is discarded after the attention: the result is the same.
"""

from leffa.models.idm_vton.model import IDMVTON, Conditioning

__all__ = ["IDMVTON", "Conditioning"]
