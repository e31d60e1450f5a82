"""What a user types wrong is answered with one line; what was typed is told from the defaults."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from leffa.cli_errors import fail
from leffa.metrics.folders import FolderMismatch
from leffa.run import CONF, assemble, compose, evaluate, train
from leffa.run.config import CONFIG_ERRORS
from leffa.run.program import program
from leffa.synthetic.write import write_viton


@pytest.fixture(scope="session")
def viton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("viton")
    write_viton(root, 4, 2, seed=0, height=64, width=48)
    return root


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    fresh_hydra: None,
) -> Callable[..., str]:
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

    return run


def test_a_misspelt_key_is_named_with_the_nearest_one(command: Callable[..., str]) -> None:
    printed = command("train", "experiment=tryon_synthetic", "leffa_loss.temprature=2")
    assert "temprature" in printed
    assert printed.endswith("did you mean leffa_loss.temperature?")


def test_a_group_that_is_given_false_is_told_its_choices(command: Callable[..., str]) -> None:
    printed = command("train", "leffa_loss=false")
    assert printed == "leffa_loss=false: leffa_loss is one of: off, on"


@pytest.mark.parametrize(
    ("program_name", "mistake", "group"),
    [
        ("train", "experiment=other", "experiment"),
        ("train", "hardware=gpu", "hardware"),
        ("evaluate", "dataset=nonsense", "dataset"),
        ("evaluate", "protocol=nonsense", "protocol"),
    ],
)
def test_an_unknown_option_is_answered_with_the_known_ones(
    command: Callable[..., str], program_name: str, mistake: str, group: str
) -> None:
    printed = command(program_name, mistake)
    known = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
    assert printed.endswith(f"{group} is one of: {known}")


@pytest.mark.parametrize(
    ("program_name", "mistake", "hint"),
    [
        ("train", ["experiment=tryon_syntetic"], "did you mean tryon_synthetic?"),
        ("evaluate", ["protocol=leffa", "dataset=vitonhd_pared"], "did you mean vitonhd_paired?"),
        ("evaluate", ["dataset=vitonhd"], "did you mean vitonhd_paired or vitonhd_unpaired?"),
        ("train", ["trainer.max_epochs=3"], "did you mean trainer.max_steps?"),
        (
            "train",
            ["model=catvton_flux_tokens"],
            "give model=catvton_flux model.layout=tokens instead",
        ),
        *(
            (
                "train",
                [f"{key}=1e-4"],
                "entries of curriculum.stages have it: curriculum.stages.0.learning_rate=1e-4 sets "
                "the first one's",
            )
            for key in ("lr", "optimizer.lr")
        ),
        (
            "train",
            ["learning_rate=1e-4"],
            "entries of curriculum.stages have it: curriculum.stages.0.learning_rate=1e-4 sets the "
            "first one's",
        ),
    ],
)
def test_of_a_misspelt_name_or_place_the_right_one_is_told(
    command: Callable[..., str], program_name: str, mistake: list[str], hint: str
) -> None:
    assert command(program_name, *mistake).endswith(f"; {hint}")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("outputs/leffa_loss.weight=0.1", "Hydra cannot read this"),
        ("outputs/temperature=1,weight=2/last.ckpt", "Hydra cannot read this"),
        ("my run (2)/last.ckpt", "Hydra cannot read this"),
        ("runs[1]", "Hydra cannot read this"),
        ("a,b", "one value is expected here"),
        ("[a]", "Hydra does not read this as a path"),
        ("2026", "Hydra does not read this as a path"),
    ],
)
def test_a_path_that_hydra_reads_otherwise_is_told_with_its_quotes(
    command: Callable[..., str], path: str, reason: str
) -> None:
    printed = command("evaluate", "dataset=synthetic_tryon", f"ckpt={path}")
    assert printed.startswith(f"ckpt={path}: {reason}")
    quoted = f"ckpt='{path}'"
    assert printed.endswith(f': "{quoted}"')
    assert compose("evaluate", ["dataset=synthetic_tryon", quoted]).ckpt == path


def test_a_home_folder_is_written_out(command: Callable[..., str]) -> None:
    printed = command("evaluate", "dataset=synthetic_tryon", "ckpt=~/run")
    assert printed.endswith(f": \"ckpt='{Path.home().as_posix()}/run'\"")


def test_a_data_set_that_was_not_given_is_asked_for_with_the_known_ones(
    command: Callable[..., str],
) -> None:
    printed = command("evaluate")
    known = ", ".join(sorted(path.stem for path in (CONF / "dataset").glob("*.yaml")))
    assert printed.startswith("You must specify 'dataset'")
    assert printed.endswith(f"dataset is one of: {known}")


def test_a_model_on_a_base_without_its_parts_is_answered_with_the_bases_that_have_them(
    command: Callable[..., str],
) -> None:
    printed = command("train", "experiment=cfld_synthetic", "backbone=sdxl_inpainting")
    assert printed == (
        "model.encoder needs backbone.cfld.encoder, which the chosen backbone does not have; "
        "give one of: backbone=sd15, backbone=tiny"
    )
    printed = command("train", "experiment=catvton_flux_synthetic", "backbone=sd15")
    assert printed == (  # one of them names its own source there, which it alone cannot resolve
        "model.transformer needs backbone.flux.transformer, which the chosen backbone does not "
        "have; give one of: backbone=flux_fill, backbone=tiny_flow_matching"
    )


def test_a_root_that_was_not_given_is_asked_for(
    command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = command("train", "experiment=viton_256", "debug=tiny")
    assert printed.startswith("data/viton: no such folder; link the dataset there, or give")
    printed = command("train", "experiment=finetune", "debug=tiny", "start_from=x", "data=folder")
    assert printed == "data.root must be given: add data.root=... to the command line"


@pytest.mark.posix
def test_a_data_set_that_is_linked_where_data_lie_needs_no_root(
    viton: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "viton").symlink_to(viton)
    monkeypatch.chdir(tmp_path)
    run = assemble(compose("train", ["experiment=viton_256", "debug=tiny", "paths.output_dir=run"]))
    assert len(run.datamodule.train_records) == 4


def test_a_run_that_is_to_go_on_needs_a_folder_that_stays() -> None:
    with pytest.raises(ValueError, match=r"resume=auto needs the folder of the run: add paths"):
        train(compose("train", ["experiment=tryon_synthetic", "debug=tiny", "resume=auto"]))


def test_a_root_that_does_not_exist_is_named(command: Callable[..., str], tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    printed = command("train", "experiment=viton_256", "debug=tiny", f"data.root={nowhere}")
    assert printed.startswith(f"{nowhere}: no such folder")


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("trainer.max_steps=0", "trainer.max_steps must be at least 1, got 0"),
        ("curriculum.warmup_steps=x", "curriculum.warmup_steps=x: is not a whole number"),
        ("curriculum.warmup_steps=-5", "curriculum.warmup_steps=-5: give a number from 0"),
        ("curriculum.stages.0.learning_rate=-1.0", "curriculum: stage 'half' has learning_rate=-1"),
        ("callbacks.health.buckets=0", "callbacks.health.buckets=0: give a number from 1"),
        ("callbacks.images.rows=-1", "callbacks.images.rows=-1: give a number from 1"),
        ("callbacks.throughput.every=0", "callbacks.throughput.every=0: give a number from 1"),
        ("callbacks.checkpoint.keep=1.5", "callbacks.checkpoint.keep=1.5: is not a whole number"),
        ("data.val_samples=-1", "data.val_samples=-1: give a number from 0"),
        ("leffa_loss.auto_layers=1.5", "leffa_loss.auto_layers must be a positive whole number"),
        ("leffa_loss.max_timestep=null", "leffa_loss.max_timestep must be a number, got None"),
        ("leffa_loss.temperature=0", "leffa_loss.temperature must be positive, got 0"),
        ("trainer.precision=bf16-true", "trainer.precision=bf16-true: 16-bit weights lose"),
        ("trainer.precision=16-mixed", "trainer.precision=16-mixed: a fused optimiser undoes"),
        ("+trainer.max_epochs=3", "trainer.max_epochs cannot be given: a stage is an epoch"),
        ("+trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches cannot be given"),
        ("+trainer.limit_train_batches=2", "trainer.limit_train_batches cannot be given: a stage"),
        ("+trainer.plugins=[]", "trainer.plugins cannot be given: checkpoints are written by"),
        ("+optimizer.lr=0.1", "optimizer.lr cannot be given: it is that of the stage: curriculum."),
        ("gradient_clip_val=-1", "gradient_clip_val=-1: is negative"),
        ("hardware.gradient_checkpointing=no", "hardware.gradient_checkpointing=no: give true or"),
        ("callbacks=ema callbacks.ema.validate=Off", "callbacks.ema.validate=Off: give true or"),
        ("objective_metric=val/ssim", "objective_metric=val/ssim: more is better, and best.ckpt"),
        ("hardware.compile=flase", "hardware.compile=flase: give true or false"),
        (
            "curriculum.stages.2.leffa_loss=no",
            "curriculum: stage 'leffa' has leffa_loss=no: give true or false",
        ),
        (
            "curriculum.stages=[{name:a,steps:1,heigth:64,width:48,batch_size:1}]",
            "curriculum: stage 'a' has an unknown heigth; choose from name, steps, height",
        ),
        (
            "curriculum.stages=[{name:a,steps:1,height:64,width:48,batch_size:1}]",
            "curriculum: stage 'a' lacks learning_rate",
        ),
        ("sampler.scheduler=magic", "sampler.scheduler: unknown 'magic'; choose from"),
        ("resume=nothing.ckpt", "resume=nothing.ckpt: no such checkpoint"),
        (
            "trainer.accelerator=mps",
            "trainer.accelerator=mps, trainer.devices=1: `MPSAccelerator` ",
        ),
    ],
)
def test_a_wrong_value_is_named(viton: Path, tmp_path: Path, mistake: str, line: str) -> None:
    """By the errors that `program` prints."""
    chosen = ["experiment=viton_256", "debug=tiny", f"data.root={viton}"]
    with pytest.raises((ValueError, OSError, *CONFIG_ERRORS)) as caught:
        train(compose("train", [*chosen, f"paths.output_dir={tmp_path}", *mistake.split()]))
    assert str(caught.value).startswith(line)


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a machine without a GPU")
def test_processes_on_the_cpu_are_asked_for_by_name(viton: Path, tmp_path: Path) -> None:
    chosen = ["experiment=viton_256", "debug=tiny", f"data.root={viton}"]
    for several in ("trainer.devices=8", "trainer.devices=-1", "trainer.num_nodes=2"):
        with pytest.raises(ValueError, match=f"^{several}: this machine has no GPU; leave it out"):
            assemble(compose("train", [*chosen, f"paths.output_dir={tmp_path}", several]))
    asked = ["trainer.devices=2", "trainer.accelerator=cpu", f"paths.output_dir={tmp_path}"]
    assert assemble(compose("train", [*chosen, *asked])).trainer.world_size == 2


def test_training_without_a_word_is_an_experiment_that_works() -> None:
    bare, named = (compose("train", words) for words in ([], ["experiment=tryon_synthetic"]))
    assert OmegaConf.to_container(bare) == OmegaConf.to_container(named)
    other = compose("train", ["experiment=pose_transfer_256"])
    assert (other.leffa_loss.weight, other.latent_cache) == (1e-3, None)


def test_a_broken_picture_is_named_before_the_training(viton: Path, tmp_path: Path) -> None:
    root = shutil.copytree(viton, tmp_path / "viton")
    broken = root / "train" / "image" / "000000_0.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    chosen = ["experiment=viton_256", "debug=tiny", f"data.root={root}"]
    with pytest.raises(ValueError, match=f"{broken}: is not a readable image") as caught:
        assemble(compose("train", [*chosen, f"paths.output_dir={tmp_path / 'run'}"]))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_of_an_error_that_lists_problems_every_line_is_told_of_others_the_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = ["real: not 8-bit RGB, convert (1): a.png (L)", "predictions missing (1): b"]
    for error in (FolderMismatch(problems), ValueError("the first line.\nand where it was")):
        with pytest.raises(SystemExit):
            fail(error)
    listed = "".join(f"- {problem}\n" for problem in problems)
    expected = f"error: cannot score these folders:\n{listed}error: the first line\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("key", ["hardware.compile=true", "hardware.precision=bf16-mixed"])
def test_an_evaluation_refuses_what_only_trainings_read_of_the_hardware(
    command: Callable[..., str], key: str
) -> None:
    printed = command("evaluate", "dataset=synthetic_tryon", "ckpt=tryon_baseline", key)
    assert printed.startswith(f"{key.partition('=')[0]}: is for trainings; an evaluation reads")
