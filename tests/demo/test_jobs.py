"""Commands side by side: what they say goes to their logs, and a failure ends the rest."""

import logging
import time
from pathlib import Path

import pytest

from leffa.demo.jobs import Job, run_jobs, steps_done


def job(folder: Path, name: str, code: str) -> Job:
    return Job(name, 2, ["-c", code], folder / "logs" / f"{name}.log", lambda: 1)


def test_runs_each_job_on_one_thread_and_keeps_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("leffa.io.progress.EVERY", -1.0)
    caplog.set_level(logging.INFO, "leffa.io.progress")
    code = "import os, sys, time; print(os.environ['OMP_NUM_THREADS']); time.sleep(0.6)"
    jobs = [job(tmp_path, name, code) for name in ("first", "second")]
    run_jobs(jobs, at_a_time=2)
    assert [job.log.read_text().split() for job in jobs] == [["1"], ["1"]]
    assert any(line.startswith("first: ") for line in caplog.messages)


def test_a_failure_ends_the_others_and_shows_the_end_of_its_log(tmp_path: Path) -> None:
    slow = job(tmp_path, "slow", "import time; time.sleep(300)")
    broken = job(tmp_path, "broken", "raise RuntimeError('the disk is upside down')")
    began = time.monotonic()
    with pytest.raises(ChildProcessError, match=r"broken failed(.|\n)*the disk is upside down"):
        run_jobs([slow, broken])
    assert time.monotonic() - began < 120


def test_counts_the_steps_that_are_logged_even_while_a_line_is_written(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "metrics.csv"
    assert steps_done(tmp_path) == 0
    log.parent.mkdir()
    log.write_text("step,train/diffusion,val/x\n9,0.5,\n19,0.4,\n19,,1.0\n")
    assert steps_done(tmp_path) == 20
    log.write_text("train/diffusion,step\n0.5,9\n0.4,")
    assert steps_done(tmp_path) == 0
