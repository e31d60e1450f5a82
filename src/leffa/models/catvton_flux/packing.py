"""Latents, masks and positions as FLUX's transformer has them: a token for 2x2 latent cells.

Tokens run row by row; the channels of a token are (channel, row, column) of its cells.
"""

import torch
from einops import rearrange
from torch import Tensor

PATCH = 2  # latent cells of a token along each side
AXES = 3  # of a position: which image, row, column

Grid = tuple[int, int]


def pack(cells: Tensor) -> Tensor:
    """(B, C, h, w) to tokens (B, h/2 * w/2, 4C)."""
    return rearrange(cells, "b c (h p) (w q) -> b (h w) (c p q)", p=PATCH, q=PATCH)


def unpack(tokens: Tensor, grid: Grid) -> Tensor:
    """What `pack` made tokens of, (B, C, h, w), for tokens in `grid` (h/2, w/2)."""
    return rearrange(tokens, "b (h w) (c p q) -> b c (h p) (w q)", h=grid[0], p=PATCH, q=PATCH)


def mask_cells(mask: Tensor, cell: int) -> Tensor:
    """A mask (B, 1, H, W) at its full resolution, (B, cell^2, h, w): the pixels of a latent cell,
    row by row, are its channels."""
    return rearrange(mask, "b 1 (h r) (w s) -> b (r s) h w", r=cell, s=cell)


def positions(grid: Grid, picture: int = 0) -> Tensor:
    """(h*w, 3) of the tokens of a grid: (image, row, column)."""
    ids = torch.zeros(*grid, AXES)
    ids[..., 0] = picture
    ids[..., 1] = torch.arange(grid[0])[:, None]
    ids[..., 2] = torch.arange(grid[1])[None]
    return ids.flatten(0, 1)


def beside(garment: Tensor, person: Tensor) -> Tensor:
    """Garment left of person: two of (B, C, H, W) to (B, C, H, 2W)."""
    return torch.cat([garment, person], dim=-1)
