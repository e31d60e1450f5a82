"""Which devices to use, and how a batch gets there."""

from typing import Any

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.data.packed import Packed, unpack


def choose_devices(device: str, count: int | str) -> list[str]:
    """The devices' names for torch.

    Args:
        device: "auto" (CUDA or the CPU), "cpu", "cuda", "cuda:N", or "mps", taken only when named.
        count: how many; "auto" is every GPU, and one process without a GPU.

    Raises:
        ValueError: there are fewer; several on a machine without a GPU need device "cpu".
    """
    given = device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device={device}: choose auto, cpu, cuda, cuda:N or mps") from None
    if count != "auto" and not (isinstance(count, int) and count >= 1):
        raise ValueError(f"devices={count}: give a number from 1, or auto")
    if kind.type == "cpu":
        if given == "auto" and count not in (1, "auto"):
            raise ValueError(
                f"devices={count}: this machine has no GPU; add device=cpu for as many processes "
                "on the CPU, or leave devices out"
            )
        return ["cpu"] * (1 if count == "auto" else int(count))
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or accelerator.type != kind.type:
        raise ValueError(
            f"device={device}: this machine has no {kind.type} device that torch can use; "
            "choose auto or cpu"
        )
    present = torch.accelerator.device_count()
    wanted = present if count == "auto" else int(count)
    if kind.index is not None:
        if count not in (1, "auto"):
            raise ValueError(f"device={device} is one device; choose device=cuda for {count}")
        if kind.index >= present:
            raise ValueError(f"device={device}: this machine has {present} {kind.type} devices")
        return [device]
    if not 1 <= wanted <= present:
        raise ValueError(f"devices={count}: this machine has {present} {kind.type} devices")
    return [f"{kind.type}:{index}" for index in range(wanted)]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on `device`, and unpacked there."""
    moved: Batch = unpack({key: _moved(value, device) for key, value in batch.items()})
    return moved


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return {key: _moved(part, device) for key, part in value.items()}
    if isinstance(value, Packed):
        return Packed(*(_moved(part, device) for part in value))
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
