"""Real sweeps: several jobs at a time, and a search that goes on where it stopped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from leffa.sweeps.jobs import job_folders, read_result
from leffa.synthetic.write import write_viton_hd

sys.path.append(str(Path(__file__).parents[1] / "training" / "support"))
import runs

SUPPORT = Path(runs.__file__).parent
REPOSITORY = Path(__file__).parents[2]
LIMIT = 1800.0  # seconds, on a busy machine

pytestmark = pytest.mark.slow


def sweep(folder: Path, *arguments: str) -> str:
    """What `train.py -m` says about a sweep of tiny runs; its data is drawn at the first time."""
    data = folder.parent / "data"
    if not data.is_dir():
        write_viton_hd(data, train=6, test=2, height=32, width=24)
    tiny = runs.overrides(data, folder, "objective_metric=val/diffusion_t500")
    command = [sys.executable, str(REPOSITORY / "train.py"), "-m", *arguments, *tiny]
    done = subprocess.run(
        command,
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def results(folder: Path) -> dict[str, float | None]:
    """The objective of each job; the time at which it ended, to see that it is not run again."""
    found = {}
    for job in job_folders(folder):
        result = read_result(job)
        assert result is not None
        assert result.state == "finished"
        found[job.name] = result.value
    return found


@pytest.mark.parametrize(
    ("package", "launcher"),
    [
        ("joblib", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]),
        # SLURM's launcher, on processes of this machine.
        ("submitit", ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=30"]),
    ],
)
def test_a_launcher_runs_jobs_side_by_side_and_skips_the_finished(
    tmp_path: Path, package: str, launcher: list[str]
) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher")
    folder = tmp_path / "sweep"
    launcher = [*launcher, "sweep=common"]
    said = sweep(folder, *launcher, "leffa_loss.temperature=0.5,2")
    assert "2 finished, 0 failed" in said
    first = results(folder)
    assert len(first) == 2
    values = list(first.values())
    assert None not in values
    assert values[0] != values[1]
    kept = [job / "result.json" for job in job_folders(folder)]
    times = [path.stat().st_mtime_ns for path in kept]
    again = sweep(folder, *launcher, "leffa_loss.temperature=0.5,2,4")
    assert "3 finished, 0 failed" in again
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert results(folder).items() > first.items()


def test_optuna_searches_and_skips_the_trials_that_are_finished(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    folder = tmp_path / "sweep"
    said = sweep(folder, "sweep=tau_lambda_optuna", "hydra.sweeper.n_trials=2")
    assert "2 finished, 0 failed" in said
    first = results(folder)
    assert len(first) == 2
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert best["best_value"] == pytest.approx(min(first.values()))
    # The sampler's seed is fixed, so the same trials come again, then a new one.
    again = sweep(folder, "sweep=tau_lambda_optuna", "hydra.sweeper.n_trials=3")
    assert "3 finished, 0 failed" in again
    assert again.count("finished before") == 2
    assert results(folder).items() > first.items()
