"""The perception-refined decoder: learnt queries become a prompt by looking at the reference."""

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor, nn

from leffa.losses.flow import flow_field
from leffa.models.attention import attend, project


class RefinementBlock(nn.Module):
    """Attention to the image, then among the queries, then a feed-forward network."""

    def __init__(self, width: int, heads: int, picture_width: int) -> None:
        super().__init__()
        head_width = width // heads
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads=heads, dim_head=head_width)
        self.attn2 = Attention(width, picture_width, heads=heads, dim_head=head_width)
        self.ff = FeedForward(width, activation_fn="geglu")

    def forward(
        self, tokens: Tensor, positions: Tensor, picture: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The refined tokens (B, K, D), and where in the image each looked, (B, K, 2).

        Args:
            tokens: (B, K, D).
            positions: (K, D), added before either attention and never taken off again.
            picture: (B, h*w, C), of `grid` (h, w).
        """
        tokens = tokens + positions
        query, key, value = project(self.attn2, self.norm2(tokens), picture)
        places = flow_field(query, key, grid, temperature=1.0)
        tokens = tokens + attend(self.attn2, query, key, value) + positions
        tokens = tokens + self.attn1(self.norm1(tokens))
        return tokens + self.ff(self.norm3(tokens)), places


class PerceptionDecoder(nn.Module):
    """Makes the coarse-grained prompt (CFLD, section 3.3).

    Args:
        width: of the prompt, what the UNet's cross-attention expects.
        picture_width: channels of the encoder's last stage.
        grid: (h, w) of that stage.
        queries: how many prompt tokens.
        depth, heads: of the blocks.
    """

    def __init__(
        self,
        width: int,
        picture_width: int,
        grid: tuple[int, int],
        queries: int = 16,
        depth: int = 8,
        heads: int = 24,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"model.decoder.heads={heads}: does not divide {width}, the width of the prompt"
            )
        self.grid = grid
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.picture_positions = nn.Parameter(
            torch.randn(1, grid[0] * grid[1], picture_width) * 0.02
        )
        self.blocks = nn.ModuleList(
            RefinementBlock(width, heads, picture_width) for _ in range(depth)
        )

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """From the last stage (B, C, h, w) to the prompt (B, K, D) and its places (B, K, 2): where
        each token looked, on average over blocks and heads."""
        picture = rearrange(feature, "b c h w -> b (h w) c") + self.picture_positions
        tokens = self.queries.expand(len(picture), -1, -1)
        places = []
        for block in self.blocks:
            tokens, place = block(tokens, self.positions, picture, self.grid)
            places.append(place)
        return tokens, torch.stack(places).mean(dim=0)
