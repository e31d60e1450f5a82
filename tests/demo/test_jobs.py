"""Jobs in processes of their own: what they say goes to their logs, and a failure ends the rest."""

import re
import time
from pathlib import Path

import pytest

from leffa.demo.jobs import Job, Tell, run_jobs


def write(tell: Tell, path: Path) -> None:
    print(f"writing {path.name}")
    tell(1, "half")
    path.write_text("done")


def fail(tell: Tell) -> None:
    raise RuntimeError("the disk is upside down")


def sleep(tell: Tell, path: Path) -> None:
    time.sleep(300)
    path.write_text("slept")


def test_runs_each_job_and_keeps_what_it_prints(tmp_path: Path) -> None:
    jobs = [
        Job(name, 2, write, (tmp_path / name,), tmp_path / "logs" / f"{name}.log")
        for name in ("first", "second")
    ]
    run_jobs(jobs, at_a_time=2)
    assert [(tmp_path / job.title).read_text() for job in jobs] == ["done", "done"]
    assert [job.log.read_text() for job in jobs] == ["writing first\n", "writing second\n"]


def linger(tell: Tell, path: Path) -> None:
    tell(1, "half")
    time.sleep(2)


def test_a_log_file_gets_lines_that_tell_how_long_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("leffa.demo.jobs.EVERY", 0.0)
    run_jobs([Job("training", 2, linger, (tmp_path,), tmp_path / "log")])
    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(r" *training: 1 of 2, \d+ min left", line) for line in lines)


def test_a_failure_ends_the_others_and_shows_the_end_of_its_log(tmp_path: Path) -> None:
    slow = Job("slow", 0, sleep, (tmp_path / "slow",), tmp_path / "slow.log")
    broken = Job("broken", 0, fail, (), tmp_path / "broken.log")
    began = time.monotonic()
    with pytest.raises(ChildProcessError, match=r"broken failed(.|\n)*the disk is upside down"):
        run_jobs([slow, broken])
    assert time.monotonic() - began < 120
    assert not (tmp_path / "slow").exists()


def test_runs_in_this_process_when_asked_to(tmp_path: Path) -> None:
    run_jobs([Job("here", 2, write, (tmp_path / "here",), tmp_path / "log")], at_a_time=0)
    assert (tmp_path / "here").read_text() == "done"
    assert not (tmp_path / "log").exists()
