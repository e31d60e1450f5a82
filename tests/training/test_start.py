"""A fine-tuning starts with exactly the weights that it is told to start with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from leffa.models.checkpoints import save_official
from leffa.models.leffa import LeffaModel
from leffa.run import settings
from leffa.training.start import build_from


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    backbone = settings("train", ["backbone=tiny_from_scratch"], "backbone")["backbone"]
    return {part: backbone[part] for part in ("unet", "vae", "scheduler")}


def same(one: LeffaModel, other: LeffaModel) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def checkpoint(path: Path, model: LeffaModel, **extra: Any) -> Path:
    """As train.py writes them: without the frozen autoencoder."""
    state = {
        f"model.{key}": value
        for key, value in model.state_dict().items()
        if not key.startswith("vae.")
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "config": {"model": {}}, **extra}, path)
    return path


def test_starts_from_an_official_file(base: dict[str, Any], tmp_path: Path) -> None:
    trained = LeffaModel.build(**base)
    save_official(trained, tmp_path / "official.safetensors")
    assert not same(LeffaModel.build(**base), trained)
    assert same(build_from(**base, start_from=tmp_path / "official.safetensors"), trained)


def test_starts_from_a_run_or_its_checkpoint(base: dict[str, Any], tmp_path: Path) -> None:
    trained = LeffaModel.build(**base)
    path = checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", trained)
    assert same(build_from(**base, start_from=path), trained)
    assert same(build_from(**base, start_from=tmp_path / "run"), trained)


def test_starts_from_the_running_average_where_there_is_one(
    base: dict[str, Any], tmp_path: Path
) -> None:
    model = LeffaModel.build(**base)
    name = "model.generative_unet.conv_out.bias"
    average = {"weights": {name: torch.full((4,), 7.0)}}
    path = checkpoint(tmp_path / "a.ckpt", model, ema=average)
    found = build_from(**base, start_from=path)
    assert torch.equal(found.generative_unet.conv_out.bias, torch.full((4,), 7.0))


def test_another_architecture_is_refused(base: dict[str, Any], tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.ckpt", LeffaModel.build(**base, parts=["densepose"]))
    with pytest.raises(ValueError, match="is of another model"):
        build_from(**base, start_from=path)


def test_a_missing_file_is_named(base: dict[str, Any]) -> None:
    with pytest.raises(FileNotFoundError, match=r"start_from=nowhere.pth: no such file"):
        build_from(**base, start_from="nowhere.pth")


def test_adapters_are_no_start(base: dict[str, Any], tmp_path: Path) -> None:
    config = {"model": {"lora": {"rank": 4}}}
    path = checkpoint(tmp_path / "a.ckpt", LeffaModel.build(**base), config=config)
    with pytest.raises(ValueError, match="low-rank adapters"):
        build_from(**base, start_from=path)


def test_the_schedule_can_end_in_pure_noise(base: dict[str, Any]) -> None:
    scheduler = {**base["scheduler"], "rescale_betas_zero_snr": False}
    model = build_from(**{**base, "scheduler": scheduler}, zero_terminal_snr=True)
    assert model.schedule.alphas_cumprod[-1] == pytest.approx(0, abs=1e-6)


def test_adapters_begin_at_zero_and_are_all_that_is_trained(
    base: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    path = checkpoint(tmp_path / "a.ckpt", LeffaModel.build(**base))
    plain = build_from(**base, start_from=path).eval()
    adapted = build_from(**base, start_from=path, lora={"rank": 4, "alpha": 4}).eval()
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    batch = {key: torch.randn(1, n, 64, 48) for key, n in (("source", 3), ("reference", 3))}
    batch |= {"mask": torch.ones(1, 1, 64, 48), "densepose": torch.randn(1, 3, 64, 48)}
    steps = torch.tensor([300])
    outputs = [
        model.predict_noise(
            torch.ones(1, *model.latent_shape(batch)),  # type: ignore[arg-type]
            steps,
            model.encode(batch),  # type: ignore[arg-type]
        ).noise
        for model in (plain, adapted)
    ]
    assert torch.equal(*outputs)


def test_peft_is_asked_for_where_it_is_missing(
    base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install peft"):
        build_from(**base, lora={"rank": 4, "alpha": 4})
