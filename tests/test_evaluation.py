"""Evaluating a trained model: what is written, what is kept, and that the numbers are right."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from leffa.data.batch import Batch
from leffa.data.dataset import PersonDataset, collate
from leffa.data.transforms import PersonTransform
from leffa.data.viton_hd import VitonHD
from leffa.evaluation import Evaluation, sample_folder, score_flows
from leffa.losses.diffusion import NoiseSchedule
from leffa.losses.flow import FlowRequest, LeffaLoss, Sharpness
from leffa.metrics.protocols import PROTOCOLS, Protocol
from leffa.metrics.score import score_folders
from leffa.models.interface import PersonGenerator, Prediction
from leffa.pictures import HEADINGS
from leffa.run import compose, evaluate, train
from leffa.synthetic.write import write_viton_hd

HEIGHT, WIDTH = 64, 48

Evaluate = Callable[..., Evaluation]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    write_viton_hd(root, train=4, test=5, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="module")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    chosen = ["experiment=tryon_synthetic", "debug=tiny", "+trainer.limit_val_batches=0"]
    data = [f"data.root={drawn}", "data.prepare=null", f"paths.output_dir={folder}"]
    train(compose("train", chosen + data))
    return folder


@pytest.fixture(scope="module")
def quick_protocol() -> Iterator[str]:
    """One without networks, so that these tests do the same whatever weights a machine has."""
    protocol = Protocol("quick", 1, "SSIM and PSNR.", paired=("ssim", "psnr"), distribution=())
    PROTOCOLS[protocol.name] = protocol
    yield protocol.name
    del PROTOCOLS[protocol.name]


@pytest.fixture(scope="module")
def run_evaluation(drawn: Path, trained: Path, quick_protocol: str) -> Evaluate:
    """evaluate.py with these further arguments."""

    def run(folder: Path, *arguments: str) -> Evaluation:
        chosen = ["dataset=synthetic_tryon", f"ckpt={trained}", "limit=4", "device=cpu"]
        quick = ["sampler.steps=2", "batch_size=2", f"protocol={quick_protocol}"]
        data = [f"dataset.root={drawn}", "dataset.prepare=null"]
        size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
        output = [f"paths.output_dir={folder}"]
        return evaluate(compose("evaluate", [*chosen, *quick, *data, *size, *output, *arguments]))

    return run


@pytest.fixture(scope="module")
def evaluation(run_evaluation: Evaluate, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return run_evaluation(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def result(evaluation: Evaluation) -> dict[str, Any]:
    return json.loads((evaluation.folder / "metrics.json").read_text())


NAMES = [f"{number:05}_00" for number in range(50_000, 50_004)]


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
        for heading in HEADINGS
        for name in NAMES
    )


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


def test_the_numbers_are_those_of_the_folder(evaluation: Evaluation) -> None:
    folder = evaluation.folder
    scores = score_folders(folder / "images", folder / "true", "quick")
    assert scores.values.keys() == {"ssim", "psnr"}
    for key, value in scores.values.items():
        assert evaluation.metrics[f"paired/{key}"] == pytest.approx(value)


def test_goes_on_where_it_stopped(evaluation: Evaluation, run_evaluation: Evaluate) -> None:
    images = evaluation.folder / "images"
    lost = images / f"{NAMES[1]}.png"
    pixels = lost.read_bytes()
    lost.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    again = run_evaluation(evaluation.folder)
    after = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    assert {name: after[name] for name in before} == before
    assert lost.read_bytes() == pixels  # its noise follows from its name
    assert again.metrics == evaluation.metrics


@pytest.mark.parametrize("other", ["sampler.seed=7", "limit=2"])
def test_refuses_to_mix_pictures_of_different_settings(
    run_evaluation: Evaluate, evaluation: Evaluation, other: str
) -> None:
    with pytest.raises(ValueError, match="holds pictures of another checkpoint or other settings"):
        run_evaluation(evaluation.folder, other)


def test_an_unpaired_evaluation_has_no_truth_to_compare_with(
    run_evaluation: Evaluate, drawn: Path, tmp_path: Path
) -> None:
    unpaired = ["dataset.records.pairs=unpaired", "dataset.paired=false", "limit=2"]
    evaluation = run_evaluation(tmp_path, *unpaired)
    assert not any(key.startswith(("paired/", "flow")) for key in evaluation.metrics)
    records = VitonHD(drawn, split="test", pairs="unpaired", densepose="iuv")[:2]
    generated = sorted(path.stem for path in (tmp_path / "images").iterdir())
    assert generated == [record.name for record in records]


def test_an_unknown_protocol_is_an_error(run_evaluation: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no protocol 'best'; choose from: "):
        run_evaluation(tmp_path, "protocol=best")
    assert not (tmp_path / "images").exists()


class Oracle(PersonGenerator):
    """Its attention looks where the true flow leads."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = NoiseSchedule(torch.linspace(0.99, 0.01, 1000))
        self.scheduler_config = {}
        self.nothing = nn.Parameter(torch.zeros(1))

    def encode(  # type: ignore[override]
        self, batch: Batch, generator: torch.Generator | None = None, sample: bool = False
    ) -> Tensor:
        return batch["flow"]

    def encode_target(
        self, batch: Batch, generator: torch.Generator | None = None, sample: bool = False
    ) -> Tensor:
        return batch["source"]

    def latent_shape(self, batch: Batch) -> tuple[int, int, int]:
        return 3, HEIGHT, WIDTH

    def predict_noise(  # type: ignore[override]
        self,
        noisy: Tensor,
        timesteps: Tensor,
        conditioning: Tensor,
        flow: FlowRequest | None = None,
    ) -> Prediction:
        sharpness = Sharpness(peak_mass=torch.tensor(1.0), entropy=torch.tensor(0.0))
        return Prediction(noisy, {"layer": conditioning}, {"layer": sharpness})

    def freeze_reference(self, conditioning: Tensor, timestep: int) -> Tensor:  # type: ignore[override]
        return conditioning

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def batches(root: Path) -> Iterator[Batch]:
    dataset = PersonDataset(
        VitonHD(root, split="test", densepose="iuv"),
        PersonTransform(HEIGHT, WIDTH, densepose="iuv"),
    )
    yield collate([dataset[0], dataset[1]])
    yield collate([dataset[2]])


def test_a_perfect_flow_has_no_error_and_its_true_spread(drawn: Path) -> None:
    metrics = score_flows(Oracle(), batches(drawn), LeffaLoss(), timesteps=[100, 300])
    assert metrics["flow/epe_px"] == pytest.approx(0, abs=1e-4)
    assert metrics["flow/pck_3"] == 1
    assert metrics["flow/spread"] == pytest.approx(metrics["flow_true/spread"])
    assert (metrics["flow/peak_mass"], metrics["flow/entropy"]) == (1, 0)
    assert metrics["flow_layers/layer/epe_px"] == metrics["flow/epe_px"]
    assert metrics["flow_constant/spread"] == pytest.approx(0, abs=1e-6)
    assert min(metrics["flow_identity/epe_px"], metrics["flow_constant/epe_px"]) > 1


def test_without_a_true_flow_nothing_is_claimed(drawn: Path) -> None:
    def without_flow() -> Iterator[Batch]:
        for batch in batches(drawn):
            del batch["flow"]
            yield batch

    assert score_flows(Oracle(), without_flow(), LeffaLoss(), timesteps=[100]) == {}
