"""Finished jobs are skipped, failed ones tried again, and the report ranks what is there."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from leffa.cli import main
from leffa.cli_errors import check_plugins
from leffa.run.config import compose, job_folder
from leffa.sweeps.jobs import read_result, run_job, summary
from leffa.sweeps.report import draw, read_sweep, to_markdown, write_report


def config(temperature: float = 1.0, weight: float = 1.0, seed: int = 0) -> dict[str, Any]:
    return {
        "name": "tryon",
        "seed": seed,
        "objective_metric": "val/epe",
        "leffa_loss": {"temperature": temperature, "weight": weight},
        "paths": {"output_dir": f"somewhere/{temperature}"},
    }


def job(folder: Path, settings: dict[str, Any], outcome: float | Exception | None) -> float | None:
    """A job that trains at once: it writes its configuration, then ends as told."""

    def train() -> float | None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return run_job(folder, settings, train)


def test_a_finished_job_is_not_done_again(tmp_path: Path) -> None:
    assert job(tmp_path / "a", config(), 3.0) == 3.0
    moved = {**config(), "paths": {"output_dir": "elsewhere"}, "resume": "auto"}
    assert job(tmp_path / "a", moved, ValueError("it was trained again")) == 3.0


def test_a_job_with_other_settings_is_done(tmp_path: Path) -> None:
    job(tmp_path / "a", config(), 3.0)
    assert job(tmp_path / "a", config(weight=2.0), 4.0) == 4.0


def test_other_devices_are_no_other_settings(tmp_path: Path) -> None:
    one = {**config(), "trainer": {"devices": 1, "precision": "32-true"}}
    job(tmp_path / "a", one, 3.0)
    eight = {**config(), "trainer": {"devices": 8, "strategy": "ddp", "precision": "32-true"}}
    assert job(tmp_path / "a", eight, ValueError("it was trained again")) == 3.0
    other = {**config(), "trainer": {"devices": 1, "precision": "bf16-mixed"}}
    assert job(tmp_path / "a", other, 4.0) == 4.0


def test_only_failures_of_this_sweep_are_told(tmp_path: Path) -> None:
    job(tmp_path / "before", config(), ValueError("out of memory"))
    os.utime(tmp_path / "before" / "result.json", (1000, 1000))
    job(tmp_path / "now", config(weight=2.0), ValueError("loss is nan"))
    text, failed = summary(tmp_path, since=2000)
    assert failed == 1
    assert "loss is nan" in text
    assert "out of memory" not in text
    assert summary(tmp_path)[1] == 2


def test_a_failed_job_is_shown_and_tried_again(tmp_path: Path) -> None:
    job(tmp_path / "a", config(), 3.0)
    assert job(tmp_path / "b", config(weight=2.0), ValueError("loss is nan\nin layer 3")) is None
    text, failed = summary(tmp_path)
    assert failed == 1
    assert "1 finished, 1 failed" in text
    assert "  b: loss is nan" in text.splitlines()
    assert job(tmp_path / "b", config(weight=2.0), 5.0) == 5.0
    assert summary(tmp_path)[1] == 0


def test_a_refused_job_leaves_the_result_of_the_run_in_its_folder(tmp_path: Path) -> None:
    job(tmp_path / "a", config(), 3.0)

    def refused() -> float:
        raise ValueError("holds another run")

    assert run_job(tmp_path / "a", config(weight=2.0), refused) is None
    text, failed = summary(tmp_path)
    assert (failed, text.splitlines()[1]) == (1, "  a: holds another run")
    assert read_sweep(tmp_path).cells[0].mean == 3.0
    assert job(tmp_path / "a", config(), ValueError("it was trained again")) == 3.0


def test_of_many_processes_of_a_job_one_tells(tmp_path: Path) -> None:
    for folder, first in (("third", False), ("first", True)):
        assert run_job(tmp_path / folder, config(), lambda: 3.0, writes_result=first) == 3.0
        assert (read_result(tmp_path / folder) is not None) == first


def test_a_killed_job_has_no_result(tmp_path: Path) -> None:
    job(tmp_path / "a", config(), ValueError("once"))
    with pytest.raises(KeyboardInterrupt):
        run_job(tmp_path / "a", config(), lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert read_result(tmp_path / "a") is None


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Temperatures by weights by two seeds; EPE is smallest at (1, 2). One has failed."""
    for temperature in (0.5, 1.0, 2.0):
        for weight in (1.0, 2.0):
            for seed in (0, 1):
                name = f"t={temperature},w={weight},s={seed}"
                value = abs(temperature - 1) + abs(weight - 2) + 0.2 * seed
                job(tmp_path / name, config(temperature, weight, seed), value)
    job(tmp_path / "bad", config(9.0, 1.0), ValueError("diverged"))
    hidden = tmp_path / "bad" / ".hydra"  # Hydra's own record is no run
    hidden.mkdir()
    (hidden / "config.yaml").write_text("{}")
    return tmp_path


def test_the_ranking_averages_seeds_and_names_what_is_missing(grid: Path) -> None:
    sweep = read_sweep(grid)
    assert sweep.keys == ("leffa_loss.temperature", "leffa_loss.weight")
    assert sweep.cells[0].values == (1.0, 2.0)
    assert sweep.cells[0].mean == pytest.approx(0.1)
    assert sweep.cells[0].spread == pytest.approx(0.1414, abs=1e-4)
    assert sweep.others == ("bad: failed: diverged",)
    assert to_markdown(sweep).splitlines()[2] == "| 1 | 1 | 2 | 0.1 | 0.1414 | 2 |"
    assert read_sweep(grid, largest=True).cells[0].values == (2.0, 1.0)


