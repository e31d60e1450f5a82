"""Several processes train as one: the same loss, the same gradients, and no one left waiting."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leffa.data.datamodule import PersonDataModule
from leffa.training.processes import process_group
from leffa.training.stages import Stage

sys.path.append(str(Path(__file__).parent / "support"))
import runs

ONE_STEP = (
    "[{name: only, steps: 2, height: 32, width: 24, batch_size: 8, learning_rate: 1.0e-3,"
    " leffa_loss: true}]"
)


def record(
    data: Path, folder: Path, ranks: int, *changes: str
) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss and the gradients of the first step, in float64, on so many processes."""
    arguments = runs.overrides(
        data,
        folder,
        f"curriculum.stages={ONE_STEP}",
        "trainer.precision=64-true",
        "leffa_loss.max_timestep=1000",
        "data.val_samples=0",
        f"+callbacks.keep={{_target_: runs.KeepGradients, folder: {folder}}}",
        *changes,
    )
    folder.mkdir()
    assert runs.train(arguments, folder.with_suffix(".log"), ranks) == [0] * ranks
    losses = [json.loads(path.read_text()) for path in sorted(folder.glob("losses.*.json"))]
    assert len(losses) == ranks
    gradients = [torch.load(path, weights_only=True) for path in folder.glob("gradients.*.pt")]
    for other in gradients[1:]:  # every process has the same
        assert all(torch.equal(value, other[name]) for name, value in gradients[0].items())
    flat = [loss for rank in losses for loss in rank]
    assert len(flat) == 4  # micro-batches
    return sum(flat) / len(flat), gradients[0]


@pytest.mark.parametrize(
    ("ranks", "checkpointing"),
    [
        (2, False),
        pytest.param(2, True, marks=pytest.mark.slow),
        pytest.param(4, True, marks=pytest.mark.slow),
    ],
)
def test_processes_have_the_loss_and_gradients_of_one_that_accumulates(
    drawn: Path, tmp_path: Path, ranks: int, checkpointing: bool
) -> None:
    """Eight images in four micro-batches, however many processes deal with them."""
    change = f"hardware.gradient_checkpointing={str(checkpointing).lower()}"
    loss, gradients = record(drawn, tmp_path / "one", 1)
    other_loss, other_gradients = record(drawn, tmp_path / "many", ranks, change)
    assert other_loss == pytest.approx(loss, abs=1e-6)
    assert gradients.keys() == other_gradients.keys()
    assert sum(value.square().sum() for value in gradients.values()) > 1e-6
    for name, value in gradients.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(other_gradients[name], value, rtol=0, atol=1e-6)


def test_one_folder_and_one_log_whatever_the_rank(drawn: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert runs.train(runs.overrides(drawn, folder), tmp_path / "log", ranks=2) == [0, 0]
    assert [path.name for path in folder.rglob("metrics.csv")] == ["metrics.csv"]
    assert len(list(folder.rglob("events.out.tfevents.*"))) == 1
    assert "INFO:leffa.training" not in (tmp_path / "log.1.log").read_text()


def test_processes_of_torchrun_need_a_folder_to_share(drawn: Path, tmp_path: Path) -> None:
    class Started:
        """What Lightning knows of processes that another program started."""

        world_size, global_rank = 2, 0
        creates_processes_externally = True

    trainer = Started()
    trainer.strategy = trainer  # type: ignore[attr-defined]
    trainer.cluster_environment = trainer  # type: ignore[attr-defined]
    with (
        pytest.raises(ValueError, match=r"paths\.output_dir must be given when torchrun or srun"),
        process_group(trainer, ["seed=1"], tmp_path),  # type: ignore[arg-type]
    ):
        pass


def test_fewer_validation_samples_than_processes_are_an_error(
    make_datamodule: Callable[..., PersonDataModule],
) -> None:
    data = make_datamodule([Stage("only", 1, 32, 24, 2, 1e-3)], val_samples=2)
    data.check_ranks(2)
    with pytest.raises(ValueError, match=r"data\.val_samples=2: fewer than the 4 processes"):
        data.check_ranks(4)


@pytest.mark.parametrize("samples", [4, 5, 7, 9])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("largest", [1, 2, 8])
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
