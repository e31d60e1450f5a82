"""Every shipped experiment trains, and every configuration composes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf
from safetensors.torch import load_file

from leffa.inference import load_model
from leffa.models.checkpoints import save_official
from leffa.models.leffa import LeffaModel
from leffa.run import CONF, compose, first_model, train
from leffa.run.config import build, resolved
from leffa.synthetic.write import (
    write_deepfashion,
    write_dress_code,
    write_folder,
    write_market1501,
    write_viton,
    write_viton_hd,
)
from leffa.training.finetune import find_start

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
# Leffa is trained below and in other tests; what others change is composed in test_overrides.
QUICK = {"catvton_vitonhd", "cfld_256", "fitdit_vitonhd", "idm_vton_vitonhd"}
SIZE = (64, 48)


# A new data set that an experiment trains on needs its small copy here.
WRITERS: dict[str, Callable[[Path], None]] = {
    "leffa.data.published.Viton": lambda root: write_viton(root, 4, 2, 0, *SIZE),
    "leffa.data.published.VitonHD": lambda root: write_viton_hd(root, 4, 2, 0, *SIZE),
    "leffa.data.published.DressCode": lambda root: write_dress_code(root, 2, 2, 0, *SIZE),
    "leffa.data.deepfashion.DeepFashion": lambda root: write_deepfashion(root, 6, 3, 0, *SIZE),
    "leffa.data.published.Market1501": lambda root: write_market1501(root, 6, 6, 0, *SIZE),
    "leffa.data.folder.FolderPairs": lambda root: write_folder(root, 4, 3, 0, *SIZE),
}


@pytest.fixture(scope="session")
def small_copy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a small copy of the data that a layout class reads, once."""
    folder = tmp_path_factory.mktemp("copies")

    def write(layout: str) -> Path:
        root = folder / layout
        if not root.is_dir():
            WRITERS[layout](root)
        return root

    return write


