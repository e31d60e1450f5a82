"""`attention_loss.labels=stored`: trained on photographs with the matches that are stored."""

import csv
import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from leffa.data.matches import format_matches
from leffa.data.published import VitonHD
from leffa.io.atomic import write_text
from leffa.losses.attention import AttentionLoss
from leffa.losses.flow import LeffaLoss
from leffa.models.leffa import LeffaModel
from leffa.run import compose, train
from leffa.training.layers import check_layers, check_supervision
from leffa.training.stages import Stage

sys.path.append(str(Path(__file__).parent / "support"))
import runs

WORDS = [
    "curriculum.stages=[{name: leffa, steps: 2, height: 32, width: 24, batch_size: 2,"
    " learning_rate: 1.0e-2, leffa_loss: true}]",
    "curriculum.warmup_steps=0",
    "callbacks.checkpoint.every_n_train_steps=1",
    "callbacks.checkpoint.monitor=null",
    "data.val_samples=2",
    "attention_loss=matches",
    "attention_loss.labels=stored",
]
STAGES = [Stage("leffa", 1, height=32, width=24, batch_size=2, learning_rate=1e-3, leffa_loss=True)]


@pytest.fixture
def photographs(synthetic: Path, tmp_path: Path) -> Path:
    """The synthetic data set without its flow; every second pair has matches."""
    root = Path(shutil.copytree(synthetic, tmp_path / "photographs"))
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        shutil.rmtree(root / split / "flow")
        for index, record in enumerate(VitonHD(root, split)):
            matches = rng.uniform(0.3, 0.7, (20 * (index % 2 == 0), 4)).astype(np.float32)
            text = format_matches(record, ((24, 32), (24, 32)), "test@1", matches)
            write_text(root / split / "matches" / f"{record.name}.json", text)
    return root


def test_trains_on_them_in_the_layers_nearest_to_them(
    photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    words = [*WORDS, "leffa_loss.layers=auto", "leffa_loss.auto_layers=1", "trainer.max_steps=1"]
    with caplog.at_level(logging.INFO):
        train(compose("train", runs.overrides(photographs, folder, *words)))
    assert "attention_loss=matches on: weight 0.3, temperature" in caplog.text
    assert "in tokens, stored labels" in caplog.text
    content = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert len(content["flow_layers"]) == 1
    (log,) = folder.rglob("metrics.csv")
    with log.open() as file:
        rows = list(csv.DictReader(file))
    assert max(float(row["train/leffa"] or 0) for row in rows) > 0
    found = [float(row["val/flow/match_epe_px"]) for row in rows if row["val/flow/match_epe_px"]]
    assert found and min(found) > 0
    assert "val/flow/epe_px" not in rows[0]


def test_pairs_without_a_file_end_the_run_before_it_starts(
    photographs: Path, tmp_path: Path
) -> None:
    first, *others = sorted((photographs / "train/matches").iterdir())
    first.unlink()
    lacking = "attention_loss.labels=stored: 1 of 6 pairs have no file of trusted matches, first"
    with pytest.raises(ValueError, match=f"^{lacking} {first.stem}; leffa prepare matches ROOT"):
        train(compose("train", runs.overrides(photographs, tmp_path / "run", *WORDS)))
    for path in others:
        path.unlink()
    with pytest.raises(ValueError, match="6 of 6 pairs have no file of trusted matches"):
        train(compose("train", runs.overrides(photographs, tmp_path / "run", *WORDS)))
    assert not (tmp_path / "run/checkpoints").exists()


def test_data_without_any_match_are_refused(photographs: Path, tmp_path: Path) -> None:
    for path in (photographs / "train/matches").iterdir():
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"matches": []}))
    with pytest.raises(ValueError, match="stored: none of the 6 pairs has a trusted match"):
        train(compose("train", runs.overrides(photographs, tmp_path / "run", *WORDS)))


def test_matches_of_pictures_of_another_size_are_refused(photographs: Path, tmp_path: Path) -> None:
    path = sorted((photographs / "train/matches").iterdir())[0]
    content = json.loads(path.read_bytes())
    content["person"]["size"] = [48, 64]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{path.name}: was made for .* of 48x64, which"):
        train(compose("train", runs.overrides(photographs, tmp_path / "run", *WORDS)))


def test_reconstructions_have_no_stored_matches(
    make_datamodule: Callable[..., object], model: LeffaModel
) -> None:
    data = make_datamodule(STAGES)
    data.reconstruct = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"stored: data\.reconstruct=true pairs have no matches"):
        check_supervision(AttentionLoss("matches", labels="stored"), model, data)  # type: ignore[arg-type]


def test_layers_can_be_chosen_by_the_matches(photographs: Path, model: LeffaModel) -> None:
    records = VitonHD(photographs, "test")
    loss = LeffaLoss(layers="auto")
    check_layers(loss, model, records)
    first, *others = (photographs / "test/matches").iterdir()
    first.unlink()
    with pytest.raises(ValueError, match=r"^data\.val: 1 of 2 pairs have no file"):
        check_layers(LeffaLoss(), model, VitonHD(photographs, "test"))
    for path in others:
        path.unlink()
    check_layers(LeffaLoss(), model, VitonHD(photographs, "test"))
    with pytest.raises(ValueError, match=r"needs the ground-truth flow or stored"):
        check_layers(loss, model, VitonHD(photographs, "test"))
