"""A tiny synthetic data set, a model trained on it for three steps, and their evaluation."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from leffa.evaluation import Evaluation, EvaluationSettings
from leffa.losses.request import FlowRequest
from leffa.metrics.protocols import PROTOCOLS
from leffa.models.sampler import SamplerSettings
from leffa.run import compose, evaluate
from leffa.synthetic.write import write_viton_hd

HEIGHT, WIDTH = 64, 48

Evaluate = Callable[..., Evaluation]

# The same as overrides: the protocol `leffa` without its networks, under a name of its own.
QUICK = ["protocol=leffa", "protocol.name=quick", "~protocol.sets", "~protocol.paired.lpips"]


@pytest.fixture(autouse=True, scope="module")
def _loaded_once(loaded_once: None) -> None:
    """For all tests here."""


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic")
    write_viton_hd(root, train=4, test=5, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="session")
def trained(
    synthetic: Path,
    tmp_path_factory: pytest.TempPathFactory,
    train_tiny: Callable[..., Path],
    lightened: Callable[[Path], Path],
) -> Path:
    """The folder of a run of three steps, with the loss on some layers."""
    folder = tmp_path_factory.mktemp("trained")
    return lightened(
        train_tiny("tryon_synthetic", synthetic, folder, "leffa_loss.min_resolution=0.25")
    )


@pytest.fixture(scope="session")
def usual(synthetic: Path, trained: Path) -> list[str]:
    """The overrides that all evaluations here share."""
    chosen = ["dataset=synthetic_tryon", f"ckpt={trained}", "limit=4", "device=cpu"]
    quick = ["sampler.steps=2", "batch_size=2"]
    data = [f"dataset.root={synthetic}", "dataset.prepare=null"]
    size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
    return [*chosen, *quick, *data, *size]


@pytest.fixture(scope="session")
def run_evaluation(usual: list[str]) -> Evaluate:
    """evaluate.py with these further arguments; its sheets are not enlarged."""

    def run(folder: Path, *arguments: str) -> Evaluation:
        config = compose("evaluate", [*usual, *QUICK, *arguments])
        config.paths.output_dir = str(folder)  # here, so that the same one is composed once
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("leffa.evaluation.samples.CELL", HEIGHT)
            return evaluate(config, progress=False)

    return run


@pytest.fixture(scope="session")
def evaluation(run_evaluation: Evaluate, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return run_evaluation(tmp_path_factory.mktemp("evaluation"))


@pytest.fixture(scope="module")
def quick_protocol() -> Iterator[str]:
    """One without networks, so that these tests do the same whatever weights a machine has."""
    paired = {name: PROTOCOLS["leffa"].paired[name] for name in ("ssim", "psnr")}
    protocol = replace(PROTOCOLS["leffa"], name="quick", paired=paired, sets={})
    PROTOCOLS[protocol.name] = protocol
    yield protocol.name
    del PROTOCOLS[protocol.name]


@pytest.fixture
def settings() -> EvaluationSettings:
    """The quickest ones."""
    return EvaluationSettings(
        name="quick",
        paired=True,
        sampler=SamplerSettings(steps=1),
        flow_request=FlowRequest(),
        inspect_timesteps=[200],
        protocol="leffa",
        batch_size=2,
        progress=False,
    )
