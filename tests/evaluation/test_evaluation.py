"""Evaluating a trained model: what is written, and that the numbers are right."""

import csv
import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.errors import MissingConfigException
from PIL import Image

from leffa.cli import main
from leffa.data.published import DressCode, VitonHD
from leffa.data.transforms import PersonTransform
from leffa.evaluation import Evaluation, EvaluationSettings, evaluate_model, sample_folder
from leffa.evaluation.masks import write_masks
from leffa.evaluation.settings import plan_work
from leffa.inference import load_model
from leffa.inference.devices import choose_devices
from leffa.metrics.protocols import get_protocol
from leffa.metrics.score import score_folders
from leffa.pictures import HEADINGS
from leffa.run import CONF, evaluate
from leffa.run.program import program
from leffa.synthetic.write import write_dress_code

HEIGHT, WIDTH = 64, 48

Evaluate = Callable[..., Evaluation]

NAMES = [f"{number:05}_00" for number in range(50_000, 50_004)]


@pytest.fixture(scope="module")
def result(evaluation: Evaluation) -> dict[str, Any]:
    return json.loads((evaluation.folder / "metrics.json").read_text())


def test_writes_an_image_for_every_sample(evaluation: Evaluation) -> None:
    for place in ("images", "true"):
        files = sorted((evaluation.folder / place).iterdir())
        assert [file.name for file in files] == [f"{name}.png" for name in NAMES]
        for file in files:
            with Image.open(file) as image:
                assert image.size == (WIDTH, HEIGHT)


def test_writes_a_sheet_and_its_pictures(evaluation: Evaluation) -> None:
    assert (evaluation.folder / "samples.png").is_file()
    assert all(
        (sample_folder(evaluation.folder, heading) / f"{name}.png").is_file()
        for heading in HEADINGS[:-1]  # the source is the true picture
        for name in NAMES
    )


def test_pictures_under_an_earlier_name_are_found(tmp_path: Path) -> None:
    assert sample_folder(tmp_path, "ground-truth flow").name == "ground_truth_flow"
    (tmp_path / "samples" / "true_flow").mkdir(parents=True)
    assert sample_folder(tmp_path, "ground-truth flow").name == "true_flow"


def test_the_result_says_what_it_depends_on(
    result: dict[str, Any], evaluation: Evaluation, trained: Path
) -> None:
    assert result["dataset"] == "synthetic_tryon"
    assert (result["samples"], result["subset_of"]) == (4, 5)
    assert result["ckpt"] == str(trained / "checkpoints" / "last.ckpt")
    assert result["trained_as"] == "tryon_synthetic"
    assert result["sampler"]["steps"] == 2
    assert result["scores"]["protocol"]["name"] == "quick"
    assert result["metrics"] == evaluation.metrics
    assert "quick v1, paired, 4 images" in (evaluation.folder / "metrics.md").read_text()


def test_the_result_has_image_and_flow_metrics(evaluation: Evaluation) -> None:
    expected = {"paired/ssim", "paired/psnr", "flow_true/spread"} | {
        f"{kind}/{key}"
        for kind in ("flow", "flow_identity", "flow_constant")
        for key in ("epe_px", "pck_3", "spread")
    }
    assert expected | {"flow/peak_mass", "flow/entropy"} <= evaluation.metrics.keys()


@pytest.mark.usefixtures("quick_protocol")
def test_the_numbers_are_those_of_the_folder(evaluation: Evaluation) -> None:
    folder = evaluation.folder
    scores = score_folders(folder / "images", folder / "true", "quick")
    assert scores.values.keys() == {"ssim", "psnr"}
    for key, value in scores.values.items():
        assert evaluation.metrics[f"paired/{key}"] == pytest.approx(value)


def test_an_unpaired_evaluation_has_no_truth_to_compare_with(
    run_evaluation: Evaluate, synthetic: Path, tmp_path: Path
) -> None:
    unpaired = ["dataset.records.pairs=unpaired", "dataset.paired=false", "limit=2"]
    evaluation = run_evaluation(tmp_path, *unpaired)
    assert not any(key.startswith(("paired/", "flow")) for key in evaluation.metrics)
    records = VitonHD(synthetic, split="test", pairs="unpaired", densepose="iuv")[:2]
    generated = sorted(path.stem for path in (tmp_path / "images").iterdir())
    assert generated == [record.name for record in records]