@pytest.fixture(scope="session")
def official_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in the official layout, for what starts from one."""
    backbone = compose("train", ["backbone=tiny"]).backbone
    model = LeffaModel(
        backbone.unet, backbone.vae, {str(key): value for key, value in backbone.scheduler.items()}
    )
    path = tmp_path_factory.mktemp("official") / "official.safetensors"
    save_official(model, path)
    return path


@pytest.fixture
def overrides(
    small_copy: Callable[[str], Path], official_file: Path, tmp_path: Path
) -> Callable[[str], list[str]]:
    """The command line that trains an experiment for two steps on a small copy of its data."""

    def arguments(experiment: str) -> list[str]:
        chosen = [f"experiment={experiment}", "debug=tiny", f"paths.output_dir={tmp_path / 'run'}"]
        cfg = compose("train", chosen)
        layout = cfg.data.train["_target_"]
        if experiment.startswith("finetune"):
            chosen += [f"start_from={official_file}", "data.transform.densepose=colour"]
        if cfg.model.get("lora"):
            pytest.importorskip("peft")
        places = [f"data.root={small_copy(layout)}", "data.prepare=null"]
        return [*chosen, *places, "sampler.steps=1", "callbacks.report=null"]

    return arguments


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in EXPERIMENTS],
)
def test_every_experiment_trains_two_steps(
    experiment: str, overrides: Callable[[str], list[str]], tmp_path: Path
) -> None:
    train(compose("train", overrides(experiment)))
    run = tmp_path / "run"
    assert (run / "checkpoints" / "last.ckpt").is_file()
    assert (run / "images" / "step_000002.png").is_file()
    assert yaml.safe_load((run / "config.yaml").read_text())["name"] == experiment
    columns = next(run.rglob("metrics.csv")).read_text().splitlines()[0].split(",")
    assert {"val/ssim", "val/flow/spread", "train/loss"} <= set(columns)


def test_a_rehearsal_is_of_the_experiment_s_own_base_data_and_sizes(
    small_copy: Callable[[str], Path], tmp_path: Path
) -> None:
    root = small_copy("leffa.data.published.VitonHD")
    places = [f"data.root={root}", "data.prepare=null", f"paths.output_dir={tmp_path}"]
    chosen = ["experiment=tryon_synthetic", *places, "resume=auto"]
    train(compose("train", [*chosen, "debug=rehearse"]))
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 3
    usual = resolved(compose("train", chosen))
    assert all(content["config"][group] == usual[group] for group in ("model", "curriculum"))
    columns = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()
    losses = [line.split(",")[columns[0].split(",").index("train/leffa")] for line in columns[1:]]
    assert len([loss for loss in losses if loss and float(loss) > 0]) == 3
    with pytest.raises(ValueError, match=r"last\.ckpt: was made with debug=rehearse"):
        train(compose("train", chosen))


@pytest.mark.slow  # convolutions in 16 bits are slow on a CPU
@pytest.mark.parametrize("kind", ["tryon", "pose", "catvton", "fitdit", "idm_vton", "cfld"])
def test_every_kind_of_model_trains_in_the_precision_of_the_gpu_presets(
    kind: str, overrides: Callable[[str], list[str]], tmp_path: Path
) -> None:
    mixed = ["trainer.precision=bf16-mixed", "callbacks.images=null"]
    train(compose("train", [*overrides(f"{kind}_synthetic"), *mixed]))
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    assert not (tmp_path / "run" / "images").exists()


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
def test_a_run_starts_from_weights_and_resumes_without_them(
    overrides: Callable[[str], list[str]],
    official_file: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    start, last = tmp_path / "start.safetensors", tmp_path / "run" / "checkpoints" / "last.ckpt"
    shutil.copy(official_file, start)
    stage = "steps: 1, height: 32, width: 24, batch_size: 2, learning_rate: 1.0e-3"
    stages = f"[{{name: first, {stage}}}, {{name: second, {stage}}}]"
    quick = [f"curriculum.stages={stages}", "callbacks.images=null"]
    chosen = [*overrides("viton_256"), *quick, f"start_from={start}", "resume=auto"]
    first = first_model(resolved(compose("train", chosen))["model"], find_start(start))
    name = "generative_unet.conv_out.weight"
    assert torch.equal(first.state_dict()[name], load_file(start)["unet.conv_out.weight"])
    train(compose("train", [*chosen, "trainer.max_steps=1"]))
    start.unlink()
    cfg = compose("train", [*chosen, "trainer.max_steps=2"])
    measured = train(cfg)
    assert "start_from is not read: the run resumes from" in caplog.text
    saved = torch.load(last, weights_only=True)
    assert saved["global_step"] == 2
    assert {"step_000001.ckpt", "step_000002.ckpt"} < {path.name for path in last.parent.iterdir()}
    loaded = load_model(tmp_path / "run")
    assert torch.equal(loaded.model.state_dict()[name], saved["state_dict"][f"model.{name}"])
    assert measured is not None
    assert train(cfg) == measured  # at its end already: what a sweep started again asks for


def test_every_experiment_is_short_and_says_how_to_run_it() -> None:
    for experiment in EXPERIMENTS:
        text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
        assert len(text.splitlines()) <= 45
        assert f"python train.py experiment={experiment}" in text
        assert f"\nname: {experiment}\n" in text


def test_the_curricula_are_the_paper_s() -> None:
    """Section 4.1: (steps, height, batch) of each stage; the loss in the last one alone."""
    tryon = [(10_000, 512, 256), (36_000, 1024, 64), (10_000, 1024, 64)]
    pose = [(80_000, 256, 256), (80_000, 512, 64), (24_000, 512, 64)]
    wanted = {"virtual_tryon_1024": tryon, "dresscode_1024": tryon, "pose_transfer_512": pose}
    for experiment, expected in wanted.items():
        cfg = compose("train", [f"experiment={experiment}"])
        stages = cfg.curriculum.stages
        assert [(s.steps, s.height, s.batch_size) for s in stages] == expected
        assert [s.get("leffa_loss", False) for s in stages] == [False, False, True]
        assert {s.learning_rate for s in stages} == {1e-5}
        loss = cfg.leffa_loss
        values = (loss.weight, loss.temperature, loss.min_resolution, loss.max_timestep)
        assert values == (1e-3, 2.0, 1 / 32, 500)


@pytest.mark.parametrize("experiment", ["virtual_tryon_1024", "cfld_512", "pose_synthetic"])
def test_leffa_loss_off_is_the_control_of_an_experiment(experiment: str) -> None:
    """It turns the loss off and changes nothing but the name of what is written. No experiment
    chooses or switches the loss itself (test_overrides)."""
    chosen = [f"experiment={experiment}"]
    on, off = compose("train", chosen), compose("train", [*chosen, "leffa_loss=off"])
    assert on.leffa_loss.enabled
    assert not build(OmegaConf.to_container(off.leffa_loss)).active
    assert off.run_name == f"{on.run_name}_leffa_loss_off"
    assert off.run_name in OmegaConf.to_container(off.paths, resolve=True)["output_dir"]
    off.leffa_loss.enabled = True
    assert OmegaConf.to_container(off) == OmegaConf.to_container(on)
