"""The arithmetic of a training step, counted while it runs."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Of (B, N, L, D) queries and (B, N, S, D) keys: two products of L x S x D."""
    batch, heads, tokens, width = query
    return 4 * batch * heads * tokens * key[2] * width


def _attention_backward_flops(gradient: Any, query: Any, key: Any, *_: Any, **__: Any) -> int:
    """Five such products, of which one is the attention's own once more."""
    return attention_flops(query, key, key) * 5 // 2


# The counter knows the GPU's kernels only.
CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        _attention_backward_flops
    ),
}


class StepFlops:
    """Counts a micro-batch: `forward`, then `backward`, then `count`.

    What gradient checkpointing computes a second time is not counted: it is no arithmetic of the
    model. It repeats the forward pass of the networks but for the last operation of each block,
    close to a third of what is seen in the backward pass (Chen et al., arXiv 1604.06174).
    """

    def __init__(self, model: nn.Module) -> None:
        self.repeats = any(
            getattr(module, "gradient_checkpointing", False) for module in model.modules()
        )
        self.counter = FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION)
        self.forward_flops = 0

    def forward(self) -> None:
        """The forward pass begins."""
        self.counter.__enter__()

    def backward(self) -> None:
        """The backward pass begins."""
        self.forward_flops = self.counter.get_total_flops()

    def count(self) -> int:
        """The backward pass has ended: the multiply-adds times two of both."""
        self.counter.__exit__(None, None, None)
        backward = self.counter.get_total_flops() - self.forward_flops
        return self.forward_flops + (backward * 2 // 3 if self.repeats else backward)
