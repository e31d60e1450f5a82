"""Train, kill, resume, evaluate, predict, explain, convert: every try-on model, by diffusion and by
flow matching, through the same commands."""

import json
import signal
import sys
from pathlib import Path

import pytest
import torch

from leffa.cli import main
from leffa.run import compose, evaluate
from leffa.synthetic.write import write_viton_hd

sys.path.append(str(Path(__file__).parents[1] / "training" / "support"))
import runs

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 64, 48
FLOW_MATCHING = ["backbone=tiny_flow_matching", "objective=flow_matching", "start_from=null"]
FLOW_SAMPLER = ["sampler=flow_matching"]
UNGUIDED = ["sampler=flow_matching_unguided"]
# How a model is trained, how it is sampled, and whether it reads DensePose.
MODELS = {
    "catvton": (["experiment=catvton_synthetic"], [], False),
    "catvton_flux": (["experiment=catvton_flux_synthetic"], UNGUIDED, False),
    "fitdit": (["experiment=fitdit_synthetic"], FLOW_SAMPLER, True),
    "idm_vton": (["experiment=idm_vton_synthetic"], [], True),
    "leffa by flow matching": (
        ["experiment=tryon_synthetic", *FLOW_MATCHING, *FLOW_SAMPLER],
        FLOW_SAMPLER,
        True,
    ),
}
QUICK = ["protocol=leffa", "protocol.name=quick", "~protocol.sets", "~protocol.paired.lpips"]


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write_viton_hd(root, train=4, test=2, height=HEIGHT, width=WIDTH)
    return root


def training(model: str, data: Path, folder: Path) -> list[str]:
    """Three steps, a checkpoint after each."""
    chosen = [*MODELS[model][0], "debug=tiny", "resume=auto"]
    quiet = ["+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false"]
    quiet += ["callbacks.images=null", "callbacks.report=null"]
    places = [f"data.root={data}", "data.prepare=null", f"paths.output_dir={folder}"]
    return [*chosen, *quiet, "~callbacks.progress", "trainer.accelerator=cpu", *places]


def weights(run: Path) -> dict[str, torch.Tensor]:
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 3
    return content["state_dict"]


def pair(data: Path, densepose: bool) -> list[str]:
    """The files of the first test pair, as options."""
    test = data / "test"
    stem = min(path.stem for path in (test / "image").iterdir())
    files = {
        "person": test / "image" / f"{stem}.jpg",
        "garment": min((test / "cloth").iterdir()),
        "mask": test / "agnostic-mask" / f"{stem}_mask.png",
    }
    if densepose:
        files["densepose"] = test / "image-iuv" / f"{stem}.png"
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]


def predict(weights: Path, out: Path, given: list[str]) -> bytes:
    """The picture that `leffa predict` makes of a pair."""
    usual = ["--ckpt", str(weights), "--out", str(out), "--device", "cpu", "--steps", "2"]
    assert main(["predict", *usual, *given]) == 0
    (picture,) = out.glob("*.png")
    return picture.read_bytes()


@pytest.mark.posix
@pytest.mark.parametrize("model", MODELS)
def test_a_model_goes_through_all_commands(model: str, synthetic: Path, tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert runs.train(training(model, synthetic, whole), tmp_path / "log") == [0]

    arguments = training(model, synthetic, run)
    assert runs.train([*arguments, *runs.kill_at(1)], tmp_path / "killed") == [-signal.SIGKILL]
    assert not (run / "checkpoints" / "step_000003.ckpt").exists()
    assert runs.train(arguments, tmp_path / "resumed") == [0]
    torch.testing.assert_close(weights(run), weights(whole), atol=0, rtol=0)

    places = [f"ckpt={run}", f"dataset.root={synthetic}", "dataset.prepare=null"]
    size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
    quick = [*QUICK, *MODELS[model][1], "sampler.steps=2", "batch_size=2", "device=cpu"]
    output = f"paths.output_dir={tmp_path / 'evaluated'}"
    chosen = ["dataset=synthetic_tryon", *places, *size, *quick, output]
    evaluate(compose("evaluate", chosen), progress=False)
    (result,) = (tmp_path / "evaluated").rglob("metrics.json")
    assert json.loads(result.read_text())

    given = pair(synthetic, MODELS[model][2])
    picture = predict(run, tmp_path / "predicted", given)
    seen = ["--ckpt", str(run), "--out", str(tmp_path / "seen"), "--timesteps", "900,200"]
    assert main(["explain", *seen, "--device", "cpu", *given]) == 0
    assert list((tmp_path / "seen").glob("*.html"))
    converted = tmp_path / "converted"
    assert main(["convert", "--weights", str(run), "--out", str(converted)]) == 0
    assert predict(converted, tmp_path / "again", given) == picture
