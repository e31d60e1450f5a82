"""What a run that resumes shares with the one that it continues."""

import logging
from typing import Any

from leffa.run.trainer import in_shards
from leffa.sweeps.jobs import relevant
from leffa.training.checkpoints import ResumePoint

log = logging.getLogger(__name__)

# What says how the run is called and where its data are, or is not read on resuming.
_UNCOMPARED = ("name", "run_name", "start_from", "latent_cache", "objective_metric")
_PLACES = ("root", "workers")  # last parts of keys
_LENGTH = ("curriculum.", "trainer.max_steps")  # beginnings of keys that may make a run longer
_SHOWN = 6  # settings in a message


def check_resumed(
    point: ResumePoint, config: dict[str, Any], complete: bool, in_sweep: bool
) -> None:
    """Say which settings changed since the checkpoint.

    Args:
        complete: the checkpoint has all steps already.
        in_sweep: the folder stands for these settings, so it must not hold another run, except a
            shorter one.

    Raises:
        ValueError: the run is complete, or a job of a sweep, and had other settings; it was a
            rehearsal; or its optimiser's state, which Lightning numbers otherwise in shards, does
            not fit.
    """
    before = point.config
    if before.get("rehearse") and not config["rehearse"]:
        raise ValueError(
            f"{point.path}: was made with debug=rehearse, whose steps do not train; give another "
            "paths.output_dir"
        )
    sharded = in_shards(before["trainer"]["strategy"])
    if in_shards(config["trainer"]["strategy"]) and not sharded:
        raise ValueError(
            f"{point.path}: was trained without trainer=fsdp and resumes only without it; "
            f"start_from={point.path} with another paths.output_dir takes its weights alone"
        )
    changed = changed_settings(before, config)
    if not changed:
        return
    more = f", and {len(changed) - _SHOWN} more" * (len(changed) > _SHOWN)
    settings = ", ".join(changed[:_SHOWN]) + more
    other = not all(each.startswith(_LENGTH) for each in changed)
    if complete or (in_sweep and other):
        what = "a complete run" if complete else "a run"
        raise ValueError(
            f"{point.path}: is of {what} with other settings ({settings}); give another "
            f"paths.output_dir, where start_from={point.path} begins with its weights"
        )
    log.warning("the run resumes with settings other than before: %s", settings)


def changed_settings(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The settings of both that decide the result and differ, as "KEY OLD -> NEW"."""
    old, new = _leaves(relevant(before)), _leaves(relevant(now))
    return [
        f"{key} {value} -> {new[key]}"
        for key, value in old.items()
        if key in new
        and value != new[key]
        and key.split(".")[0] not in _UNCOMPARED
        and key.split(".")[-1] not in _PLACES
    ]


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key; the entries of a list of groups by number."""
    if isinstance(node, list) and node and all(isinstance(each, dict) for each in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return {prefix: list(node) if isinstance(node, tuple) else node}
    found: dict[str, Any] = {}
    for name, value in node.items():
        found |= _leaves(value, f"{prefix}.{name}" if prefix else str(name))
    return found
