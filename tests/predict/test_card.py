"""The model card: what the run measured, and whose terms hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leffa.cli import main
from leffa.inference import load_model
from leffa.models.card import model_card
from leffa.models.export import InputSpec, ModelSettings
from leffa.models.sampler import SamplerSettings

pytestmark = pytest.mark.usefixtures("built_once")


@pytest.fixture(scope="module")
def card(adapted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a fine-tuned run that was never evaluated."""
    out = tmp_path_factory.mktemp("carded") / "model"
    assert main(["convert", "--weights", str(adapted_run), "--out", str(out)]) == 0
    return (out / "README.md").read_text()


def test_a_run_without_an_evaluation_says_so(run: Path, tmp_path: Path) -> None:
    assert main(["convert", "--weights", str(run), "--out", str(tmp_path / "model")]) == 0
    assert "## Results\n\nNot evaluated.\n" in (tmp_path / "model" / "README.md").read_text()


def test_a_fine_tuned_run_names_where_it_started(card: str, run: Path) -> None:
    assert f"- Started from. `{run}`. Its own terms hold for these weights too." in card


def test_a_baseline_is_shipped_in_16_bits_without_the_autoencoder(
    run: Path, tmp_path: Path, script: Callable[[str], Any]
) -> None:
    script("ship_baseline").ship(load_model(run), tmp_path, [])
    state = load_file(tmp_path / "model.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert not [key for key in state if key.startswith("vae.")]
    shipped, trained = load_model(tmp_path), load_model(run)
    assert shipped.inputs == trained.inputs
    loaded = shipped.model.state_dict()
    for key, value in trained.model.saved_state().items():
        assert torch.equal(loaded[key], value.half().float())
    assert "# tryon_synthetic" in (tmp_path / "README.md").read_text()


def test_the_shipped_baseline_is_never_taken_without_a_word(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here what follows is refused, after that line."""
    given = ["--person", "nobody.png", "--out", str(tmp_path / "out")]
    assert main(["predict", *given]) == 1
    line = "tryon_baseline: ships with the package, and works for synthetic persons only"
    assert line in capsys.readouterr().err
    assert main(["predict", "--ckpt", str(run), *given]) == 1
    assert line not in capsys.readouterr().err


def rights(target: str, start: object, older: bool = False) -> str:
    """Of a run; an older one has its start among the settings of its model."""
    given = {"start_from": start}
    model = {"_target_": target} | (given if older else {})
    config = {"name": "x", "model": model} | ({} if older else given)
    settings = ModelSettings(
        InputSpec("tryon", 64, 48), "x.ckpt", sampler=SamplerSettings(), config=config
    )
    return model_card(settings).split("## Rights")[1]


def test_the_terms_of_published_weights_go_with_what_was_trained_on_them() -> None:
    catvton = rights("leffa.models.catvton.CatVTON", "attention/model.safetensors")
    assert "Started from. `attention/model.safetensors`. CatVTON's published attention" in catvton
    assert "CC BY-NC-SA 4.0" in catvton
    leffa = rights("leffa.models.leffa.LeffaModel", "weights/virtual_tryon_dc.pth")
    assert "Released by Leffa's authors: MIT. DressCode: research only" in leffa
    baseline = rights("leffa.models.leffa.LeffaModel", "tryon_baseline")
    assert "Started from. `tryon_baseline`. A small network of this package" in baseline
    cfld = rights("leffa.models.cfld.CFLD", {"encoder": "owner/swin"}, older=True)
    assert "Started from. `owner/swin`. Its own terms" in cfld


def test_a_run_from_scratch_started_from_nothing() -> None:
    assert "Started" not in rights("leffa.models.leffa.LeffaModel", None)
    assert "Started" not in rights("leffa.models.cfld.CFLD", {"encoder": None}, older=True)
