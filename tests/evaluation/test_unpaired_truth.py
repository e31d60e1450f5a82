"""Unpaired try-on with the true picture: everybody in the garment of somebody else, as drawn."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from leffa.data.dataset import PersonDataset, collate
from leffa.evaluation import Evaluation
from leffa.inference.forward import encode_batch
from leffa.inference.loaded import load_model
from leffa.metrics.flow import FlowMetrics, identity_flow
from leffa.run import test_set as read_test_set

Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def unpaired(run_evaluation: Evaluate, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("unpaired")
    return run_evaluation(folder, "dataset=synthetic_tryon_unpaired")


@pytest.fixture(scope="module")
def dataset(usual: list[str]) -> PersonDataset:
    chosen = [each for each in usual if each.startswith("dataset.")]
    records, transform, truth = read_test_set(["dataset=synthetic_tryon_unpaired", *chosen])
    assert truth
    return PersonDataset(records[:4], transform)


def test_pictures_are_compared_with_the_person_in_the_other_garment(
    unpaired: Evaluation, synthetic: Path
) -> None:
    drawn = synthetic / "test" / "unpaired-image"
    values = []
    for picture in sorted((unpaired.folder / "images").iterdir()):
        assert "__" in picture.stem
        generated, true = np.asarray(Image.open(picture)), Image.open(drawn / f"{picture.stem}.jpg")
        written = np.asarray(Image.open(unpaired.folder / "true" / picture.name))
        assert np.array_equal(written, np.asarray(true))
        values.append(peak_signal_noise_ratio(np.asarray(true), generated))
    assert len(values) == 4
    assert unpaired.metrics["paired/psnr"] == pytest.approx(np.mean(values), abs=1e-3)
    assert 0 < unpaired.metrics["paired/ssim"] < 1


def test_the_result_says_that_the_truth_is_drawn(
    unpaired: Evaluation, evaluation: Evaluation
) -> None:
    result, paired = (
        json.loads((each.folder / "metrics.json").read_text()) for each in (unpaired, evaluation)
    )
    assert result["truth_drawn"] is True and paired["truth_drawn"] is False
    rows = list(csv.DictReader((unpaired.folder / "manifest.csv").read_text().splitlines()))
    assert all("unpaired-image" in row["truth"] for row in rows)
    assert (unpaired.folder / "samples" / "true_image" / f"{rows[0]['name']}.png").is_file()
    assert not (evaluation.folder / "samples" / "true_image").exists()


def test_flows_are_compared_with_the_flow_to_the_other_garment(
    unpaired: Evaluation, dataset: PersonDataset
) -> None:
    batch = collate([dataset[index] for index in range(4)])
    metric = FlowMetrics()
    identity = identity_flow(*batch["flow"].shape[1:3]).expand_as(batch["flow"])
    metric.update(identity, batch["flow"], batch["flow_valid"])
    expected = metric.compute()["epe_px"].item()
    assert unpaired.metrics["flow_identity/epe_px"] == pytest.approx(expected)
    assert unpaired.metrics["flow/epe_px"] > 0 and 0 <= unpaired.metrics["flow/pck_3"] <= 1


def test_attention_is_read_in_the_true_picture(dataset: PersonDataset, trained: Path) -> None:
    model = load_model(trained).model
    batch = collate([dataset[0]])
    encoded = encode_batch(model, batch)
    assert torch.equal(encoded.clean, model.encode_target({**batch, "source": batch["truth"]}))
    assert not torch.equal(encoded.clean, model.encode_target(batch))
    own = {key: value for key, value in batch.items() if key != "truth"}
    assert torch.equal(encoded.conditioning.concat, model.encode(own).concat)


def test_a_protocol_that_resizes_the_truth_gets_the_drawn_one(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    preparation = "+protocol.prepare_true={size:prediction,filter:bilinear}"
    size = ["dataset.transform.height=32", "dataset.transform.width=24", "limit=1"]
    run_evaluation(tmp_path, "dataset=synthetic_tryon_unpaired", *size, preparation)
    (original,) = (tmp_path / "originals").iterdir()
    assert original.resolve().parent.name == "unpaired-image"
