"""The two programs: a command line in, a run or one clear line out."""

import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback as HydraCallback
from omegaconf import DictConfig, OmegaConf, read_write

from leffa.cli_errors import check_plugins, fail, is_memory_full, memory_full, quoted
from leffa.io.outputs import check_folder
from leffa.run.config import (
    CONF,
    CONFIG_ERRORS,
    VERSION_BASE,
    check,
    in_sweep,
    is_user_error,
    resolved,
)
from leffa.run.usage import usage
from leffa.sweeps.jobs import FAILURES, run_job, summary

# Of each program: what decides how much memory it needs and changes no result.
_MEMORY_KEYS = {"train": "hardware.micro_batch", "evaluate": "batch_size"}


def program(name: str, task: Callable[[DictConfig], Any]) -> None:
    """Run a Hydra program; a user error is one line and exit code 1.

    The task imports what it needs, so that help and configuration are quick.
    """
    words = sys.argv[1:]
    if not {"-h", "--help"}.isdisjoint(words):
        print(usage(name))
        return
    check_plugins(words)
    if not {"-c", "--cfg"}.isdisjoint(words):  # which has flags, and no sweep
        words = [word for word in words if "=" in word and not word.startswith("-")]
    check(name, words)

    @hydra.main(config_path=str(CONF), config_name=name, version_base=VERSION_BASE)
    def main(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except Exception as error:  # told apart by name: torch and Lightning take seconds to import
            if is_memory_full(error):
                fail(memory_full(f"give a smaller {_MEMORY_KEYS[name]}"))
            if is_user_error(error):
                fail(error)
            raise

    main()


def train_job(cfg: DictConfig) -> float | None:
    """`train`; in a sweep, finished jobs are skipped, and failures do not end the sweep."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    from leffa.run.training import train

    if not in_sweep():
        return train(cfg)
    # A job of joblib's has joblib's own way to start processes, which ours cannot be started in.
    multiprocessing.set_start_method(None, force=True)
    folder = Path(HydraConfig.get().runtime.output_dir)
    first = getattr(rank_zero_only, "rank", 0) == 0
    failures = (*FAILURES, *CONFIG_ERRORS, MisconfigurationException)
    return run_job(folder, resolved(cfg), partial(train, cfg), failures, first)


def evaluation_job(cfg: DictConfig) -> Any:
    """`evaluate`."""
    from leffa.run.evaluation import evaluate

    return evaluate(cfg)


class OutputFolder(HydraCallback):
    """Checks the folder of a run before Hydra makes it, whose error would be a trace."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        _check_folder(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _check_folder(config.hydra.sweep.dir)


def _check_folder(folder: str) -> None:
    try:
        check_folder(Path(folder), "paths.output_dir")
    except OSError as error:
        fail(error)


class SweepSummary(HydraCallback):
    """Gives each job of a sweep a folder in the sweep's; ends with exit code 1 if one failed."""

    began = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self.began = time.time() - 1  # disks round
        words = list(config.hydra.overrides.task)
        swept = {
            each.key_or_group: [str(value).strip("'") for value in each.sweep_string_iterator()]
            for each in OverridesParser.create().parse_overrides(words)
            if each.is_sweep_override()
        }
        if "experiment" in swept:
            OmegaConf.update(config, "name", "_".join(swept["experiment"]))
        # A job's folder is called by what tells it from the others, and lies beside theirs.
        unnamed = config.hydra.job.config.override_dirname.exclude_keys
        with read_write(config.hydra):
            config.hydra.overrides.hydra += [
                f"hydra.sweep.dir={quoted(config.hydra.sweep.dir)}",
                "hydra.job.config.override_dirname.exclude_keys="
                f"[{','.join(key for key in unnamed if key not in swept)}]",
            ]

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        text, failed = summary(Path(config.hydra.sweep.dir), self.began)
        print(text, file=sys.stderr)
        if failed:
            sys.exit(1)
