"""Each metric over two processes (gloo) finds what one process finds (torchmetrics #2684, #1959).

The evaluation of this project generates in several processes and scores the folder in one; whoever
uses the metrics in a training loop scores in several.
"""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor
from torchmetrics import Metric

from leffa.metrics.distribution import FID, KID
from leffa.metrics.fidelity import Leakage, RegionColourDifference, RegionMetric, RegionSSIM
from leffa.metrics.paired import MSE, PSNR, SSIM, MaskedPSNR

FEATURES = 12


def metrics() -> dict[str, Metric]:
    return {
        "fid": FID(FEATURES),
        "kid": KID(FEATURES, subsets=5, subset_size=6),
        "ssim": SSIM(),
        "psnr": PSNR(),
        "psnr_all": PSNR("all"),
        "mse": MSE(),
        "masked_psnr": MaskedPSNR(),
        "interior_ssim": RegionSSIM("interior"),
        "interior_ciede2000": RegionColourDifference(),
        "leakage": Leakage(),
    }


def values(found: dict[str, Metric], batches: list[int]) -> dict[str, float]:
    """Of batches of a different number of images each."""
    for batch in batches:
        random = torch.Generator().manual_seed(batch)
        pred, true = (torch.rand(batch + 1, 3, 16, 12, generator=random) for _ in range(2))
        mask = (torch.rand(batch + 1, 1, 16, 12, generator=random) > 0.5).float()
        for metric in found.values():
            if isinstance(metric, FID | KID):
                metric.update(features(pred), real=False)
                metric.update(features(true), real=True)
            elif isinstance(metric, MaskedPSNR | RegionMetric):
                metric.update(pred, true, mask)
            else:
                metric.update(pred, true)
    computed = {name: metric.compute() for name, metric in found.items()}
    return {k: (v[0] if isinstance(v, tuple) else v).item() for k, v in computed.items()}


def features(images: Tensor) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def child(rank: int, shares: list[list[int]], folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", store, rank=rank, world_size=len(shares))
    found = values(metrics(), shares[rank])
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("shares", [[[3, 4], [5, 2, 6]], [[3, 4, 5, 2, 6], []]])
def test_e8_two_processes_find_what_one_finds(tmp_path: Path, shares: list[list[int]]) -> None:
    """Also where one of them has no image at all."""
    torch.multiprocessing.spawn(child, (shares, str(tmp_path)), nprocs=2)
    alone = values(metrics(), [batch for share in shares for batch in share])
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found == pytest.approx(alone, abs=1e-6)
