"""Run metadata: what a run records about itself when it starts or resumes.

<run>/config.yaml        every value that it used
      changes.yaml       what the command line changed in the experiment
      environment.yaml   versions, devices, commit; one entry for each start
"""

import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from leffa.io.atomic import write_text

CONFIG, CHANGES, ENVIRONMENT = "config.yaml", "changes.yaml", "environment.yaml"
# What a run writes to its folder; `ENVIRONMENT` says that the folder is a run's.
WRITTEN = (CONFIG, CHANGES, "checkpoints", "logs", "tensorboard", "images", "report.html")
LIBRARIES = ("leffa", "torch", "lightning", "diffusers")


def write_run_metadata(
    folder: Path, config: dict[str, Any], changes: Mapping[str, tuple[Any, Any]], step: int
) -> None:
    """Write the three files.

    Args:
        config: resolved.
        changes: dotted key -> (value in the experiment, value in this run).
        step: from which the run resumes; 0 for a new one.
    """
    changed = {key: {"experiment": old, "run": new} for key, (old, new) in changes.items()}
    path = folder / ENVIRONMENT
    starts = yaml.safe_load(path.read_text(encoding="utf-8")) if step and path.is_file() else []
    starts.append({"from_step": step, **environment()})
    for name, content in ((ENVIRONMENT, starts), (CONFIG, config), (CHANGES, changed)):
        write_text(folder / name, yaml.safe_dump(content, sort_keys=False), durable=True)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Key -> (value before, value after) where they differ; None where there is none."""
    found = {key: (before.get(key), after.get(key)) for key in [*before, *after]}
    return {
        key: both
        for key, both in found.items()
        if both[0] != both[1] and not any(isinstance(value, dict) for value in both)
    }


def environment() -> dict[str, Any]:
    import torch  # a configuration alone needs it not

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        "devices": devices or [f"CPU, {torch.get_num_threads()} threads"],
        "system": platform.platform(terse=True),
    }


def _commit() -> str:
    """Of the code, "+" where it was changed since; "unknown" outside a repository."""
    here = ["git", "-C", str(Path(__file__).parent)]
    try:
        found = [
            subprocess.run([*here, *words], check=True, capture_output=True, text=True, timeout=10)
            for words in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found[0].stdout.strip() + ("+" if found[1].stdout.strip() else "")
