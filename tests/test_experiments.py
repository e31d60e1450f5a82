"""Every shipped experiment trains; every configuration composes; every mistake is one line."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from leffa.run import CONF, assemble, compose, evaluate, program, train
from leffa.synthetic.encode import palette_png
from leffa.synthetic.world import draw_tryon
from leffa.synthetic.write import write_deepfashion, write_dress_code, write_viton_hd

REPOSITORY = Path(__file__).parents[1]
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SIZE = (64, 48)


def write_viton(root: Path, train: int, test: int) -> None:
    """A few drawn samples in VITON's layout; CIHP's labels are LIP's for what is worn here."""
    for split, numbers in (("train", range(train)), ("test", range(100, 100 + test))):
        for number in numbers:
            drawing = draw_tryon(0, number, *SIZE)
            person, garment = f"{number:06}_0", f"{number:06}_1"
            pictures = {
                f"image/{person}.jpg": drawing.person.image,
                f"cloth/{garment}.jpg": drawing.garment,
                f"cloth-mask/{garment}.jpg": drawing.garment_mask,
            }
            for name, pixels in pictures.items():
                Image.fromarray(pixels).convert("RGB").save(_made(root / split / name))
            parse = palette_png(drawing.person.parsing)
            _made(root / split / f"image-parse/{person}.png").write_bytes(parse)
            joints = {"pose_keypoints": drawing.person.keypoints_coco18.ravel().tolist()}
            pose = _made(root / split / f"pose/{person}_keypoints.json")
            pose.write_text(json.dumps({"people": [joints]}))
        lines = [f"{number:06}_0.jpg {number:06}_1.jpg\n" for number in numbers]
        (root / f"{split}_pairs.txt").write_text("".join(lines))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# A new data set that an experiment trains on needs its small copy here.
WRITERS: dict[str, Callable[[Path], None]] = {
    "leffa.data.viton.Viton": lambda root: write_viton(root, 4, 2),
    "leffa.data.viton_hd.VitonHD": lambda root: write_viton_hd(root, 4, 2, 0, *SIZE),
    "leffa.data.dress_code.DressCode": lambda root: write_dress_code(root, 2, 2, 0, *SIZE),
    "leffa.data.deepfashion.DeepFashion": lambda root: write_deepfashion(root, 6, 3, 0, *SIZE),
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


@pytest.fixture
def overrides(small_copy: Callable[[str], Path], tmp_path: Path) -> Callable[[str], list[str]]:
    """The command line that trains an experiment for two steps on a small copy of its data."""

    def arguments(experiment: str) -> list[str]:
        chosen = [f"experiment={experiment}", "debug=tiny", f"paths.output_dir={tmp_path / 'run'}"]
        layout = compose("train", chosen).data.train["_target_"]
        return [*chosen, f"data.root={small_copy(layout)}", "data.prepare=null"]

    return arguments


@pytest.mark.parametrize("experiment", EXPERIMENTS)
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


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
def test_a_run_resumes_where_it_stopped(
    overrides: Callable[[str], list[str]], tmp_path: Path
) -> None:
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    for steps in (1, 2):
        cfg = compose(
            "train", [*overrides("viton_256"), "resume=auto", f"trainer.max_steps={steps}"]
        )
        train(cfg)
        assert torch.load(last, weights_only=True)["global_step"] == steps
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_short_and_says_how_to_run_it(experiment: str) -> None:
    text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
    assert len(text.splitlines()) <= 40
    assert f"python train.py experiment={experiment}" in text
    assert f"\nname: {experiment}\n" in text


def test_a_control_differs_in_the_weight_alone() -> None:
    for control in (name for name in EXPERIMENTS if name.endswith("_control")):
        experiment = compose("train", [f"experiment={control.removesuffix('_control')}"])
        experiment.leffa_loss.weight = 0.0
        experiment.name = control
        assert compose("train", [f"experiment={control}"]) == experiment


def options(groups: Iterable[str]) -> list[str]:
    return [
        f"{group}={path.stem}"
        for group in groups
        for path in sorted((CONF / group).rglob("*.yaml"))
    ]


@pytest.mark.parametrize(
    "option",
    options(path.name for path in sorted(CONF.iterdir()) if path.is_dir()),
)
def test_every_option_composes(option: str) -> None:
    program_name = "evaluate" if option.startswith("dataset=") else "train"
    assert compose(program_name, [option]).name


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterable[Callable[..., str]]:
    """Runs train.py or evaluate.py in this process on a mistake; gives what it prints."""
    tasks = {"train": train, "evaluate": evaluate}

    def run(name: str, *arguments: str) -> str:
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
        output = f"paths.output_dir={tmp_path / 'run'}"
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments, output, *quiet])
        with pytest.raises(SystemExit) as stop:
            program(name, tasks[name])
        assert stop.value.code == 1
        printed = capsys.readouterr().err
        assert printed.startswith("error: ")
        assert printed.count("\n") == 1
        return printed.removeprefix("error: ").strip()

    yield run
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def test_a_misspelt_key_is_named_with_the_nearest_one(command: Callable[..., str]) -> None:
    printed = command("train", "experiment=tryon_synthetic", "leffa_loss.temprature=2")
    assert "temprature" in printed
    assert printed.endswith("did you mean leffa_loss.temperature?")


