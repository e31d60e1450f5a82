"""The garment's fidelity in an evaluation: what is written, what is scored, what is left out."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.cli import main
from leffa.data.dataset import PersonDataset, collate
from leffa.evaluation import Evaluation
from leffa.evaluation.masks import PASTED
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.loaded import load_model
from leffa.io.png import read_png
from leffa.losses.request import FlowRequest
from leffa.metrics.scorer import UNPAIRED
from leffa.run import test_set as read_test_set

Evaluate = Callable[..., Evaluation]
pytestmark = pytest.mark.usefixtures("no_letters")

LEFFA_2 = "protocol=leffa@2"  # whose networks `run_evaluation` leaves out
OF_PICTURES = ("interior_ssim", "boundary_ssim", "interior_ciede2000", "leakage", "leakage_share")


@pytest.fixture(scope="module")
def unpaired(run_evaluation: Evaluate, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Persons in other garments, with the drawn truth."""
    folder = tmp_path_factory.mktemp("fidelity")
    return run_evaluation(folder, "dataset=synthetic_tryon_unpaired", LEFFA_2)


def opened(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def test_every_metric_and_its_coverage_is_there_unpaired_with_a_drawn_truth(
    unpaired: Evaluation,
) -> None:
    result = json.loads((unpaired.folder / "metrics.json").read_text())
    for name in (*OF_PICTURES, "garment_attention"):
        assert result["metrics"][f"fidelity/{name}"] == result["scores"]["values"][name]
        assert 0 < result["scores"]["coverage"][name] <= 4
    assert result["scores"]["coverage"]["leakage"] == 4


def test_the_garment_is_where_the_true_picture_wears_it_and_not_where_the_person_did(
    unpaired: Evaluation, synthetic: Path
) -> None:
    names = sorted(path.stem for path in (unpaired.folder / "images").iterdir())
    for name, worn, mask in zip(
        names,
        opened(unpaired.folder / "worn"),
        opened(unpaired.folder / "inpainted"),
        strict=True,
    ):
        drawn = np.asarray(Image.open(synthetic / "test" / "unpaired-parse" / f"{name}.png"))
        assert ((worn > 0) == (np.isin(drawn, (5, 6, 7)) & (mask > 0))).all()
        assert worn.any() and not mask.all()
        (garment,) = (unpaired.folder / "garments").glob(f"{name}.*")
        assert garment.resolve().parent.name == "cloth"


def test_leffa_score_finds_the_same_numbers_in_the_folder(
    unpaired: Evaluation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = [str(unpaired.folder / side) for side in ("images", "true")]
    beside = [f"--{role}={unpaired.folder / role}" for role in ("worn", "inpainted", "garments")]
    chosen = [f"--metrics={name}" for name in OF_PICTURES]
    out = tmp_path / "scores.json"
    parts = ["score", *sides, "--protocol", "leffa@2", *beside, *chosen, "--json", str(out)]
    assert main(parts) == 0
    values = json.loads(out.read_text())["values"]
    assert values == pytest.approx({name: unpaired.scores.values[name] for name in OF_PICTURES})
    capsys.readouterr()
    assert main([*parts[:-2], "--metrics=garment_attention"]) != 0
    assert "garment_attention: it is read from a model's attention" in capsys.readouterr().err


def test_the_attention_is_that_while_the_generated_picture_is_denoised(
    unpaired: Evaluation, usual: list[str], trained: Path
) -> None:
    chosen = [each for each in usual if each.startswith("dataset.")]
    records, transform, _ = read_test_set(["dataset=synthetic_tryon_unpaired", *chosen])
    loaded = load_model(trained)
    batch = collate([PersonDataset(records[:1], transform)[0]])
    (name,) = batch["name"]
    painted = read_png(unpaired.folder / "images" / f"{name}.png")[None]
    request = FlowRequest(min_resolution=loaded.flow_request.min_resolution, share=True)
    encoded = encode_batch(loaded.model, batch, painted)
    shares = noised_forward(loaded.model, encoded, 200, request).prediction.shares
    expected = []
    for share in shares.values():
        cells = batch["mask"][0, 0].unflatten(0, (share.shape[1], -1))
        weight = cells.unflatten(2, (share.shape[2], -1)).mean(dim=(1, 3))
        expected.append(((share[0] * weight).sum() / weight.sum()).item())
    found = unpaired.scores.per_image["garment_attention"][name]
    assert found == pytest.approx(np.mean(expected), rel=1e-4)
    assert torch.tensor(expected).gt(0).all()


def test_real_unpaired_try_on_has_what_needs_no_truth_and_says_why_nothing_else(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    untrue = ["dataset.records.truth=false", "dataset.paired=false"]
    found = run_evaluation(tmp_path, "dataset=synthetic_tryon_unpaired", *untrue, LEFFA_2)
    without_extras = found.scores.values.keys() - {"text_similarity", "match_count"}
    assert without_extras == {"leakage", "leakage_share", "garment_attention"}
    for name in ("interior_ssim", "boundary_ssim", "match_fidelity", "match_distance"):
        assert found.scores.missing[name] == UNPAIRED
    assert not (tmp_path / "worn").exists()


def test_nothing_leaks_where_the_photograph_is_pasted_back(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    found = run_evaluation(tmp_path, LEFFA_2, "sampler.paste_back=true", "limit=1")
    assert found.scores.missing["leakage"] == PASTED
    assert "interior_ssim" in found.scores.values


def test_a_report_shows_the_fidelity(unpaired: Evaluation, tmp_path: Path) -> None:
    assert main(["report", str(unpaired.folder), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.md").read_text()
    assert "CIEDE2000 (garment's interior)" in page and "attention to the garment" in page
    assert f"{unpaired.metrics['fidelity/leakage']:.3f}" in page
    assert "images judged: interior_ssim" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["metrics=[interior_ssim]", "dataset.paired=false"],
            "metrics=interior_ssim: it needs the",
        ),
        (["metrics=[psnr]", "dataset.paired=false"], "metrics=psnr: it needs the true image"),
        (
            ["metrics=[leakage]", "sampler.paste_back=true"],
            "metrics=leakage: the photograph is pas",
        ),
        (["metrics=[]"], "metrics is empty: name at least one"),
        (["metrics=leak"], "protocol quick has no metric leak; choose from: "),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_before_a_picture_is_generated(
    run_evaluation: Evaluate, tmp_path: Path, arguments: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        run_evaluation(tmp_path, LEFFA_2, *arguments)
    assert not list(tmp_path.glob("images/*"))


def test_only_the_metrics_asked_for_are_scored(run_evaluation: Evaluate, tmp_path: Path) -> None:
    found = run_evaluation(tmp_path, LEFFA_2, "metrics=[psnr,garment_attention]", "limit=1")
    assert found.scores.values.keys() == {"psnr", "garment_attention"}
    assert not found.scores.missing
