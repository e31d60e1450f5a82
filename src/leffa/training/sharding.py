"""Sharded training: weights, gradients and optimiser state are split over the processes.

PyTorch's FSDP2 (arXiv 2304.11277) through Lightning's `ModelParallelStrategy`: a part of the model
gathers its weights when it is called and gives them back. Checkpoints hold full tensors.
"""

import warnings
from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

FORWARD = ("encode", "predict_noise", "predict_branches")  # how a `PersonGenerator` is called
SMALLEST = 4000  # weights of a part that are worth a message of their own


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Shard the weights of every trained network over the processes, in place; their names stay.

    Args:
        model: its children are the networks; frozen ones are not sharded.
        mesh: nodes x devices: shards within a node, and on each node the same.
    """
    if is_sharded(model):
        return
    frozen: set[nn.Parameter] = set()
    for network in model.children():
        if any(parameter.requires_grad for parameter in network.parameters()):
            for part in list(_parts(network)):
                fully_shard(part, mesh=mesh)
        else:
            frozen |= set(network.parameters())
    # Given back after each call, so that between steps all weights are in shards.
    fully_shard(model, mesh=mesh, reshard_after_forward=True, ignored_params=frozen)
    for name in FORWARD:
        register_fsdp_forward_method(model, name)
    # Of flows, which nothing changes in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")


def _parts(network: nn.Module) -> Iterator[nn.Module]:
    """The largest parts without attention, whose layers hand each other tensors past the modules
    that hold them. FSDP2 follows nothing but what a module is given and returns."""
    for child in network.children():
        if hasattr(child, "processor"):
            continue  # few weights; gathered with what else is left over
        attends = any(hasattr(module, "processor") for module in child.modules())
        if attends or isinstance(child, nn.ModuleList):
            yield from _parts(child)
        elif _size(child) >= SMALLEST:
            yield child


def gathered_at_once(model: nn.Module) -> int:
    """Weights of sharded networks that a device holds during a step beside its share: what lies
    in no part of its own, and the largest part."""
    networks = [n for n in model.children() if any(p.requires_grad for p in n.parameters())]
    sizes = [_size(part) for network in networks for part in _parts(network)]
    return sum(_size(network) for network in networks) - sum(sizes) + max(sizes, default=0)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def is_sharded(model: nn.Module) -> bool:
    """Whether its weights lie in shards, so that all processes must run it together."""
    return isinstance(model, FSDPModule)


def full_tensor(value: Tensor) -> Tensor:
    """A tensor from its shards, to be called by every process; others as they are."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gather_rank0(values: Mapping[str, Tensor], is_rank0: bool) -> dict[str, Tensor]:
    """Full tensors for the process that writes, nothing for others; to be called by all."""
    found = {}
    for name, value in values.items():
        gathered = full_tensor(value)
        if is_rank0:
            found[name] = gathered if gathered is value else gathered.cpu()
    return found


def shard_like(value: Tensor, parameter: Tensor) -> Tensor:
    """A full tensor that every process has, sharded as the parameter is."""
    if not isinstance(parameter, DTensor) or isinstance(value, DTensor):
        return value
    moved = value.to(parameter.device)
    return distribute_tensor(moved, parameter.device_mesh, parameter.placements, src_data_rank=None)