@pytest.mark.parametrize(
    ("program_name", "mistake", "group"),
    [
        ("train", "experiment=tryon_sinthetic", "experiment"),
        ("train", "hardware=gpu", "hardware"),
        ("evaluate", "dataset=nonsense", "dataset"),
    ],
)
def test_an_unknown_option_is_answered_with_the_known_ones(
    command: Callable[..., str], program_name: str, mistake: str, group: str
) -> None:
    printed = command(program_name, mistake)
    known = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
    assert printed.endswith(f"{group} is one of: {known}")


def test_a_root_that_was_not_given_is_asked_for(command: Callable[..., str]) -> None:
    printed = command("train", "experiment=viton_256", "debug=tiny")
    assert printed == "data.root must be given: add data.root=... to the command line"


def test_a_root_that_does_not_exist_is_named(command: Callable[..., str], tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    printed = command("train", "experiment=viton_256", "debug=tiny", f"data.root={nowhere}")
    assert printed.startswith(f"{nowhere}: no such folder")


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("trainer.max_steps=0", "trainer.max_steps must be at least 1, got 0"),
        ("leffa_loss.temperature=0", "leffa_loss.temperature must be positive, got 0"),
        ("sampler.scheduler=magic", "sampler.scheduler: unknown 'magic'; known are"),
        ("resume=nothing.ckpt", "resume=nothing.ckpt: no such checkpoint"),
    ],
)
def test_a_wrong_value_is_named(
    command: Callable[..., str], small_copy: Callable[[str], Path], mistake: str, line: str
) -> None:
    root = small_copy("leffa.data.viton.Viton")
    printed = command("train", "experiment=viton_256", "debug=tiny", f"data.root={root}", mistake)
    assert printed.startswith(line)


def test_a_broken_picture_is_named_before_the_training(
    small_copy: Callable[[str], Path], tmp_path: Path
) -> None:
    root = shutil.copytree(small_copy("leffa.data.viton.Viton"), tmp_path / "viton")
    broken = root / "train" / "image" / "000000_0.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    chosen = ["experiment=viton_256", "debug=tiny", f"data.root={root}"]
    with pytest.raises(ValueError, match=f"{broken}: is not a readable image") as caught:
        assemble(compose("train", [*chosen, f"paths.output_dir={tmp_path / 'run'}"]))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_the_program_ends_with_one_line_and_code_1(tmp_path: Path) -> None:
    """The whole program once, in a process of its own."""
    nowhere = tmp_path / "nowhere"
    chosen = ["experiment=viton_256", "debug=tiny", f"data.root={nowhere}"]
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "train.py", *chosen, f"paths.output_dir={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"},
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    assert ended.stderr.strip().splitlines()[-1].startswith(f"error: {nowhere}: ")
