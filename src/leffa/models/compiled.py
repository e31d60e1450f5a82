"""The repeated blocks of a network, compiled once for all layers of a size.

A layer finds its part of the exchange by its name, and a compiled graph is valid only for the names
it was compiled with. So a compiled block gets only its own part, under names that all blocks share.
"""

from functools import cache
from typing import Any, cast

from torch import nn

from leffa.models.attention import Exchange, ExchangeProcessor

_MOST_GRAPHS = 64  # of all sizes of layers and images; PyTorch's own limit is 8


class CompiledBlock:
    """What becomes of a block behind `compile_blocks`; its attention shows one flow at most.

    Where attention is monitored or tapped, it computes as usual.
    """

    prefix: str  # of its layers' names
    shown: str | None  # the layer whose flow can be read, without the prefix

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call: Any = super().__call__  # type: ignore[misc]  # of the block
        exchange = next((e for v in (*args, *kwargs.values()) if (e := _exchange(v))), None)
        if exchange is None:
            return call(*args, **kwargs)
        own, request = exchange.part(self.prefix), exchange.request
        if request is not None and (request.tap or request.sharpness or request.share):
            call = self.forward  # type: ignore[attr-defined]  # of the block
        if request is not None and self.shown is not None:
            own.request = request.of_layer(self.prefix + self.shown)
        args = tuple(_handed(value, own) for value in args)
        output = call(*args, **{key: _handed(value, own) for key, value in kwargs.items()})
        exchange.take_back(own, self.prefix)
        return output


def compile_blocks(network: nn.Module, backend: Any = "inductor") -> None:
    """Compile the blocks of a network of diffusers that names such (`_repeated_blocks`) when they
    are first called, without a graph break.

    Other networks are unchanged. A new image size compiles again.
    """
    repeated = getattr(network, "_repeated_blocks", None)
    if not repeated:
        return
    from torch._dynamo import config  # takes a second to import

    compiled: set[str] = set()
    for name, block in list(network.named_modules()):
        kind: Any = type(block)
        if kind.__name__ not in repeated:
            continue
        block.__class__ = _compiled(kind)
        compiled.add(type(block).__name__)
        shown = None
        for layer, module in block.named_modules():
            processor = getattr(module, "processor", None)
            if isinstance(processor, ExchangeProcessor):
                processor.name = layer
                shown = layer if processor.shows_flow else shown
        block.prefix, block.shown = f"{name}.", shown
    config.recompile_limit = max(config.recompile_limit, _MOST_GRAPHS)
    model = cast(Any, network)  # of diffusers
    model._repeated_blocks = sorted(compiled)
    model.compile_repeated_blocks(fullgraph=True, backend=backend)


@cache
def _compiled(kind: Any) -> Any:
    return type(f"Compiled{kind.__name__}", (CompiledBlock, kind), {})


def _exchange(value: Any) -> Exchange | None:
    """Of an argument of a block: an exchange, or a dict that holds one."""
    found = value.get("exchange") if isinstance(value, dict) else value
    return found if isinstance(found, Exchange) else None


def _handed(value: Any, own: Exchange) -> Any:
    """The argument with a block's own part in the place of the exchange."""
    if _exchange(value) is None:
        return value
    return {**value, "exchange": own} if isinstance(value, dict) else own
