"""Padding is of the network's canvas: what is stored and scored has none of it."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.cli import main
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.evaluation import EvaluationSettings
from leffa.evaluation.masks import write_masks
from leffa.evaluation.settings import plan_work
from leffa.inference.padding import add_padding, crop_padding
from leffa.metrics.protocols import get_protocol
from leffa.run import compose, evaluate

SQUARE = PersonTransform(64, 64, fit="pad", densepose="iuv")  # synthetic persons are 64x48


def test_padding_is_cut_off_and_put_back(synthetic: Path) -> None:
    record = VitonHD(synthetic, split="test", densepose="iuv")[0]
    picture = torch.rand(3, 64, 48)
    padded = add_padding(picture, record, SQUARE)
    assert padded.shape == (3, 64, 64)
    assert (padded[:, :, :8] == 1).all() and (padded[:, :, 56:] == 1).all()
    assert torch.equal(crop_padding(padded, record, SQUARE), picture)
    stretched = replace(SQUARE, fit="stretch")
    assert torch.equal(crop_padding(padded, record, stretched), padded)


def test_the_header_of_a_picture_says_where_it_is_padded(synthetic: Path, tmp_path: Path) -> None:
    record = VitonHD(synthetic, split="test", densepose="iuv")[0]
    begun = tmp_path / "begun.jpg"
    begun.write_bytes(record.source.read_bytes()[:700])  # nothing of this can be decoded
    cut = crop_padding(torch.rand(3, 64, 64), replace(record, source=begun), SQUARE)
    assert cut.shape == (3, 64, 48)


def test_a_padded_data_set_is_stored_and_scored_without_padding(
    usual: list[str], synthetic: Path, tmp_path: Path
) -> None:
    padded = ["dataset.transform.width=64", "+dataset.transform.fit=pad", "limit=2"]
    chosen = ["protocol=wpose", f"paths.output_dir={tmp_path / 'out'}"]
    found = evaluate(compose("evaluate", [*usual, *padded, *chosen]), progress=False)
    for place in ("images", "true", "masks"):
        sizes = {_open(file).size for file in (tmp_path / "out" / place).iterdir()}
        assert sizes == {(48, 64)}, place
    record = VitonHD(synthetic, split="test", densepose="iuv")[0]
    true = np.asarray(_open(tmp_path / "out" / "true" / f"{record.name}.png"))
    assert np.abs(true - np.asarray(_open(record.source)).astype(int)).max() <= 1
    assert _open(tmp_path / "out" / "samples" / "generated" / f"{record.name}.png").size == (64, 64)

    sides = [str(tmp_path / "out" / side) for side in ("images", "true")]
    masks = ["--masks", str(tmp_path / "out" / "masks"), "--json", str(tmp_path / "scores.json")]
    assert main(["score", *sides, "--protocol", "wpose", *masks]) == 0
    values = json.loads((tmp_path / "scores.json").read_text())["values"]
    assert values == pytest.approx(found.scores.values, abs=1e-6)
    assert values.keys() == {"psnr", "masked_psnr"}


def test_a_parsing_map_without_a_person_gives_a_black_mask(
    synthetic: Path, tmp_path: Path, settings: EvaluationSettings
) -> None:
    """Which masked PSNR excludes by name."""
    record = VitonHD(synthetic, split="test", densepose="iuv")[0]
    empty = tmp_path / "empty.png"
    Image.fromarray(np.zeros((64, 48), np.uint8)).save(empty)
    work = plan_work([replace(record, parse=empty)], SQUARE, tmp_path / "out", settings)
    assert write_masks(get_protocol("wpose"), work)
    assert not np.asarray(_open(work.folder.masks / f"{record.name}.png")).any()


def _open(file: Path) -> Image.Image:
    return Image.open(io.BytesIO(file.read_bytes()))
