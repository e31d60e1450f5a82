"""The whole demo at its smallest, in this process: one step, four synthetic persons."""

import io
import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

import leffa
from leffa.demo.report import COLUMNS
from leffa.demo.results import Results
from leffa.demo.run import run_demo
from leffa.demo.settings import DemoSettings
from leffa.models.export import BASELINES, WEIGHTS

MODELS = ("baseline", "control", "leffa")


class Page(HTMLParser):
    """Collects the tags that are open and every address that the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def run(settings: DemoSettings) -> tuple[Results, str]:
    """The results, and what the demo printed."""
    printed = io.StringIO()
    results = run_demo(settings, Console(file=printed, width=200))
    return results, printed.getvalue()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> DemoSettings:
    folder = tmp_path_factory.mktemp("demo")
    return DemoSettings(
        out=folder / "it's out",
        data=folder / "data",
        steps=1,
        processes=0,
        train_samples=4,
        test_samples=2,
        evaluated=2,
        sampler_steps=1,
    )


@pytest.fixture(scope="module")
def results(settings: DemoSettings) -> Results:
    """Without the pages of its two trainings, and on a machine without networks for metrics."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leffa.training.callbacks.report.write_report", lambda *_: None)
        patch.setattr("leffa.metrics.weights.find_spec", lambda _: None)
        patch.setenv("TORCH_HOME", str(settings.out / "torch"))
        patch.delenv("LEFFA_WEIGHTS", raising=False)
        return run(settings)[0]


def test_says_what_came_out_for_every_model_and_baseline(
    settings: DemoSettings, results: Results
) -> None:
    metrics = json.loads((settings.out / "metrics.json").read_text())
    for name in MODELS:
        assert {"flow/epe_px", "flow/pck_3", "flow/peak_mass", "flow/spread"} <= set(metrics[name])
        assert {"paired/ssim", "paired/psnr"} <= set(metrics[name])
    for name in ("identity", "constant"):
        assert set(metrics[name]) == {"flow/epe_px", "flow/pck_3", "flow/spread"}
    assert metrics["constant"]["flow/spread"] == pytest.approx(0, abs=1e-6)
    assert 0.1 < metrics["true"]["flow/spread"] < 1
    assert metrics["settings"]["steps"] == 1
    assert metrics["versions"]["leffa"] == leffa.__version__
    assert metrics["samples"] == 2


def test_both_trainings_begin_with_the_same_weights_and_differ_afterwards(
    settings: DemoSettings, results: Results
) -> None:
    control, leffa = (
        torch.load(settings.out / "runs" / name / "checkpoints/last.ckpt", weights_only=True)
        for name in ("control", "leffa")
    )
    control, leffa = control["state_dict"], leffa["state_dict"]
    baseline = load_file(BASELINES["tryon_baseline"] / WEIGHTS)
    baseline = {f"model.{key}": value.float() for key, value in baseline.items()}
    assert baseline.keys() == control.keys() == leffa.keys()
    changed = [key for key in control if not torch.equal(baseline[key], control[key])]
    different = [key for key in control if not torch.equal(leffa[key], control[key])]
    assert changed
    assert different
    first = [results.curves[name]["train/diffusion"][0] for name in ("control", "leffa")]
    assert first[0] == first[1]


def test_logs_curves_of_both_trainings(results: Results) -> None:
    for curves in results.curves.values():
        assert [step for step, _ in curves["train/diffusion"]] == [0]
        assert len(curves["val/flow/epe_px"]) == 1
    assert "train/leffa" not in results.curves["control"]


def test_the_sample_sheet_has_a_row_per_sample_and_all_columns(
    settings: DemoSettings, results: Results
) -> None:
    with Image.open(settings.out / "samples.png") as sheet:
        assert sheet.width > len(COLUMNS) * 2 * 72
        assert 2 * 2 * 96 < sheet.height < 3 * 2 * 96


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(
    settings: DemoSettings, results: Results
) -> None:
    text = (settings.out / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.loaded) == 2
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text
    assert "<script" not in text


def test_a_second_run_reuses_what_is_finished(settings: DemoSettings, results: Results) -> None:
    checkpoint = settings.out / "runs" / "leffa" / "checkpoints" / "last.ckpt"
    written = checkpoint.stat().st_mtime_ns
    (settings.out / "report.html").unlink()
    again, printed = run(settings)
    assert printed.count("reused") == 5
    assert "EPE (px)" in printed
    assert checkpoint.stat().st_mtime_ns == written
    assert again.rows == results.rows
    assert (settings.out / "report.html").is_file()


def test_refuses_to_train_no_step(settings: DemoSettings) -> None:
    with pytest.raises(ValueError, match="--steps must be at least 1, got 0"):
        run(replace(settings, steps=0))
