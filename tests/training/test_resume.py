"""A run that was killed ends where one that was not ends: every number, bit for bit."""

import contextlib
import csv
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from leffa.run import compose, train

sys.path.append(str(Path(__file__).parent / "support"))
import runs

Whole = Callable[[int], Path]
pytestmark = pytest.mark.posix  # nearly all kill, or fill a disk


@pytest.fixture(scope="session")
def whole(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The folder of a run that nothing interrupted, on so many processes."""
    made: dict[int, Path] = {}

    def get(ranks: int) -> Path:
        if ranks not in made:
            made[ranks] = tmp_path_factory.mktemp(f"whole{ranks}") / "run"
            arguments = runs.overrides(synthetic, made[ranks])
            if ranks == 1:
                train(compose("train", arguments))
            else:
                assert runs.train(arguments, made[ranks].parent / "log", ranks) == [0] * ranks
        return made[ranks]

    return get


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def differences(first: Any, second: Any, key: str = "") -> Iterator[str]:
    """Where two checkpoints differ, down to the last bit."""
    if isinstance(first, torch.Tensor):
        if first.dtype != second.dtype or not torch.equal(first, second):
            yield key
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), key
        for name in first:
            yield from differences(first[name], second[name], f"{key}.{name}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), key
        for index, pair in enumerate(zip(first, second, strict=True)):
            yield from differences(*pair, f"{key}.{index}")
    elif first != second:
        yield key


def assert_same_end(folder: Path, reference: Path) -> None:
    """Weights, average, optimiser, schedule and callbacks; then every number in the log."""
    ours, theirs = last(folder), last(reference)
    assert ours["global_step"] == 7
    for key in ("state_dict", "ema", "optimizer_states", "lr_schedulers", "callbacks", "epoch"):
        assert list(differences(ours[key], theirs[key], key)) == []
    assert log(folder) == log(reference)


def log(folder: Path) -> list[dict[str, str]]:
    """The rows of the log, without what the clock says and without empty cells."""
    with (folder / "logs" / "metrics.csv").open(newline="") as file:
        rows = [
            {
                key: value
                for key, value in row.items()
                if value not in ("", "nan") and not key.startswith("speed/")
            }
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if row.keys() != {"epoch", "step"}]


@pytest.mark.slow
def test_two_processes_log_what_one_does_in_one_folder(whole: Whole) -> None:
    folder = whole(2)
    assert [path.name for path in folder.rglob("metrics.csv")] == ["metrics.csv"]
    assert len(list(folder.rglob("events.out.tfevents.*"))) == 1
    assert "INFO:leffa.training" not in (folder.parent / "log.1.log").read_text()
    rows = [row for row in zip(log(folder), log(whole(1)), strict=True) if "train/loss" in row[0]]
    assert len(rows) == 7
    for ours, theirs in rows:
        assert float(ours["train/loss"]) == pytest.approx(float(theirs["train/loss"]), rel=1e-4)


def test_an_uninterrupted_run_keeps_the_last_two_the_last_and_the_best(whole: Whole) -> None:
    kept = sorted(path.name for path in (whole(1) / "checkpoints").iterdir())
    assert kept == ["best.ckpt", "last.ckpt", "step_000006.ckpt", "step_000007.ckpt"]
    content = last(whole(1))
    assert set(content["ema"]["weights"]) == set(content["state_dict"])
    validated = [row["step"] for row in log(whole(1)) if "val/ssim" in row]
    assert validated == ["1", "2", "4", "6"]


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")  # it deals on exactly
def test_a_run_that_failed_ends_as_one_that_did_not(
    whole: Whole, synthetic: Path, tmp_path: Path
) -> None:
    """Inside the second stage, in this process."""
    folder = tmp_path / "run"
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    with pytest.raises(RuntimeError, match="the test ends this run"):
        train(compose("train", [*arguments, *runs.kill_at(5, number=0)]))
    train(compose("train", arguments))
    assert_same_end(folder, whole(1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "where"),
    [
        (1, "before the first checkpoint"),
        (2, "right after one, inside the first stage"),
        (3, "at the first step of the second stage"),
        (5, "inside the second stage, which accumulates"),
    ],
)
def test_a_killed_run_ends_as_one_that_was_not(
    whole: Whole, synthetic: Path, tmp_path: Path, step: int, where: str
) -> None:
    folder = tmp_path / "run"
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    assert runs.train([*arguments, *runs.kill_at(step)], tmp_path / "killed") == [-signal.SIGKILL]
    assert runs.train(arguments, tmp_path / "resumed") == [0]
    assert_same_end(folder, whole(1))


@pytest.mark.slow
def test_two_processes_are_killed_and_end_as_two_that_were_not(
    whole: Whole, synthetic: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    codes = runs.train([*arguments, *runs.kill_at(5, rank=1)], tmp_path / "killed", ranks=2)
    assert codes == [1, -signal.SIGKILL]
    said = (tmp_path / "killed.0.log").read_text().splitlines()[-1]
    assert said.startswith("error: process 0 of 2 lost the connection to another one")
    assert runs.train(arguments, tmp_path / "resumed", ranks=2) == [0, 0]
    assert_same_end(folder, whole(2))


@pytest.mark.slow
def test_a_truncated_last_checkpoint_falls_back_to_the_one_before(
    whole: Whole, synthetic: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole(1), tmp_path / "run")
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    for name in ("last.ckpt", "step_000007.ckpt"):
        newest = folder / "checkpoints" / name
        newest.write_bytes(newest.read_bytes()[:1000])
    assert runs.train(arguments, tmp_path / "resumed") == [0]
    said = (tmp_path / "resumed.0.log").read_text()
    assert "last.ckpt: not a file of plain tensors" in said
    assert "step_000006.ckpt, since last.ckpt, step_000007.ckpt cannot be read" in said
    assert_same_end(folder, whole(1))


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_leaves_the_old_checkpoint(
    whole: Whole, synthetic: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    runs.train([*arguments, *runs.kill_at(3)], tmp_path / "killed")
    before = (folder / "checkpoints" / "last.ckpt").read_bytes()
    # Room for everything but a checkpoint.
    assert runs.train(arguments, tmp_path / "full", file_limit=len(before) - 1000) == [1]
    said = (tmp_path / "full.0.log").read_text().splitlines()[-1]
    assert said.startswith(f"error: {folder}/checkpoints/step_000004.ckpt: could not be written")
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == before
    assert not list(folder.rglob("*.unfinished"))
    assert runs.train(arguments, tmp_path / "resumed") == [0]
    assert_same_end(folder, whole(1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_for_every_file_stops_the_run(
    whole: Whole, synthetic: Path, tmp_path: Path, small_disk: Path
) -> None:
    """Logs, pictures and pages find no room either."""
    folder, filler = small_disk / "run", small_disk / "filler"
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    runs.train([*arguments, *runs.kill_at(3)], tmp_path / "killed")
    before = (folder / "checkpoints" / "last.ckpt").read_bytes()
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert runs.train(arguments, tmp_path / "full") == [1]
    said = (tmp_path / "full.0.log").read_text().splitlines()[-1]
    assert said.startswith("error: ")
    assert "No space left on device" in said
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == before
    filler.unlink()
    assert runs.train(arguments, tmp_path / "resumed") == [0]
    assert_same_end(folder, whole(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGUSR1"])
def test_a_run_that_is_told_to_stop_goes_on(
    whole: Whole, synthetic: Path, tmp_path: Path, name: str
) -> None:
    number = signal.Signals[name]
    folder = tmp_path / "run"
    arguments = [*runs.overrides(synthetic, folder), "resume=auto"]
    stopped = runs.train([*arguments, *runs.kill_at(4, number=number)], tmp_path / "stopped")
    assert stopped == [128 + number]
    assert last(folder)["global_step"] == 5
    said = (tmp_path / "stopped.0.log").read_text()
    assert f"stopped by {name} and saved after step 5; resume=auto continues" in said
    assert runs.train(arguments, tmp_path / "resumed") == [0]
    assert_same_end(folder, whole(1))


@pytest.mark.slow
def test_two_processes_stop_together_when_one_is_told_to(synthetic: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    told = runs.kill_at(2, rank=1, number=signal.SIGTERM)
    arguments = [*runs.overrides(synthetic, folder), *told, "callbacks.stop_on_signal.every=3"]
    codes = runs.train(arguments, tmp_path / "log", ranks=2)
    assert codes == [128 + signal.SIGTERM, 0]
    assert last(folder)["global_step"] == 3
