"""CFLD through the commands that every model has, on synthetic poses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leffa.cli import main
from leffa.inference import load_model
from leffa.run import compose, evaluate
from leffa.synthetic.write import write_deepfashion, write_market1501

pytest.importorskip("timm")

HEIGHT, WIDTH = 64, 48


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write_deepfashion(root, 6, 3, 0, HEIGHT, WIDTH)
    return root


@pytest.fixture(scope="module")
def run(
    train_tiny: Callable[..., Path], synthetic: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of three steps, the last with the Leffa loss."""
    return train_tiny("cfld_synthetic", synthetic, tmp_path_factory.mktemp("run"))


def saved(run: Path) -> dict[str, torch.Tensor]:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
def test_a_resumed_run_is_the_run_that_was_not_interrupted(
    train_tiny: Callable[..., Path], synthetic: Path, run: Path, tmp_path: Path
) -> None:
    for steps in (1, 3):
        changes = ["resume=auto", f"trainer.max_steps={steps}"]
        train_tiny("cfld_synthetic", synthetic, tmp_path / "run", *changes)
    expected, state = saved(run), saved(tmp_path / "run")
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


@pytest.mark.slow
def test_a_trained_model_is_evaluated_without_a_word_about_its_pose(
    run: Path, synthetic: Path, tmp_path: Path
) -> None:
    chosen = ["dataset=synthetic_pose", f"ckpt={run}", "device=cpu", "sampler.steps=2"]
    quick = ["protocol=leffa", "protocol.name=quick", "~protocol.sets", "~protocol.paired.lpips"]
    data = [f"dataset.root={synthetic}", "dataset.prepare=null", f"paths.output_dir={tmp_path}"]
    size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
    found = evaluate(compose("evaluate", [*chosen, *quick, *data, *size]), progress=False)
    assert {"paired/ssim", "flow/epe_px"} <= found.metrics.keys()
    assert len(list((tmp_path / "images").iterdir())) == 3


@pytest.fixture(scope="module")
def files(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A person, whom it is to look like, and an OpenPose file of the person."""
    person, copied = sorted((synthetic / "test_highres").iterdir())[:2]
    y, x = json.loads((synthetic / "keypoints" / f"{person.stem}.json").read_text())
    scale = (WIDTH / 176, HEIGHT / 256)
    joints = [
        (scale[0] * u, scale[1] * v, 1) if u > 0 else (0, 0, 0) for u, v in zip(x, y, strict=True)
    ]
    values = [value for joint in joints for value in joint]
    keypoints = tmp_path_factory.mktemp("openpose") / f"{person.stem}_keypoints.json"
    keypoints.write_text(json.dumps({"people": [{"pose_keypoints": values}]}))
    return ["--person", str(person), "--garment", str(copied), "--keypoints", str(keypoints)]


@pytest.mark.slow
def test_predicts_from_a_run_and_from_what_is_converted_alike(
    run: Path, files: list[str], tmp_path: Path
) -> None:
    converted = tmp_path / "converted"
    assert main(["convert", "--weights", str(run), "--out", str(converted)]) == 0
    pictures = []
    for name, weights in (("run", run), ("converted", converted)):
        out = tmp_path / name / "pictures"
        usual = ["--ckpt", str(weights), "--out", str(out), "--device", "cpu", "--steps", "2"]
        assert main(["predict", *usual, *files, "--save-flow"]) == 0
        pictures.append(sorted(out.rglob("*.png")))
    assert len(pictures[0]) == 3  # the picture, its flow, the warped reference
    for one, other in zip(*pictures, strict=True):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.slow
def test_a_prediction_without_keypoints_is_told_what_is_missing(
    run: Path, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--ckpt", str(run), "--out", str(tmp_path), "--device", "cpu", *files[:4]]
    assert main(["predict", *given]) == 1
    assert "has no keypoints, which this model was trained with" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["cfld_256", "cfld_market1501"])
def test_a_real_data_set_needs_no_densepose(
    train_tiny: Callable[..., Path], synthetic: Path, tmp_path: Path, experiment: str
) -> None:
    root = tmp_path / "data"
    if experiment == "cfld_256":
        shutil.copytree(synthetic, root, ignore=shutil.ignore_patterns("densepose"))
    else:
        write_market1501(root, 6, 6, 0, HEIGHT, WIDTH)
    model = load_model(train_tiny(experiment, root, tmp_path / "run")).model
    assert model.inputs == {"pose"}


def test_the_experiments_are_the_authors() -> None:
    """Epochs of 101,966 and 263,632 pairs in batches of 224, defaults/deepfashion.py."""
    sizes = {"cfld_256": (256, 176), "cfld_512": (512, 352), "cfld_market1501": (128, 64)}
    for experiment, size in sizes.items():
        cfg = compose("train", [f"experiment={experiment}", "data.root=none"])
        pairs = 263_632 if experiment == "cfld_market1501" else 101_966
        stages = cfg.curriculum.stages
        assert [(s.height, s.width) for s in stages] == [size] * 2
        assert [s.steps for s in stages] == [50 * (pairs // 224)] * 2
        assert [s.learning_rate for s in stages] == [1e-4, 1e-5]
        assert {s.batch_size for s in stages} == {448}
        assert (cfg.curriculum.warmup_steps, cfg.curriculum.warmup_start) == (1000, 0.1)
        assert (cfg.objective.reference_dropout, cfg.objective.timestep_sampling) == (0.2, "cubic")
        assert (cfg.sampler.scheduler, cfg.sampler.steps) == ("ddpm", 50)
        assert (cfg.sampler.guidance, cfg.model.pose_guidance) == (2.0, 2.0)
        assert (cfg.model.trainable, cfg.model.reference_flip) == ("prompt", 0.5)
        assert not cfg.model.drop_biases
        assert cfg.data.reconstruct
    cfg = compose("train", ["experiment=cfld_512", "data.root=none", "curriculum.width=512"])
    assert {(s.height, s.width) for s in cfg.curriculum.stages} == {(512, 512)}
