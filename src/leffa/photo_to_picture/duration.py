"""Estimates the sampling time in advance: operations of an image, divided by the speed of matrix
products on this machine."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch

from leffa.data.batch import Record
from leffa.models.sampler import SamplerSettings
from leffa.photo_to_picture.request import PhotoRequest, Weights

# As `count_sampling` counts them at the size of their training, in 10^12 operations: of a step, and
# of the rest; by preset or experiment. What has not been fetched has no networks to count.
RELEASED = {
    "virtual_tryon": (14.1, 14.9),
    "virtual_tryon_dc": (14.1, 14.9),
    "pose_transfer": (18.8, 14.9),
    "catvton_vitonhd": (2.5, 3.5),
    "catvton_dresscode": (2.5, 3.5),
    "idm_vton_vitonhd": (15.9, 19.1),
}
# Of what a large matrix product reaches, the networks reach about this.
_SHARE = {"cpu": 0.6, "cuda": 0.4}


def tell_time(
    request: PhotoRequest,
    pairs: Mapping[str, Sequence[Record]],
    chosen: Mapping[str, Weights],
    device: str,
    tell: Callable[[str], None],
) -> None:
    """Print the estimated time for the missing images, on the CPU or CUDA."""
    share, seconds = _SHARE.get(device.partition(":")[0]), 0.0
    for name, records in pairs.items():
        todo = [one for one in records if not (request.out / f"{one.name}.json").is_file()]
        sampler = request.sampler(chosen[name])
        if todo and share is not None:
            precision = str(chosen[name].performance(request.performance, device).precision)
            step, rest = _operations(chosen[name], sampler)
            work = len(todo) * (step * sampler.steps + rest)
            seconds += work / (_speed(device, precision) * share)
    if seconds:
        text = f"{max(1, seconds):.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        if seconds > 6000:
            text = f"{seconds / 3600:.0f} h"
        tell(f"sampling will take about {text} on {device}; fewer --steps take less")


def _operations(weights: Weights, sampler: SamplerSettings) -> tuple[float, float]:
    """Of a step, and of the rest of an image, in 10^12."""
    if weights.loaded is None:
        return RELEASED[weights.preset or str(weights.entry and weights.entry.experiment)]
    from leffa.estimate.count import count_sampling  # takes a second, and is for own weights only

    size = weights.inputs.height, weights.inputs.width
    step, rest = count_sampling(weights.loaded.model, *size, sampler.guidance)
    return step / 1e12, rest / 1e12


@cache
def _speed(device: str, precision: str) -> float:
    """Operations a second of a large matrix product, in 10^12; takes a fraction of a second."""
    half = precision != "32-true" and device != "cpu"
    side = 8192 if half else 2048
    matrix = torch.ones(side, side, device=device, dtype=torch.float16 if half else None)
    matrix @ matrix  # the first call loads kernels
    start = time.perf_counter()
    (matrix @ matrix)[0, 0].item()
    return 2 * side**3 / (time.perf_counter() - start) / 1e12
