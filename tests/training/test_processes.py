"""Several processes train as one: the same loss, the same gradients, and no one left waiting."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leffa.data.datamodule import PersonDataModule
from leffa.run import assemble, compose
from leffa.run.processes import process_group
from leffa.training.stages import Stage

sys.path.append(str(Path(__file__).parent / "support"))
import runs

TWO_STEPS = (  # whose second finds the weights of the first
    "[{name: only, steps: 2, height: 32, width: 24, batch_size: 8, learning_rate: 1.0e-15,"
    " leffa_loss: true}]"
)


def record(
    data: Path, folder: Path, ranks: int, *changes: str, experiment: str = "tryon_synthetic"
) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss and the gradients of two steps, in float64, on so many processes: one with the
    timestep threshold 100, one with 500, so that not every sample takes part in the Leffa loss."""
    arguments = runs.overrides(
        data,
        folder,
        f"curriculum.stages={TWO_STEPS}",
        "trainer.precision=64-true",
        "objective.reference_dropout=0.3",
        "seed=2",
        "data.val_samples=0",
        runs.keep_gradients(folder, 100, 500),
        *changes,
    )
    if experiment != "tryon_synthetic":  # with a backbone of its own
        kept = [word for word in arguments if not word.startswith(("experiment=", "backbone"))]
        arguments = [f"experiment={experiment}", *kept]
    folder.mkdir()
    assert runs.train(arguments, folder.with_suffix(".log"), ranks) == [0] * ranks
    losses = [json.loads(path.read_text()) for path in sorted(folder.glob("losses.*.json"))]
    assert len(losses) == ranks
    gradients = [torch.load(path, weights_only=True) for path in folder.glob("gradients.*.pt")]
    for other in gradients[1:]:  # every process has the same
        assert all(torch.equal(value, other[name]) for name, value in gradients[0].items())
    flat = [loss for rank in losses for loss in rank]
    assert len(flat) == 8  # micro-batches
    return sum(flat) / len(flat), gradients[0]


@pytest.mark.parametrize(
    ("ranks", "checkpointing", "experiment"),
    [
        (2, False, "tryon_synthetic"),
        pytest.param(2, True, "tryon_synthetic", marks=pytest.mark.slow),
        pytest.param(4, True, "tryon_synthetic", marks=pytest.mark.slow),
        pytest.param(2, True, "fitdit_synthetic", marks=pytest.mark.slow),
    ],
)
def test_processes_have_the_loss_and_gradients_of_one_that_accumulates(
    synthetic: Path, tmp_path: Path, ranks: int, checkpointing: bool, experiment: str
) -> None:
    """Eight images in four micro-batches, however many processes deal with them."""
    change = f"hardware.gradient_checkpointing={str(checkpointing).lower()}"
    loss, gradients = record(synthetic, tmp_path / "one", 1, experiment=experiment)
    other_loss, other_gradients = record(
        synthetic, tmp_path / "many", ranks, change, experiment=experiment
    )
    assert other_loss == pytest.approx(loss, abs=1e-12)
    assert gradients.keys() == other_gradients.keys()
    assert sum(value.square().sum() for value in gradients.values()) > 1e-6
    for name, value in gradients.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(other_gradients[name], value, rtol=0, atol=1e-12)
    logged = [(tmp_path / run / "logs" / "metrics.csv").read_text() for run in ("one", "many")]
    rows = zip(*(csv.DictReader(text.splitlines()) for text in logged), strict=True)
    for first, other in rows:
        for name in ("train/loss", "train/leffa", "train/diffusion"):
            assert float(other[name]) == pytest.approx(float(first[name]), rel=1e-6)
        assert float(first["train/leffa"]) > 0


def test_processes_of_torchrun_need_a_folder_to_share(synthetic: Path, tmp_path: Path) -> None:
    class Started:
        """What Lightning knows of processes that another program started."""

        world_size, global_rank = 2, 0
        creates_processes_externally = True

    trainer = Started()
    trainer.strategy = trainer  # type: ignore[attr-defined]
    trainer.cluster_environment = trainer  # type: ignore[attr-defined]
    with (
        pytest.raises(ValueError, match=r"paths\.output_dir must be given when torchrun or srun"),
        process_group(trainer, ["seed=1"], tmp_path, shared=False),  # type: ignore[arg-type]
    ):
        pass