def test_an_unknown_protocol_is_an_error(run_evaluation: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(MissingConfigException, match="protocol/best"):
        run_evaluation(tmp_path, "protocol=best")
    assert not (tmp_path / "images").exists()


def test_the_manifest_keeps_the_category_of_every_image(evaluation: Evaluation) -> None:
    lines = list(csv.DictReader((evaluation.folder / "manifest.csv").read_text().splitlines()))
    assert [line["name"] for line in lines] == NAMES
    assert {line["category"] for line in lines} == {"upper_body"}
    assert all(Path(line["reference"]).is_file() for line in lines)


def test_the_ranking_goes_from_best_to_worst(
    result: dict[str, Any], evaluation: Evaluation
) -> None:
    values = evaluation.scores.per_image["ssim"]
    order = sorted(values, key=values.__getitem__, reverse=True)
    ranking = result["ranking"]
    assert ranking["metric"] == "ssim"
    assert list(ranking["best"]) == order[:1]
    assert list(ranking["median"]) == order[1:2]
    assert list(ranking["worst"]) == order[-1:]
    for group, name in (("best", order[0]), ("median", order[1]), ("worst", order[-1])):
        assert (evaluation.folder / f"{group}.png").is_file()
        for heading in ("reference", "source", "generated", "warped reference"):
            column = sample_folder(evaluation.folder, heading, group)
            assert [path.stem for path in column.iterdir()] == [name]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("limit=0", "limit=0: give a number from 1"),
        ("limit=1.5", "limit=1.5: is not a whole number"),
        ("batch_size=0", "batch_size=0: give a number from 1"),
        ("precision=half", "precision=half: choose one of 32-true"),
        ("devices=0", "devices=0: give a number from 1, or auto"),
        ("inspect_timesteps=[]", "inspect_timesteps is empty"),
        ("inspect_timesteps=200", r"inspect_timesteps=200: is not a list, such as \[200\]"),
        ("inspect_timesteps=[200,1000]", "inspect_timesteps=1000: give 0 to 999"),
        ("sampler.steps=2000", "sampler.steps=2000: give 1000 at most"),
        (
            "inspect_layers=auto",
            "inspect_layers=auto: matches no layer of this LeffaModel; it has ",
        ),
        ("inspect_temperature=0", "inspect_temperature=0: give a number above 0"),
        ("inspect_layers=[]", "inspect_layers must be training, all, or names of layers"),
        ("device=gpu", "device=gpu: choose auto, cpu, cuda, cuda:N or mps"),
        ("+dataset.real=/nowhere", "/nowhere: no such folder"),
    ],
)
def test_a_bad_setting_is_refused_before_anything_is_written(
    run_evaluation: Evaluate, tmp_path: Path, argument: str, message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run_evaluation(tmp_path, argument)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a machine without a GPU")
def test_processes_on_the_cpu_are_asked_for_by_name() -> None:
    with pytest.raises(ValueError, match="devices=8: this machine has no GPU; add device=cpu"):
        choose_devices("auto", 8)
    assert choose_devices("cpu", 8) == ["cpu"] * 8
    assert choose_devices("auto", "auto") == ["cpu"]


def test_a_size_that_the_protocol_does_not_take_is_refused_before_the_work(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    message = "protocol=small takes images of 8x8, these would be 64x48"
    with pytest.raises(ValueError, match=message):
        run_evaluation(tmp_path, "protocol.name=small", "+protocol.sizes=[[8,8]]")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick_protocol")
def test_score_of_the_written_folder_gives_the_same_numbers(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    folders = [str(evaluation.folder / side) for side in ("images", "true")]
    out = tmp_path / "scores.json"
    assert main(["score", *folders, "--protocol", "quick", "--json", str(out)]) == 0
    values = json.loads(out.read_text())["values"]
    assert values == pytest.approx(evaluation.scores.values, abs=1e-6)


@pytest.mark.slow
@pytest.mark.weights
def test_fid_is_that_of_score_and_zero_for_a_set_against_itself(
    run_evaluation: Evaluate, evaluation: Evaluation, tmp_path: Path
) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(evaluation.folder, folder)  # its pictures are kept: only the scores are new
    whole = ["protocol=leffa", "protocol.name=sets", "+protocol.sets.fid.features=clean_fid"]
    scored = run_evaluation(folder, *whole)
    out = tmp_path / "scores.json"
    sides = [str(folder / side) for side in ("images", "true")]
    assert main(["score", *sides, "--protocol", "leffa", "--json", str(out)]) == 0
    values = json.loads(out.read_text())["values"]
    assert values["fid"] == pytest.approx(scored.metrics["set/fid"], abs=1e-6)
    assert main(["score", sides[0], sides[0], "--protocol", "leffa", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["values"]["fid"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_the_average_or_the_weights_themselves_are_evaluated_as_asked(
    run_evaluation: Evaluate, train_tiny: Callable[..., Path], synthetic: Path, tmp_path: Path
) -> None:
    run = train_tiny("tryon_synthetic", synthetic, tmp_path / "run", "callbacks=ema")
    pictures = {}
    for weights in ("ema", "raw", "null"):
        run_evaluation(tmp_path / weights, f"ckpt={run}", f"weights={weights}", "limit=1")
        (picture,) = (tmp_path / weights / "images").iterdir()
        pictures[weights] = picture.read_bytes()
        settings = json.loads((tmp_path / weights / "settings.json").read_text())
        assert settings["weights"] == (None if weights == "null" else weights)
    assert pictures["ema"] == pictures["null"] != pictures["raw"]


def test_a_report_of_the_evaluation_shows_its_numbers_and_samples(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    assert main(["report", str(evaluation.folder), "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3  # best, median, worst
    assert f"{evaluation.metrics['paired/ssim']:.3f}" in (tmp_path / "report.md").read_text()
    assert "4 of 5 images" in page


@pytest.mark.parametrize("arguments", [["dataset=vitonhd_piared", "ckpt=x"], ["ckpt=x"]])
@pytest.mark.usefixtures("fresh_hydra")
def test_a_misspelt_or_missing_data_set_gives_the_names(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        program("evaluate", evaluate)
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    known = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
    misspelt = "dataset=vitonhd_piared" in arguments
    expected = "did you mean vitonhd_paired?" if misspelt else f"one of: {', '.join(known)}"
    assert expected in line


def test_masks_show_the_person_of_the_parsing_map(
    synthetic: Path, tmp_path: Path, settings: EvaluationSettings
) -> None:
    records = VitonHD(synthetic, split="test", densepose="iuv")[:2]
    transform = PersonTransform(HEIGHT, WIDTH, densepose="iuv")
    work = plan_work(records, transform, tmp_path, settings)
    assert not write_masks(get_protocol("leffa"), work)
    assert write_masks(get_protocol("wpose"), work)
    for record in records:
        assert record.parse is not None
        labels, mask = (
            np.asarray(Image.open(io.BytesIO(path.read_bytes())))
            for path in (record.parse, work.folder.masks / f"{record.name}.png")
        )
        assert ((mask > 0) == (labels > 0)).all()
    without = [replace(records[0], parse=None)]
    assert not write_masks(get_protocol("wpose"), replace(work, records=without))


def test_dress_code_is_scored_category_by_category(
    trained: Path, quick_protocol: str, tmp_path: Path, settings: EvaluationSettings
) -> None:
    root, size = tmp_path / "dress_code", [HEIGHT, WIDTH]
    write_dress_code(root, train=0, test=2, height=HEIGHT, width=WIDTH)
    records = DressCode(root, split="test", densepose="labels")
    loaded = load_model(trained)
    settings = replace(settings, name="dresscode_all_paired", protocol=quick_protocol, batch_size=3)
    transform = PersonTransform(*size, densepose="labels")
    evaluation = evaluate_model(loaded.model, records, transform, tmp_path / "out", settings)
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["categories"]
    assert list(found) == ["upper_body", "lower_body", "dresses"]
    ssim = evaluation.scores.per_image["ssim"]
    for category, part in found.items():
        own = [ssim[record.name] for record in records if record.category == category]
        assert part["images"] == len(own) == 2
        assert part["values"]["ssim"] == pytest.approx(sum(own) / len(own))
