"""Low-rank adapters in `leffa convert`: they become part of the weights, in every layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.cli import main
from leffa.inference import load_model
from leffa.models.checkpoints import load_official
from leffa.models.export import load_exported, read_settings

pytestmark = pytest.mark.usefixtures("built_once")


@pytest.fixture(scope="module")
def converted(adapted_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all that the run can become."""
    folder = tmp_path_factory.mktemp("converted")
    for name in ("model", "merged.pth", "merged.ckpt"):
        assert main(["convert", "--weights", str(adapted_run), "--out", str(folder / name)]) == 0
    return folder


def picture(ckpt: Path, pair: dict[str, Path], out: Path) -> np.ndarray:
    names = ("person", "garment", "mask", "densepose")
    files = [part for name in names for part in (f"--{name}", str(pair[name]))]
    where = ["--ckpt", str(ckpt), "--out", str(out), "--device", "cpu", "--steps", "2"]
    assert main(["predict", *where, *files, "--guidance", "1.5", "--scheduler", "ddim"]) == 0
    with Image.open(out / f"{pair['person'].stem}.png") as image:
        return np.asarray(image).astype(int)


def test_the_converted_weights_give_the_pictures_of_the_run(
    run: Path, adapted_run: Path, converted: Path, pair: dict[str, Path], tmp_path: Path
) -> None:
    places = (adapted_run, converted / "model", converted / "merged.ckpt", run)
    own, folder, checkpoint, start = (
        picture(place, pair, tmp_path / str(number)) for number, place in enumerate(places)
    )
    assert np.abs(own - folder).max() <= 1
    assert np.abs(own - checkpoint).max() <= 1
    assert np.abs(own - start).max() > 8  # without the adapters it is another picture


def test_a_merged_weight_is_the_sum_that_the_paper_writes(
    adapted_run: Path, converted: Path
) -> None:
    content = torch.load(adapted_run / "checkpoints" / "last.ckpt", weights_only=True)
    state, name = content["state_dict"], "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    model, _ = load_exported(converted / "model")
    for part in ("reference_unet", "generative_unet"):
        layer = f"model.{part}.{name}"
        down, up = (state[f"{layer}.lora_{side}.default.weight"] for side in "AB")
        expected = state[f"{layer}.base_layer.weight"] + 3 / 2 * up @ down  # alpha / rank
        merged = model.get_submodule(f"{part}.{name}")
        torch.testing.assert_close(merged.weight, expected)


def test_all_layouts_hold_the_same_weights(converted: Path) -> None:
    model, settings = load_exported(converted / "model")
    expected = model.state_dict()
    official = load_official(converted / "model", converted / "merged.pth").state_dict()
    checkpoint = load_model(converted / "merged.ckpt").model.state_dict()
    for state in (official, checkpoint):
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())
    assert settings == read_settings(converted / "model")


def test_the_card_and_the_settings_say_what_was_merged(converted: Path) -> None:
    config = read_settings(converted / "model").config
    assert config is not None
    assert config["model"]["lora"] is None
    assert config["merged_adapters"] == {"rank": 2, "alpha": 3}
    card = (converted / "model" / "README.md").read_text()
    assert "| adapters | low-rank, rank 2, alpha 3, merged into the weights |" in card
