"""What a run leaves in its checkpoint, and how a model comes back from it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning import Trainer

from leffa.data.batch import Batch
from leffa.data.datamodule import PersonDataModule
from leffa.data.packed import unpack
from leffa.inference import load_model
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.request import FlowRequest
from leffa.models.export import InputSpec
from leffa.run import Run, assemble, compose
from leffa.training.callbacks.checkpoints import Checkpoints
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.checkpoints import AtomicCheckpointIO, link, resume_point
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Stage

STAGES = [Stage("only", 1, height=16, width=16, batch_size=2, learning_rate=0.1)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of three steps."""
    folder = tmp_path_factory.mktemp("run")
    overrides = [
        "experiment=tryon_synthetic",
        "backbone=tiny_from_scratch",
        "start_from=null",
        "debug=tiny",
        f"data.root={folder / 'data'}",
        "data.prepare.train=4",
        "data.prepare.test=2",
        "+trainer.limit_val_batches=0",
        "callbacks.images=null",
        "callbacks.report=null",
        "hardware.draw_workers=1",
        f"paths.output_dir={folder}",
    ]
    run = assemble(compose("train", overrides))
    run.trainer.fit(run.module, run.datamodule)
    return run


@pytest.fixture(scope="module")
def checkpoint(run: Run) -> Path:
    return Path(run.config["paths"]["output_dir"]) / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def whole(checkpoint: Path) -> dict[str, Any]:
    return torch.load(checkpoint, weights_only=True)


@pytest.fixture
def content(whole: dict[str, Any]) -> dict[str, Any]:
    """What a test may change, without the optimiser's state, which is most of it."""
    return whole | {"state_dict": dict(whole["state_dict"]), "optimizer_states": []}


def test_a_checkpoint_is_readable_without_unpickling(content: dict[str, Any], run: Run) -> None:
    assert content["global_step"] == 3
    assert content["config"] == run.config
    assert content["config"]["name"] == "tryon_synthetic"


def test_a_checkpoint_holds_what_was_trained_and_no_more(content: dict[str, Any], run: Run) -> None:
    trained = {name for name, value in run.module.named_parameters() if value.requires_grad}
    assert set(content["state_dict"]) == trained
    assert not any("vae" in name for name in trained)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_best_is_not_that_of_a_sanity_check(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    mode: Literal["min", "max"],
) -> None:
    saved = Checkpoints(str(tmp_path), monitor="val/ssim", mode=mode)
    parts = (StageSchedule([1]), saved)
    trainer = make_trainer(STAGES, *parts, checkpoints=True, validate=True, num_sanity_val_steps=1)
    trainer.fit(make_module(STAGES), make_datamodule(STAGES, val_samples=2))
    assert abs(saved.best) == trainer.callback_metrics["val/ssim"].item()  # of the end alone


