"""FitDiT: Stable Diffusion 3's transformer twice, without text (arXiv 2411.10499).

    garment network    the clean garment at timestep 0, once for an image -> keys and values
    denoising network  noisy latent, masked person and mask, and tokens of the body map

In every block the person's queries attend to [person; garment]: the garment's keys and values are
those of the garment network's own projections. That is where a flow is read.
"""

from leffa.models.fitdit.model import Conditioning, FitDiT

__all__ = ["Conditioning", "FitDiT"]
