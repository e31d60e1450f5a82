"""The jobs of a sweep: finished ones are skipped, and a failed one does not end the rest.

Each job's folder has `result.json`: its state ("finished" or "failed"), its objective, and why it
failed. A job that was killed has none, and is done again like a failed one.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from leffa.io.atomic import write_json
from leffa.training.run_metadata import CONFIG

log = logging.getLogger(__name__)

RESULT = "result.json"
# Where and how a run is made, which changes no result.
IGNORED_KEYS = ("paths", "resume", "hardware", "logger", "callbacks")
IGNORED_TRAINER_KEYS = ("accelerator", "devices", "num_nodes", "strategy", "log_every_n_steps")
FAILURES = (ValueError, OSError, RuntimeError)


@dataclass(frozen=True)
class Result:
    """How a job ended."""

    state: str  # "finished" or "failed"
    metric: str
    value: float | None = None  # None where it was not measured
    reason: str = ""  # of the failure; beside "finished", why other settings were refused later


def run_job(
    folder: Path,
    config: Mapping[str, Any],
    train: Callable[[], float | None],
    failures: tuple[type[Exception], ...] = FAILURES,
    writes_result: bool = True,
) -> float | None:
    """Train, unless this folder holds the finished run of the same configuration.

    Args:
        config: resolved.
        train: gives the objective.
        failures: what is recorded as a failure of this job alone.
        writes_result: false in all but one of a job's processes on a cluster.

    Returns:
        the objective; None where it was not measured or the job failed.
    """
    before, metric = read_result(folder), str(config["objective_metric"])
    if before is not None and before.state == "finished" and _same_config(folder, config):
        log.info("%s: finished before, %s = %s", folder, before.metric, before.value)
        return before.value
    settings = _settings(folder)
    if writes_result:
        (folder / RESULT).unlink(missing_ok=True)
    value = None
    try:
        value = train()
        result = Result("finished", metric, value)
    except failures as error:
        reason = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
        log.error("%s: failed: %s", folder, reason)
        result = Result("failed", metric, reason=reason)
        if before is not None and before.state == "finished" and _settings(folder) == settings:
            result = replace(before, reason=reason)  # refused: the finished run is as it was
    if writes_result:
        write_json(folder / RESULT, asdict(result), indent=1, durable=True)
    return value


def read_result(folder: Path) -> Result | None:
    """How the job of this folder ended; None where it has not."""
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        return Result(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: is not the result of a job; remove it to run it again"
        ) from error


def job_folders(folder: Path) -> list[Path]:
    """Every job below a folder, begun or ended, in the order of their names."""
    found = {path.parent for name in (CONFIG, RESULT) for path in folder.rglob(name)}
    return sorted(job for job in found if not job.name.startswith("."))  # .hydra has a config too


def summary(folder: Path, since: float = 0.0) -> tuple[str, int]:
    """One line on a sweep, one for each failed job, and how many failed.

    Only failures after `since` (seconds since 1970) count: the folder may hold other sweeps.
    """
    finished, failed = 0, []
    for job in job_folders(folder):
        result = read_result(job)
        finished += result is not None and result.state == "finished"
        if result is not None and result.reason and (job / RESULT).stat().st_mtime >= since:
            failed.append(f"  {job.name}: {result.reason}")
    first = f"{folder}: {finished} finished, {len(failed)} failed"
    if failed:
        first += "; the same command runs the failed ones again"
    return "\n".join([first, *failed]), len(failed)


def _same_config(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether the run in this folder had a configuration with the same result."""
    before = _settings(folder)
    return before is not None and relevant(before) == relevant(json.loads(json.dumps(config)))


def _settings(folder: Path) -> dict[str, Any] | None:
    """Of the run in this folder."""
    path = folder / CONFIG
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the result."""
    kept = {key: value for key, value in config.items() if key not in IGNORED_KEYS}
    trainer = kept.get("trainer", {}).items()
    return kept | {"trainer": {k: value for k, value in trainer if k not in IGNORED_TRAINER_KEYS}}
