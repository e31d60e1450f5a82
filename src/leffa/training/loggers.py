"""Loggers that resume with their run: one log per run, without gaps or repetitions."""

import csv
import io
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from leffa.io.atomic import write_text


def begin_logs(loggers: Iterable[Logger], step: int, config: dict[str, Any]) -> None:
    """Drop what was logged after the checkpoint of this step (0 for a new run), which the run logs
    again, and show its configuration where runs are searched and compared."""
    for logger in loggers:
        if isinstance(logger, RunWandbLogger):
            logger.describe(config)
        if isinstance(logger, RunCSVLogger | RunTensorBoardLogger | RunWandbLogger):
            logger.rewind(step)


class RunCSVLogger(CSVLogger):
    """`<save_dir>/<name>/metrics.csv`, which Lightning's own deletes when the run is resumed."""

    def __init__(
        self, save_dir: str, name: str = "logs", flush_logs_every_n_steps: int = 50
    ) -> None:
        super().__init__(
            save_dir, name, version="", flush_logs_every_n_steps=flush_logs_every_n_steps
        )

    @rank_zero_only
    def rewind(self, step: int) -> None:
        path = Path(self.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        self._experiment = _Writer(self.log_dir)
        if not path.is_file():
            return
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = [row for row in reader if (row["step"] or "").isdigit() and None not in row]
        kept = [row for row in rows if int(row["step"]) < step]
        self._experiment.metrics_keys = columns
        write_csv(path, columns, kept)


class _Writer(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Nothing to delete, nothing to warn of: `rewind` says what stays."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Add a column. Lightning empties the file first: a kill in between would lose the log."""
        path = Path(self.metrics_file_path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        write_csv(path, fieldnames, rows)


class RunTensorBoardLogger(TensorBoardLogger):
    """`<save_dir>/tensorboard`; a resumed run adds a file that hides what it does again."""

    def __init__(self, save_dir: str, name: str = "tensorboard") -> None:
        super().__init__(save_dir, name, version="")

    def rewind(self, step: int) -> None:
        if step:
            self._kwargs["purge_step"] = step

    @rank_zero_only
    def save(self) -> None:
        super().save()
        self.experiment.flush()


class RunWandbLogger(WandbLogger):
    """A Weights & Biases run whose id lies in `<save_dir>/wandb_id.txt`, so that it is continued.

    Works offline too: `wandb sync` joins the parts, which have one id. Steps that were logged after
    the checkpoint are logged a second time, since the service takes nothing back.

    Raises:
        ValueError: this machine has no key of an account.
    """

    def __init__(self, project: str, name: str, save_dir: str) -> None:
        self.id_file = Path(save_dir) / "wandb_id.txt"
        _check_wandb_login()
        super().__init__(name=name, save_dir=save_dir, project=project, id=uuid.uuid4().hex[:8])

    def describe(self, config: dict[str, Any]) -> None:
        """Its configuration, with the values of the last start."""
        self._wandb_init |= {"config": config, "allow_val_change": True}

    def rewind(self, step: int) -> None:
        if step and self.id_file.is_file():
            self._id = self._wandb_init["id"] = self.id_file.read_text(encoding="utf-8").strip()

    @property
    def experiment(self) -> Any:
        if getattr(rank_zero_only, "rank", 0) == 0 and self._experiment is None:
            write_text(self.id_file, str(self._wandb_init["id"]), durable=True)
        return super().experiment

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run: the next job of a sweep in this process has one of its own."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)
            self._experiment = None


@rank_zero_only
def _check_wandb_login() -> None:
    """Ask for a key where wandb would, but before the run is made; on a terminal it asks itself."""
    import wandb

    mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode  # `wandb offline` sets it
    if mode in ("offline", "dryrun", "disabled"):
        return
    try:
        wandb.login(verify=False)
    except wandb.errors.UsageError as error:
        raise ValueError(
            "logger=wandb: no API key on this machine; type `wandb login`, or set "
            "WANDB_MODE=offline to log without an account"
        ) from error


def write_csv(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Write a table atomically."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue(), durable=True)  # as its checkpoint
