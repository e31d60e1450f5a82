"""CFLD, coarse-to-fine latent diffusion for pose transfer (arXiv 2402.18078).

    reference -- Swin -->  last stage  -- perception-refined decoder -->  16 prompt tokens
                      \\-->  other stages  -- hybrid-granularity attention -->  biases on queries
    pose  -- adapter -->  residuals of the down blocks

A Stable Diffusion UNet takes the prompt in the place of a text. Of the UNet itself only the keys
and values of the cross-attentions of its up blocks are trained.
"""

from leffa.models.cfld.model import CFLD, Conditioning

__all__ = ["CFLD", "Conditioning"]
