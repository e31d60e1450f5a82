"""Finished evaluations, as `evaluate.py` leaves their folders."""

import json
from pathlib import Path
from typing import Any

PAIRED = {"ssim": 0.9, "psnr": 21.0, "lpips": 0.05, "fid": 5.0, "kid": 0.0004, "kid_std": 0.0001}
UNPAIRED = {"fid": 9.0, "kid": 0.001}


def evaluation(
    folder: Path,
    dataset: str,
    values: dict[str, float],
    images: int = 2032,
    subset_of: int | None = None,
    protocol: str = "vtoneval",
    size: tuple[int, int] = (1024, 768),
    **changes: Any,
) -> Path:
    """The folder of one; `changes` replace entries of its metrics.json."""
    folder.mkdir(parents=True)
    content = {
        "dataset": dataset,
        "samples": images,
        "subset_of": subset_of,
        "size": list(size),
        "precision": "32-true",
        "real": None,
        "ckpt": "run/last.ckpt",
        "trained_as": "virtual_tryon_1024",
        "sampler": {"_target_": "x", "steps": 20},
        "metrics": {},
        "categories": {},
        "ranking": None,
        "scores": {
            "protocol": {"name": protocol, "version": 1, "description": "As the paper's script."},
            "values": values,
            "images": {"pred": images, "real": images},
            "missing": {"lpips": "no weights <here>"} if "lpips" not in values else {},
            "notes": [],
        },
    }
    (folder / "metrics.json").write_text(json.dumps(content | changes))
    return folder
