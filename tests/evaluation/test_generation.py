"""The same pictures in any batch, on any number of processes, after any interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from leffa.evaluation import Evaluation
from leffa.io.png import read_png

Evaluate = Callable[..., Evaluation]

NAMES = [f"{number:05}_00" for number in range(50_000, 50_004)]


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").glob("*.png"))}


def levels_apart(folder: Path, other: Path) -> int:
    """The largest difference of two folders' pixels, in levels of 255."""
    assert pictures(folder).keys() == pictures(other).keys()
    pairs = [
        (read_png(folder / "images" / n), read_png(other / "images" / n)) for n in pictures(folder)
    ]
    return round(max((a - b).abs().max().item() for a, b in pairs) * 127.5)


def test_goes_on_where_it_stopped(evaluation: Evaluation, run_evaluation: Evaluate) -> None:
    images = evaluation.folder / "images"
    lost = images / f"{NAMES[1]}.png"
    pixels = lost.read_bytes()
    lost.unlink()
    before = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    again = run_evaluation(evaluation.folder)
    after = {path.name: path.stat().st_mtime_ns for path in images.iterdir()}
    assert {name: after[name] for name in before} == before
    assert lost.read_bytes() == pixels  # its noise follows from its name
    assert again.metrics == evaluation.metrics


@pytest.mark.parametrize(
    "other",
    [
        *("sampler.seed=7", "limit=2", "dataset.records.pairs=unpaired", "inspect_timesteps=[300]"),
        "+dataset.transform.agnostic={_target_: hydra.utils.get_method, "
        "path: leffa.preprocess.agnostic.viton_hd}",
    ],
)
def test_refuses_to_mix_pictures_of_different_settings(
    run_evaluation: Evaluate, evaluation: Evaluation, other: str
) -> None:
    with pytest.raises(ValueError, match="holds images of another checkpoint or other settings"):
        run_evaluation(evaluation.folder, other)


@pytest.mark.parametrize("size", [1, 3])
def test_the_batch_size_moves_a_pixel_by_no_more_than_its_rounding(
    run_evaluation: Evaluate, evaluation: Evaluation, tmp_path: Path, size: int
) -> None:
    other = run_evaluation(tmp_path, f"batch_size={size}")
    assert levels_apart(tmp_path, evaluation.folder) <= 1
    assert other.metrics == pytest.approx(evaluation.metrics, abs=1e-3)
    flows = {key: value for key, value in evaluation.metrics.items() if key.startswith("flow")}
    assert {key: other.metrics[key] for key in flows} == flows


def test_a_part_that_fills_no_batch_changes_no_bit(
    run_evaluation: Evaluate, evaluation: Evaluation, tmp_path: Path
) -> None:
    for name in NAMES[:3]:  # what a killed evaluation left
        for side in ("images", "true"):
            (tmp_path / side).mkdir(exist_ok=True)
            shutil.copy(evaluation.folder / side / f"{name}.png", tmp_path / side)
    shutil.copy(evaluation.folder / "settings.json", tmp_path)
    assert run_evaluation(tmp_path).metrics == evaluation.metrics
    assert pictures(tmp_path) == pictures(evaluation.folder)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(
    run_evaluation: Evaluate, evaluation: Evaluation, tmp_path: Path
) -> None:
    two = run_evaluation(tmp_path, "devices=2")
    assert pictures(tmp_path) == pictures(evaluation.folder)
    assert two.metrics == pytest.approx(evaluation.metrics, abs=1e-6)


@pytest.mark.slow
def test_a_mistake_in_one_process_is_told_as_itself(
    run_evaluation: Evaluate, synthetic: Path, tmp_path: Path
) -> None:
    root = tmp_path / "synthetic"
    shutil.copytree(synthetic, root)
    broken = root / "test" / "image" / f"{NAMES[1]}.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=broken.name):
        run_evaluation(tmp_path / "out", "devices=2", f"dataset.root={root}")


@pytest.mark.posix
@pytest.mark.slow
def test_goes_on_after_kill_9(
    usual: list[str], evaluation: Evaluation, run_evaluation: Evaluate, tmp_path: Path
) -> None:
    """Two real processes, killed with their parent in the middle; then one process goes on."""
    command = [
        sys.executable,
        "evaluate.py",
        *usual,
        f"paths.output_dir={tmp_path}",
    ]
    root, said = Path(__file__).parents[2], tmp_path / "stderr"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [*command, "devices=2", "batch_size=1", "protocol=leffa"],
            cwd=root,
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    try:
        while not list(tmp_path.glob("images/*.png")):
            assert process.poll() is None, f"ended before it was killed: {said.read_text()}"
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("images/*.png")}
    assert kept
    of_another = tmp_path / "images" / f"{NAMES[0]}.1.unfinished"
    of_another.write_bytes(b"half")
    resumed = run_evaluation(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert of_another.read_bytes() == b"half"
    assert levels_apart(tmp_path, evaluation.folder) <= 1  # other batches were killed
    assert resumed.metrics == pytest.approx(evaluation.metrics, abs=1e-3)


def test_the_released_noise_depends_on_no_other_sample_and_on_no_interruption(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    released = ["sampler.noise=global", "limit=2"]
    run_evaluation(tmp_path, *released)
    whole = pictures(tmp_path)
    (tmp_path / "images" / f"{NAMES[1]}.png").unlink()  # as if killed before it was written
    torch.manual_seed(3)
    run_evaluation(tmp_path, *released)
    assert pictures(tmp_path) == whole


@pytest.mark.slow
def test_the_released_noise_is_the_same_in_two_processes(
    run_evaluation: Evaluate, tmp_path: Path
) -> None:
    for count in (1, 2):
        folder = tmp_path / str(count)
        run_evaluation(folder, "sampler.noise=global", f"devices={count}", "limit=2")
    assert pictures(tmp_path / "1") == pictures(tmp_path / "2")


def test_half_precision_is_another_evaluation(
    run_evaluation: Evaluate, evaluation: Evaluation, tmp_path: Path
) -> None:
    run_evaluation(tmp_path, "precision=bf16-mixed", "limit=1")
    assert json.loads((tmp_path / "settings.json").read_text())["precision"] == "bf16-mixed"
    (name,) = pictures(tmp_path)
    assert pictures(tmp_path)[name] != pictures(evaluation.folder)[name]