def test_the_report_has_curves_and_a_heat_map(
    grid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep-report", str(grid)]) == 0
    names = {"report.html", "report.md", "report.png"}
    assert {path.name for path in (grid / "report").iterdir()} == names
    assert len(capsys.readouterr().out.splitlines()) == 3
    page = (grid / "report" / "report.html").read_text()
    assert "<td>0.1414</td>" in page and "bad: failed: diverged" in page
    assert "end-point error" in page, "the metric is defined"
    assert panels(grid) == [
        ("leffa_loss.temperature", "val/epe"),
        ("leffa_loss.weight", "val/epe"),
        ("leffa_loss.weight", "leffa_loss.temperature"),
    ]
    assert main(["sweep-report", str(grid)]) == 0  # the report itself is no run


def panels(folder: Path) -> list[tuple[str, str]]:
    """What the report's picture shows over what."""
    figure = draw(read_sweep(folder))
    assert figure is not None
    shown = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in shown]


def test_one_at_a_time_sweeps_have_curves_alone(tmp_path: Path) -> None:
    for temperature, weight in ((1, 1), (2, 1), (3, 1), (1, 2), (1, 3)):
        job(tmp_path / f"{temperature},{weight}", config(temperature, weight), temperature + weight)
    job(tmp_path / "the same again", config(1, 1), 2.0)
    assert all(len(cell.scores) == 1 for cell in read_sweep(tmp_path).cells)
    assert len(panels(tmp_path)) == 2


def test_a_single_run_has_a_table_alone(tmp_path: Path) -> None:
    job(tmp_path / "a", config(), 3.0)
    out = tmp_path / "out"
    assert write_report(tmp_path, out) == [out / "report.html", out / "report.md"]


@pytest.mark.parametrize(("metric", "words"), [(None, "holds no run"), ("val/x", "holds no run")])
def test_a_folder_without_runs_is_named(tmp_path: Path, metric: str | None, words: str) -> None:
    with pytest.raises(FileNotFoundError, match=words):
        read_sweep(tmp_path / "empty", metric)


def test_a_metric_that_nobody_measured_is_named(grid: Path) -> None:
    with pytest.raises(ValueError, match="no finished run has measured val/nothing"):
        read_sweep(grid, "val/nothing")


@pytest.mark.parametrize(
    ("argument", "package"),
    [
        ("hydra/launcher=nosuch_submitit", "hydra-submitit-launcher"),
        ("sweep=tau_lambda_optuna", "hydra-optuna-sweeper"),
    ],
)
def test_a_plugin_that_is_absent_is_one_line(
    argument: str,
    package: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("leffa.cli_errors._installed", lambda module: False)
    with pytest.raises(SystemExit) as stopped:
        check_plugins(["-m", argument])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == (
        f"error: {argument} needs the package {package}: pip install {package}\n"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        "leffa_loss.temperature=0.5,leffa_loss.weight=2.0",
        "data.root=/some/where,objective.shift=-1",
        "leffa_loss.layers=[a(1), b~],title='x y'",
        ",".join(f"group.some_key_{number}=v\u00e4lue" for number in range(40)),
    ],
)
def test_the_folder_of_a_job_needs_no_quotes(tmp_path: Path, overrides: str) -> None:
    name = job_folder(overrides, str(tmp_path))
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name)
    assert job_folder(f"{overrides}1", str(tmp_path)) != name
    assert compose("evaluate", ["dataset=synthetic_tryon", f"ckpt={name}"]).ckpt == name


def test_a_job_goes_on_in_the_folder_of_an_earlier_version(tmp_path: Path) -> None:
    overrides = "leffa_loss.temperature=0.5,model=a/b"
    assert job_folder(overrides, str(tmp_path)).startswith("leffa_loss.temperature-0.5__model-a_b")
    (tmp_path / "leffa_loss.temperature=0.5,model=a_b").mkdir()
    assert job_folder(overrides, str(tmp_path)) == "leffa_loss.temperature=0.5,model=a_b"


def test_losses_on_the_attention_are_compared_by_name(tmp_path: Path) -> None:
    """Their own settings are columns only where runs of one loss differ in them."""
    losses = {
        "leffa": {"name": "leffa"},
        "matches": {"name": "matches", "space": "tokens", "points": 85},
        "coordinates": {"name": "matches", "space": "coordinates", "points": 85},
        "oracle": {"name": "oracle"},
    }
    for number, name in enumerate(("leffa", "matches", "oracle")):
        job(tmp_path / name, config() | {"attention_loss": losses[name]}, number)
    sweep = read_sweep(tmp_path)
    assert sweep.keys == ("attention_loss.name",)
    assert [cell.values for cell in sweep.cells] == [("leffa",), ("matches",), ("oracle",)]
    assert panels(tmp_path) == [("attention_loss.name", "val/epe")]
    job(tmp_path / "space", config() | {"attention_loss": losses["coordinates"]}, 3.0)
    assert read_sweep(tmp_path).keys == ("attention_loss.name", "attention_loss.space")
