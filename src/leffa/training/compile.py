"""Speeds up a model without changing results beyond rounding: memory format and `torch.compile`."""

import warnings
from typing import Any

import torch
from torch import nn

from leffa.models.compiled import compile_blocks


def compile_model(
    model: nn.Module, compile_networks: bool, channels_last: bool, backend: Any = "inductor"
) -> None:
    """Change how a model is computed, in place; the names of its weights stay.

    Args:
        model: its children are the networks.
        compile_networks: compile the transformer blocks of each trained network (`torch.compile`)
            when they are first called, once for each size of layer; a network without such blocks
            is compiled whole.
        channels_last: keep the weights of convolutions in NHWC, as the matrix units of GPUs read.
        backend: of `torch.compile`; "aot_eager" captures the same graphs and generates no code.
    """
    if channels_last:
        model.to(memory_format=torch.channels_last)
    if compile_networks:
        from torch._dynamo import config  # takes a second to import

        # Under gradient checkpointing a block hands its features and flows out in the forward pass
        # alone; to do so again in the backward pass would break the graph.
        config.skip_fwd_side_effects_in_bwd_under_checkpoint = True
        # DDP's buckets would cut the graphs; blocks hand their gradients on one by one as it is.
        config.optimize_ddp = False
        # The compiler asks every tensor passed to a network for its gradient.
        warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a")
        for network in model.children():
            if any(parameter.requires_grad for parameter in network.parameters()):
                if getattr(network, "_repeated_blocks", None):
                    compile_blocks(network, backend)
                else:
                    network.compile(backend=backend)