def test_a_metric_that_is_not_measured_is_told_once(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    parts = (StageSchedule([1, 1]), Checkpoints(str(tmp_path), monitor="val/sim"))
    trainer = make_trainer(STAGES * 2, *parts, checkpoints=True, validate=True)
    trainer.fit(make_module(STAGES * 2), make_datamodule(STAGES * 2, val_samples=2))
    (told,) = [text for text in caplog.messages if text.startswith("val/sim is not measured")]
    assert "val/ssim" in told
    assert not (tmp_path / "best.ckpt").exists()


def test_weights_alone_are_no_run_to_go_on_with(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    kept = ("state_dict", "config", "global_step", "pytorch-lightning_version")
    torch.save({key: content[key] for key in kept}, path)
    with pytest.raises(ValueError, match=f"start_from={path} begins a run with these weights"):
        resume_point(str(path), tmp_path / "none")


def test_the_restored_model_predicts_the_same(run: Run, checkpoint: Path) -> None:
    batch: Batch = unpack(next(iter(run.datamodule.val_dataloader())))
    loaded = load_model(checkpoint)
    assert loaded.settings.config == run.config
    request = FlowRequest(temperature=1.0)
    first, second = (
        noised_forward(model, encode_batch(model, batch), 200, request).prediction
        for model in (run.module.model.eval(), loaded.model.eval())
    )
    assert torch.equal(first.noise, second.noise)
    assert all(torch.equal(flow, second.flows[layer]) for layer, flow in first.flows.items())


def test_what_the_model_reads_travels_in_its_checkpoint(
    content: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    """An older checkpoint does not say so itself: its configuration does."""
    expected = InputSpec("tryon", 64, 48, densepose="iuv")
    assert content["inputs"] == asdict(expected)
    del content["inputs"]
    torch.save(content, tmp_path / "older.ckpt")
    for path in (checkpoint, tmp_path / "older.ckpt"):
        assert load_model(path).inputs == expected


def test_a_folder_stands_for_its_last_checkpoint(checkpoint: Path) -> None:
    assert load_model(checkpoint.parents[1]).name == "tryon_synthetic"


def refusal(path: Path) -> str:
    """The one line with which a checkpoint is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.removeprefix("ckpt=").startswith(str(path))
    assert "\n" not in message
    return message


def test_a_checkpoint_of_another_model_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    unet = content["config"]["model"]["unet"]
    for key, value in (("block_out_channels", [32, 32, 96]), ("layers_per_block", 2)):
        other = content | {"config": content["config"] | {}}
        other["config"]["model"] = content["config"]["model"] | {"unet": unet | {key: value}}
        torch.save(other, path)
        assert "is of another model" in refusal(path)


def test_a_checkpoint_with_weights_of_its_own_is_refused(
    content: dict[str, Any], tmp_path: Path
) -> None:
    content["state_dict"]["model.adapter.weight"] = torch.zeros(1)
    torch.save(content, tmp_path / "more.ckpt")
    assert (
        "is of another model: does not fit: 1 keys have no place here (adapter.weight)"
        in refusal(tmp_path / "more.ckpt")
    )


def test_a_truncated_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    whole = checkpoint.read_bytes()
    (tmp_path / "half.ckpt").write_bytes(whole[: len(whole) // 2])
    assert "half.ckpt: not a file of plain tensors" in refusal(tmp_path / "half.ckpt")


def test_weights_alone_are_no_checkpoint(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content["state_dict"], tmp_path / "weights.ckpt")
    assert "not a checkpoint written by train.py" in refusal(tmp_path / "weights.ckpt")


def test_a_folder_of_several_runs_is_refused(tmp_path: Path) -> None:
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "last.ckpt").touch()
    assert "holds 2 runs" in refusal(tmp_path)


def test_names_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    assert "nothing.ckpt: no such weights; give a .ckpt" in refusal(tmp_path / "nothing.ckpt")


def test_names_the_checkpoint_that_a_folder_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        load_model(tmp_path)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder of checkpoints that a run resumes from, without the run."""
    for step in (6, 7):
        content = {
            "state_dict": {},
            "config": {"name": "run"},
            "optimizer_states": [{}],
            "global_step": step,
        }
        AtomicCheckpointIO().save_checkpoint(content, tmp_path / f"step_{step:06d}.ckpt")
    link(tmp_path / "step_000007.ckpt", tmp_path / "last.ckpt")
    return tmp_path


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = resume_point("auto", saved)
    assert found is not None
    assert (found.path, found.step) == (saved / "last.ckpt", 7)
    (saved / "last.ckpt").write_bytes((saved / "last.ckpt").read_bytes()[:100])  # both names
    found = resume_point("auto", saved)
    assert found is not None
    assert (found.path, found.step) == (saved / "step_000006.ckpt", 6)
    assert "last.ckpt: not a file of plain tensors" in caplog.text
    assert "since last.ckpt, step_000007.ckpt cannot be read" in caplog.text


def test_checkpoints_that_are_all_damaged_are_not_taken_for_none(saved: Path) -> None:
    for path in saved.glob("*.ckpt"):
        path.write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"none of its checkpoints can be read \(last\.ckpt, step"):
        resume_point("auto", saved)


def test_a_new_run_does_not_overwrite_an_earlier_one(saved: Path) -> None:
    with pytest.raises(ValueError, match="add resume=auto to continue it"):
        resume_point(None, saved)


@pytest.mark.posix
def test_a_full_disk_leaves_the_old_checkpoint(saved: Path) -> None:
    import resource

    before = (saved / "last.ckpt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"last\.ckpt: could not be written .* resume=auto"):
            AtomicCheckpointIO().save_checkpoint({"w": torch.ones(10**6)}, saved / "last.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (saved / "last.ckpt").read_bytes() == before
    assert not list(saved.glob(".*"))
