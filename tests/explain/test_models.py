"""`leffa explain` of every model that looks at the reference, and of the one that does not."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from leffa.cli import main
from leffa.data.dataset import PersonDataset, collate
from leffa.evaluation.flows import flow_values
from leffa.inference.loaded import load_model, settings_of_run
from leffa.losses.request import FlowRequest
from leffa.models.export import save_exported
from leffa.run import compose
from leffa.run import test_set as samples_of  # pytest would take it for a test
from leffa.run.config import build, resolved
from leffa.synthetic.write import write_deepfashion

HEIGHT, WIDTH = 64, 48
TIMESTEP = 200

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Case:
    """Weights as a training begins with them, and the synthetic samples that belong to them."""

    weights: Path
    dataset: str
    changes: list[str]

    def explain(self, out: Path) -> int:
        """The exit code of the command, for the first sample at one timestep."""
        changes = [part for change in self.changes for part in ("--set", change)]
        usual = ["--device", "cpu", "--out", str(out), "--timesteps", str(TIMESTEP)]
        chosen = ["--ckpt", str(self.weights), "--dataset", self.dataset]
        return main(["explain", *chosen, *changes, *usual])


@pytest.fixture(scope="module")
def synthetic_poses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pose transfer's samples in DeepFashion's layout."""
    root = tmp_path_factory.mktemp("poses")
    write_deepfashion(root, train=3, test=3, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture
def case(synthetic: Path, synthetic_poses: Path, tmp_path: Path) -> Callable[[str], Case]:
    """The model of an experiment, tiny and exported."""

    def make(experiment: str) -> Case:
        places = [f"data.root={synthetic}", f"paths.output_dir={tmp_path / 'none'}"]
        config = resolved(compose("train", [f"experiment={experiment}", "debug=tiny", *places]))
        settings = settings_of_run(config, 0, Path("a test"))
        torch.manual_seed(0)
        weights = tmp_path / experiment
        save_exported(build(config["model"]).eval(), weights, settings, "# a test")
        pose = settings.inputs.task == "pose"
        root = synthetic_poses if pose else synthetic
        size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
        changes = [f"dataset.root={root}", "dataset.prepare=null", *size]
        return Case(weights, "synthetic_pose" if pose else "synthetic_tryon", changes)

    return make


@pytest.mark.parametrize(
    "experiment",
    ["pose_synthetic", "catvton_synthetic", "catvton_flux_synthetic", "idm_vton_synthetic"],
)
def test_the_page_tells_the_errors_that_an_evaluation_measures(
    case: Callable[[str], Case], tmp_path: Path, experiment: str
) -> None:
    chosen = case(experiment)
    assert chosen.explain(tmp_path / "out") == 0
    (page,) = (tmp_path / "out").glob("*.html")
    numbers = json.loads(page.with_suffix(".json").read_text())
    told = numbers["models"][experiment][str(TIMESTEP)]
    told.pop("all")

    records, transform, _ = samples_of([f"dataset={chosen.dataset}", *chosen.changes])
    batch = collate([PersonDataset(records, transform)[0]])
    trained = load_model(chosen.weights)
    request = FlowRequest(trained.settings.temperature, min_resolution=0.0)
    expected = flow_values(trained.model, batch, request, [TIMESTEP])
    assert len(told) >= 3
    assert set(told) <= set(expected)
    for name, values in told.items():
        assert values["epe_px"] == pytest.approx(expected[name]["epe_px"], abs=1e-3)
    assert len({round(values["epe_px"], 3) for values in told.values()}) > 1


def test_a_model_without_such_an_attention_is_told_in_one_line(
    case: Callable[[str], Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("timm")
    assert case("cfld_synthetic").explain(tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "no attention of a CFLD goes from its image to the reference" in line
    assert "see `leffa predict --save-flow` for its flow" in line
    assert not (tmp_path / "out").exists()
