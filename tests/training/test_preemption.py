"""A run that is told to stop saves first."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from leffa.data.datamodule import PersonDataModule
from leffa.training.callbacks.checkpoints import Checkpoints
from leffa.training.callbacks.preemption import StopOnSignal, exit_on_sigterm
from leffa.training.callbacks.report import RunReport
from leffa.training.callbacks.stages import StageSchedule
from leffa.training.module import PersonGenerationModule
from leffa.training.stages import Stage

sys.path.append(str(Path(__file__).parent / "support"))
import runs


@pytest.mark.posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_run_that_is_told_to_stop_saves_the_step_it_is_in(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    name: str,
) -> None:
    """And SIGUSR1 puts a SLURM job back into the queue, here with a `scontrol` that writes down
    what it is asked for."""
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "asked"}\n')
    program.chmod(0o755)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    number, handler = signal.Signals[name], signal.getsignal(signal.Signals[name])
    stages = [Stage("only", 3, 32, 24, 2, 1e-2)]
    callbacks = [
        StageSchedule([1]),
        Checkpoints(str(tmp_path)),
        StopOnSignal(),
        RunReport(str(tmp_path)),
        runs.KillAt(1, number=number),
    ]
    trainer = make_trainer(stages, *callbacks, checkpoints=True)
    with pytest.raises(SystemExit) as stop:
        trainer.fit(make_module(stages), make_datamodule(stages))
    assert stop.value.code == 128 + number
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2
    assert f"stopped by {name} and saved after step 2; resume=auto continues" in caplog.text
    assert "asked to stop, 2 of 3 steps" in (tmp_path / "report.html").read_text()
    assert signal.getsignal(number) is handler
    asked = tmp_path / "asked"
    assert asked.exists() is (name == "SIGUSR1")
    assert not asked.exists() or asked.read_text() == "requeue 4711\n"


@pytest.mark.posix
@pytest.mark.parametrize("step", [0, 1])
def test_a_run_that_is_told_to_stop_between_stages_stops_at_once(
    make_module: Callable[..., PersonGenerationModule],
    make_datamodule: Callable[..., PersonDataModule],
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    step: int,
) -> None:
    """Where latents are cached, before the first step of a stage: that may take hours."""
    stages = [Stage(name, 1, 32, 24, 2, 1e-2) for name in ("first", "second")]
    datamodule = make_datamodule(stages)
    load = datamodule.train_dataloader

    def killed_while_caching() -> object:
        if datamodule.trainer.global_step == step:
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("the signal was ignored")
        return load()

    monkeypatch.setattr(datamodule, "train_dataloader", killed_while_caching)
    trainer = make_trainer(
        stages, StageSchedule([1, 1]), Checkpoints(str(tmp_path)), StopOnSignal(), checkpoints=True
    )
    with exit_on_sigterm(), pytest.raises(SystemExit) as stop:
        trainer.fit(make_module(stages), datamodule)
    assert stop.value.code == 128 + signal.SIGTERM
    assert [path.name for path in tmp_path.glob("step_*")] == ["step_000001.ckpt"][:step]