def test_fewer_validation_samples_than_processes_are_an_error(
    make_datamodule: Callable[..., PersonDataModule],
) -> None:
    data = make_datamodule([Stage("only", 1, 32, 24, 2, 1e-3)], val_samples=2)
    data.check_ranks(2)
    with pytest.raises(ValueError, match=r"data\.val_samples=2: fewer than the 4 processes"):
        data.check_ranks(4)


@pytest.mark.parametrize("samples", [4, 5, 9])
@pytest.mark.parametrize(("ranks", "largest"), [(1, 2), (2, 2), (3, 1), (4, 8)])
def test_every_process_validates_as_many_batches(
    make_datamodule: Callable[..., PersonDataModule], samples: int, ranks: int, largest: int
) -> None:
    stages = [Stage("only", 1, 32, 24, largest, 1e-3)]
    dealt, counts = [], set()
    for rank in range(ranks):
        data = make_datamodule(stages, largest=largest)
        data.val_records = list(range(samples))
        data._position = lambda rank=rank: (0, rank, ranks)  # type: ignore[method-assign]
        loader = data.val_dataloader()
        batches = list(loader.batch_sampler)  # type: ignore[union-attr]
        assert all(batches)
        counts.add(len(batches))
        dealt += [data.val_records[rank::ranks][index] for batch in batches for index in batch]
    assert len(counts) == 1
    assert sorted(dealt) == list(range(samples))


@pytest.mark.slow
def test_a_run_of_two_processes_with_a_cache_is_the_one_without(
    synthetic: Path, tmp_path: Path
) -> None:
    losses = []
    for cache in ("null", str(tmp_path / "latents")):
        folder = tmp_path / f"run{len(losses)}"
        changes = [f"latent_cache={cache}", "data.transform.flip=0.0"]
        loss, gradients = record(synthetic, folder, 2, *changes)
        losses.append(loss)
        assert gradients
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    made = {path.name for path in (tmp_path / "latents" / "train_32x24").iterdir()}
    assert made >= {"cache.json", "latents_00000.safetensors"}
    assert not any("unfinished" in name for name in made)


@pytest.mark.slow
def test_processes_that_fill_a_cache_at_once_end_with_one_whole_cache(
    synthetic: Path, tmp_path: Path
) -> None:
    """Six samples in three files: each process reads what the other one wrote."""
    folder, lonely = tmp_path / "cache", tmp_path / "lonely"
    start = runs.CONTEXT.Barrier(2)
    outs = [tmp_path / f"{rank}.pt" for rank in range(2)]
    tasks = [(synthetic, folder, out, start, 2) for out in outs]
    tasks.append((synthetic, lonely, tmp_path / "lonely.pt", runs.CONTEXT.Barrier(1), 2))
    processes = [runs.CONTEXT.Process(target=runs.fill_cache, args=task) for task in tasks]
    for process in processes:
        process.start()
    for process in processes:
        process.join(runs.LIMIT)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    expected = torch.load(tmp_path / "lonely.pt", weights_only=True)
    assert len(expected) == 6
    for out in outs:
        found = torch.load(out, weights_only=True)
        assert found.keys() == expected.keys()
        for name, latents in expected.items():
            assert latents.keys() == {"source", "reference", "masked_source"}
            assert all(found[name][picture].equal(latents[picture]) for picture in latents)
    files = {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}
    assert files == {"cache.json", *(f"latents_0000{n}.safetensors" for n in range(3))}


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_2", "ModelParallelStrategy"])
def test_a_strategy_with_checkpoints_of_its_own_is_refused(
    synthetic: Path, tmp_path: Path, strategy: str
) -> None:
    change = f"trainer.strategy={strategy}"
    with pytest.raises(ValueError, match="its checkpoints are not of this program's format"):
        assemble(compose("train", runs.overrides(synthetic, tmp_path / "run", change)))
