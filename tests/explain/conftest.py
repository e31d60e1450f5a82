"""The shipped tiny model, untrained as a reference model, and synthetic persons."""

from pathlib import Path

import pytest
import torch
import yaml

from leffa.data.batch import Batch
from leffa.data.dataset import PersonDataset, collate
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.models.export import InputSpec, ModelSettings, save_exported
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import SamplerSettings
from leffa.run import CONF
from leffa.synthetic.write import write_viton_hd

HEIGHT, WIDTH = 64, 48
SETTINGS = ModelSettings(
    InputSpec("tryon", HEIGHT, WIDTH, densepose="iuv"),
    "a test",
    sampler=SamplerSettings("ddim", steps=2),
    temperature=0.5,
)


def tiny_model(seed: int) -> LeffaModel:
    """With queries and keys far enough from zero that attention is not flat."""
    torch.manual_seed(seed)
    backbone = yaml.safe_load((CONF / "backbone" / "tiny.yaml").read_text())
    model = LeffaModel(backbone["unet"], backbone["vae"], backbone["scheduler"])
    with torch.no_grad():
        for name, parameter in model.generative_unet.named_parameters():
            if "attn1.to_q" in name or "attn1.to_k" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


@pytest.fixture(scope="session")
def model() -> LeffaModel:
    return tiny_model(0)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Try-on samples in VITON-HD's layout."""
    root = tmp_path_factory.mktemp("synthetic")
    write_viton_hd(root, train=0, test=2, height=HEIGHT, width=WIDTH)
    return root


@pytest.fixture(scope="session")
def batch(synthetic: Path) -> Batch:
    """One synthetic person, with the ground-truth flow."""
    transform = PersonTransform(HEIGHT, WIDTH, densepose="iuv", loss_region="garment")
    records = VitonHD(synthetic, split="test", densepose="iuv")
    return collate([PersonDataset(records, transform)[0]])


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two exported models of the same kind."""
    folder = tmp_path_factory.mktemp("weights")
    paths = [folder / "before", folder / "after"]
    for seed, path in enumerate(paths):
        save_exported(tiny_model(seed), path, SETTINGS, "# a test")
    return paths


@pytest.fixture(autouse=True, scope="module")
def _loaded_once(loaded_once: None) -> None:
    """For all tests here."""
