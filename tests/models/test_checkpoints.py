"""Official weights: every key has a fate, both ways, and nothing is unpickled from strangers."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from leffa.io.weights import load_weights
from leffa.models.checkpoints import DROPPED, load_official, load_official_state, save_official
from leffa.models.leffa import LeffaModel
from leffa.models.lora import merge_adapters
from leffa.models.unets import stock_unet

BASES = {
    "sd15": "stable-diffusion-inpainting",
    "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1",
}

State = dict[str, Tensor]


@pytest.fixture(scope="module", params=BASES)
def official(
    request: pytest.FixtureRequest, recordings: Callable[[str], Path]
) -> tuple[Path, Path]:
    """Base folder and weights of a tiny model in the layout of the release."""
    folder = recordings(request.param)
    return folder / BASES[request.param], folder / "official.pth"


@pytest.fixture
def model(build_model: Callable[..., LeffaModel]) -> LeffaModel:
    return build_model()


@pytest.fixture
def state(model: LeffaModel, tmp_path: Path) -> State:
    """What the release would hold for this model."""
    save_official(model, tmp_path / "model.pth")
    return load_weights(tmp_path / "model.pth")


def test_loads_and_saves_an_official_file_key_by_key(
    official: tuple[Path, Path], tmp_path: Path
) -> None:
    base, weights = official
    save_official(load_official(base, weights), tmp_path / "ours.pth", template=weights)
    ours, theirs = load_weights(tmp_path / "ours.pth"), load_weights(weights)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in theirs.items())
    assert [path.name for path in tmp_path.iterdir()] == ["ours.pth"]


def test_without_a_template_the_keys_and_shapes_are_the_official_ones(
    recordings: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = recordings("sd15")
    base, weights = folder / BASES["sd15"], folder / "official.pth"
    save_official(load_official(base, weights), tmp_path / "ours.pth")
    ours, theirs = load_weights(tmp_path / "ours.pth"), load_weights(weights)
    assert {key: tensor.shape for key, tensor in ours.items()} == {
        key: tensor.shape for key, tensor in theirs.items()
    }
    again = load_official(base, tmp_path / "ours.pth").state_dict()
    expected = load_official(base, weights).state_dict()
    assert all(torch.equal(again[key], tensor) for key, tensor in expected.items())


def test_every_key_is_loaded_or_dropped_for_a_reason(official: tuple[Path, Path]) -> None:
    base, weights = official
    state = load_weights(weights)
    before = torch.get_rng_state()
    model = load_official(base, weights)
    assert torch.equal(
        torch.get_rng_state(), before
    )  # no initial value is drawn: at full size that takes seconds
    dropped = load_official_state(model, state)
    assert set(dropped.values()) <= set(DROPPED.values())
    own = {
        key.replace("reference_unet.", "unet_encoder.").replace("generative_unet.", "unet.")
        for key in model.state_dict()
    }
    assert own == state.keys() - dropped.keys()
    text = {key for key, reason in dropped.items() if reason == DROPPED["text"]}
    assert text == {key for key in state if ".attn2." in key}


def test_reads_safetensors_as_well(model: LeffaModel, state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "model.safetensors")
    assert load_weights(tmp_path / "model.safetensors").keys() == state.keys()
    save_official(model, tmp_path / "again.safetensors")
    again = load_weights(tmp_path / "again.safetensors")
    assert all(torch.equal(again[key], tensor) for key, tensor in state.items())


def test_reads_a_file_from_before_pytorch_1_6(state: State, tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    old = load_weights(path)
    assert old.keys() == state.keys()
    assert all(torch.equal(old[key], tensor) for key, tensor in state.items())


def test_a_tar_archive_of_the_first_pytorch_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "ancient.pth"
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "storages")
    assert refusal(lambda: load_weights(path)) == (
        f"{path}: not a file of plain tensors, so it is not loaded (a tar archive of a PyTorch "
        "before 2017; if you trust it, torch.load it with weights_only=False and torch.save it "
        "again)"
    )


def test_reads_a_state_dict_inside_a_checkpoint(state: State, tmp_path: Path) -> None:
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "wrapped.pth")
    assert load_weights(tmp_path / "wrapped.pth").keys() == state.keys()


def refusal(load: Callable[[], object]) -> str:
    """The one line with which something is refused."""
    with pytest.raises(ValueError) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_foreign_key_is_an_error(model: LeffaModel, state: State) -> None:
    state["unet.control.weight"] = torch.zeros(1)
    assert refusal(lambda: load_official_state(model, state, "file.pth")) == (
        "file.pth: does not fit: 1 keys have no place here (unet.control.weight)"
    )


def test_adapters_have_no_place_in_the_released_layout_until_they_are_merged(
    model: LeffaModel, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    before = model.generative_unet.get_submodule(layer).weight.detach().clone()
    for unet in (model.reference_unet, model.generative_unet):
        unet.add_adapter(
            peft.LoraConfig(r=2, lora_alpha=3, target_modules=["to_q"], init_lora_weights=False)
        )
    message = refusal(lambda: save_official(model, tmp_path / "model.pth"))
    assert "weights have no place in the stock network, first 'down_blocks" in message
    assert "first 'down_blocks" in refusal(lambda: stock_unet(model.generative_unet))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    adapted: Any = model.generative_unet.get_submodule(layer)
    expected = before + 1.5 * adapted.lora_B["default"].weight @ adapted.lora_A["default"].weight
    assert not torch.allclose(before, expected)
    merge_adapters((model.reference_unet, model.generative_unet))
    save_official(model, tmp_path / "model.pth")
    found = load_weights(tmp_path / "model.pth")[f"unet.{layer}.weight"]
    torch.testing.assert_close(found, expected)
    assert torch.equal(stock_unet(model.generative_unet).state_dict()[f"{layer}.weight"], found)  # type: ignore[arg-type]


class _Intruder:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("as_zip", [True, False], ids=["zip", "before_1_6"])
def test_runs_nothing_that_hides_in_a_file(as_zip: bool, tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "evil.pth"
    content = {"weight": torch.ones(1), "payload": _Intruder(victim)}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    message = refusal(lambda: load_weights(path))
    assert message.startswith(f"{path}: not a file of plain tensors")
    assert not victim.exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_damaged_file_is_an_error(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"damaged.{suffix}"
    path.write_bytes(b"\x00half a download")
    assert refusal(lambda: load_weights(path)).startswith(f"{path}: not a file of plain tensors")


def test_a_list_of_tensors_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    assert "expected a state dict" in refusal(lambda: load_weights(tmp_path / "list.pth"))


def test_names_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth: no such weights file"):
        load_weights(tmp_path / "nothing.pth")
