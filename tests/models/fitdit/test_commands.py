"""A published folder becomes a checkpoint, and a checkpoint the published layout."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from leffa.cli import main

NETWORKS = ("transformer_garm", "transformer_vton")
FILE = "diffusion_pytorch_model.safetensors"


def test_published_weights_become_a_checkpoint_and_come_back(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, folder = tmp_path / "fitdit.ckpt", tmp_path / "again"
    chosen = ["--experiment", "fitdit_vitonhd", "backbone.fitdit.pooled=none"]
    given = ["--weights", str(published), "--out", str(checkpoint)]
    assert main(["convert", *given, *chosen]) == 0
    content = torch.load(checkpoint, weights_only=True)
    parts = {key.split(".")[1] for key in content["state_dict"]}
    assert parts == {"garment", "denoiser", "pose_guider"}
    back = ["convert", "--weights", str(checkpoint), "--out", str(folder), "--published"]
    assert main(back) == 0
    for part in NETWORKS:
        theirs, ours = (load_file(root / part / FILE) for root in (published, folder))
        assert theirs.keys() == ours.keys()
        key = "transformer_blocks.1.attn.to_k.weight"
        assert torch.equal(theirs[key], ours[key])
    guiders = [
        torch.load(root / "pose_guider" / "diffusion_pytorch_model.bin", weights_only=True)
        for root in (published, folder)
    ]
    torch.testing.assert_close(*guiders, atol=0, rtol=0)
    assert {path.name for path in folder.iterdir()} == {
        *NETWORKS,
        "pose_guider",
        "vae",
        "scheduler",
    }
    capsys.readouterr()
    assert main(back) == 1
    assert "is not empty; give another --out, or delete it" in capsys.readouterr().err
