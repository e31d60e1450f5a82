"""The repeated blocks of a UNet, compiled once for all layers of a size.

A layer finds its part of the exchange by its name, and a compiled graph serves those names only
that it was made with. So a compiled block is handed its own part alone, under names that all blocks
share.
"""

from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from leffa.models.attention import Exchange, ExchangeProcessor

_MOST_GRAPHS = 64  # of all sizes of layers and pictures; PyTorch's own limit is 8


class CompiledBlock(BasicTransformerBlock):
    """A transformer block behind `compile_blocks`; where flows are read it computes as usual."""

    prefix: str  # of its layers' names

    def __call__(
        self, *args: Any, cross_attention_kwargs: dict[str, Exchange], **kwargs: Any
    ) -> Tensor:
        exchange = cross_attention_kwargs["exchange"]
        own = exchange.part(self.prefix)
        compute = super().__call__ if exchange.request is None else self.forward
        hidden: Tensor = compute(*args, cross_attention_kwargs={"exchange": own}, **kwargs)
        exchange.take_back(own, self.prefix)
        return hidden


def compile_blocks(network: nn.Module, backend: Any = "inductor") -> None:
    """Compile a UNet's transformer blocks when they are first called, without a graph break.

    Other networks stay as they are. A new size of pictures compiles again.

    Args:
        backend: of `torch.compile`.
    """
    if not isinstance(network, UNet2DConditionModel):
        return
    from torch._dynamo import config  # takes a second to import

    for name, block in list(network.named_modules()):
        if type(block) is BasicTransformerBlock:
            block.__class__ = CompiledBlock
            block.prefix = f"{name}."
            for layer in ("attn1", "attn2"):
                processor = getattr(getattr(block, layer), "processor", None)
                if isinstance(processor, ExchangeProcessor):
                    processor.name = layer
    config.recompile_limit = max(config.recompile_limit, _MOST_GRAPHS)
    network._repeated_blocks = [CompiledBlock.__name__]
    network.compile_repeated_blocks(fullgraph=True, backend=backend)
