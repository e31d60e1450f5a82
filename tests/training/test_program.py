"""`train.py` itself, with the processes that Lightning starts for it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from leffa.synthetic.write import write_deepfashion

sys.path.append(str(Path(__file__).parent / "support"))
import runs

REPOSITORY = Path(__file__).parents[2]
LIMIT = 900.0  # seconds, on a busy machine
BOUND = 300.0  # seconds within which all processes of a broken run have ended

pytestmark = [pytest.mark.slow, pytest.mark.posix]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts train.py; what it says goes to `<log>`."""

    def run(log: str, *arguments: str) -> subprocess.Popen[bytes]:
        found = [str(Path(__file__).parent / "support"), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": ":".join(found), "OMP_NUM_THREADS": "1"}
        with (tmp_path / log).open("wb") as file:
            return subprocess.Popen(
                [sys.executable, REPOSITORY / "train.py", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env=environment,
                start_new_session=True,  # all ranks can be killed at once
            )

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 7
    return content["state_dict"]


def several(data: Path, folder: Path, *changes: str, ranks: int = 2) -> list[str]:
    """A run on so many processes."""
    devices = [f"trainer.devices={ranks}", "trainer=ddp"]
    return runs.overrides(data, folder, *devices, *changes)


def ranks_of(process: subprocess.Popen[bytes]) -> set[psutil.Process]:
    """The processes that a run has started to train with it; not its workers, not git."""
    found = set()
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has ended
            if any(word.endswith("train.py") for word in child.cmdline()):
                found.add(child)
    return found


def test_a_run_killed_from_outside_goes_on(start: Start, synthetic: Path, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "run"
    assert start("whole.log", *runs.overrides(synthetic, whole)).wait(LIMIT) == 0
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    process = start("killed.log", *arguments)
    deadline = time.monotonic() + LIMIT
    while not list(folder.glob("checkpoints/step_000004.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait(LIMIT) == -signal.SIGKILL
    assert start("resumed.log", *arguments).wait(LIMIT) == 0
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(folder).items())


def test_three_stages_on_two_processes_killed_half_way(start: Start, tmp_path: Path) -> None:
    """The paper's pose transfer: every rank is killed, the same command goes on."""
    data, folder = tmp_path / "data", tmp_path / "run"
    write_deepfashion(data, 6, 3, 0, 64, 48)
    devices = ["trainer.devices=2", "trainer.accelerator=cpu"]
    arguments = ["experiment=pose_transfer_512", "debug=tiny", *devices, f"data.root={data}"]
    arguments += [f"paths.output_dir={folder}", "resume=auto"]
    process = start("killed.log", *arguments)
    deadline = time.monotonic() + LIMIT
    first = folder / "checkpoints" / "step_000001.ckpt"
    while not first.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(LIMIT) == -signal.SIGKILL
    assert not (folder / "checkpoints" / "step_000003.ckpt").exists()
    assert start("resumed.log", *arguments).wait(LIMIT) == 0
    killed, resumed = ((tmp_path / f"{name}.log").read_text() for name in ("killed", "resumed"))
    assert "stage half: 1 steps at 32x24, Leffa loss off" in killed
    assert "stage half" not in resumed
    assert "stage leffa: 1 steps at 64x48, Leffa loss on: weight 0.001" in resumed
    for said in (killed, resumed):
        assert "Leffa loss on" not in said.split("stage leffa")[0]
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 3


def test_a_sweep_of_runs_on_two_processes(start: Start, synthetic: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = ["leffa_loss.temperature=0.5,2", "hydra.sweep.subdir=${hydra.job.num}"]
    code = start("sweep.log", "-m", *several(synthetic, folder), *sweep).wait(2 * LIMIT)
    assert code == 0, (tmp_path / "sweep.log").read_text()
    first, second = (weights(folder / number) for number in "01")
    assert any(not torch.equal(value, second[name]) for name, value in first.items())
    for number in "01":
        assert len(list((folder / number).rglob("metrics.csv"))) == 1
        assert len(list((folder / number).rglob("events.out.tfevents.*"))) == 1
        assert len(list((folder / number).rglob("*.log"))) == 1
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1", "multirun.yaml"]


@pytest.mark.parametrize(("ranks", "rank"), [(2, 0), (2, 1), (4, 2)])
def test_a_killed_process_ends_all(
    start: Start, synthetic: Path, tmp_path: Path, ranks: int, rank: int
) -> None:
    folder = tmp_path / "run"
    validated = ["data.val.split=train", f"data.val_samples={ranks}"]  # a sample each at least
    changes = [*runs.kill_at(3, rank), *validated]
    process = start("log", *several(synthetic, folder, *changes, ranks=ranks))
    others: set[psutil.Process] = set()
    deadline = time.monotonic() + LIMIT
    while not folder.joinpath("checkpoints").is_dir() and time.monotonic() < deadline:
        assert process.poll() is None, (tmp_path / "log").read_text()
        others |= ranks_of(process)
        time.sleep(0.05)
    started = time.monotonic()
    assert process.wait(BOUND) != 0
    assert len(others) == ranks - 1
    _, alive = psutil.wait_procs(others, BOUND)
    assert not alive
    assert time.monotonic() - started < BOUND
    said = (tmp_path / "log").read_text()
    assert (
        "lost the connection" in said
        or "has ended; stopping" in said
        or "terminated with code" in said
    )
