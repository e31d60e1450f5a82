"""A training starts with exactly the weights that it is told to start with."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from leffa.inference import load_model
from leffa.models.checkpoints import save_official
from leffa.models.export import BASELINES, WEIGHTS, InputSpec, ModelSettings, save_exported
from leffa.models.interface import PersonGenerator
from leffa.models.leffa import LeffaModel
from leffa.models.lora import add_lora
from leffa.run import first_model, settings
from leffa.training.finetune import find_start, load_start

Config = dict[str, Any]


@pytest.fixture(scope="module")
def base() -> Config:
    backbone = settings("train", ["backbone=tiny_from_scratch"], "backbone")["backbone"]
    return {part: backbone[part] for part in ("unet", "vae", "scheduler")}


def model_config(name: str) -> Config:
    chosen = [f"model={name}", "backbone=tiny_from_scratch"]
    whole = ["model.trainable=all"] if name == "catvton" else []
    return settings("train", [*chosen, *whole], "model")["model"]


def same(one: PersonGenerator, other: PersonGenerator) -> bool:
    """In all that checkpoints keep."""
    states, kept = (
        (one.state_dict(), other.state_dict()),
        one.state_dict().keys() - one.excluded_keys(),
    )
    return all(torch.equal(states[0][key], states[1][key]) for key in kept)


def checkpoint(path: Path, model: PersonGenerator, **extra: Any) -> Path:
    """As train.py writes them: without what is frozen."""
    excluded = model.excluded_keys()
    state = {
        f"model.{key}": value for key, value in model.state_dict().items() if key not in excluded
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "config": {"model": {}}, **extra}, path)
    return path


@pytest.fixture(params=["leffa", "catvton", "idm_vton", "cfld"])
def kind(request: pytest.FixtureRequest) -> str:
    needed = {"idm_vton": "transformers", "cfld": "timm"}
    if request.param in needed:
        pytest.importorskip(needed[request.param])
    return str(request.param)


def test_any_model_starts_from_a_run_its_checkpoint_or_what_it_was_exported_to(
    kind: str, tmp_path: Path
) -> None:
    config = model_config(kind)
    trained = first_model(config, None)
    assert not same(first_model(config, None), trained)
    file = checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt", trained)
    assert find_start(tmp_path / "run").place == find_start(file).place == file
    assert same(first_model(config, find_start(file)), trained)
    fed = InputSpec("tryon", 64, 48)
    kept = ModelSettings(fed, source="x.ckpt", config={"model": config})
    save_exported(trained, tmp_path / "exported", kept, card="")
    assert same(first_model(config, find_start(tmp_path / "exported")), trained)


def test_starts_from_a_released_file(base: Config, tmp_path: Path) -> None:
    trained, model = LeffaModel(**base), LeffaModel(**base)
    save_official(trained, tmp_path / "official.safetensors")
    load_start(model, find_start(tmp_path / "official.safetensors"))
    assert same(model, trained)


@pytest.mark.parametrize("name", BASELINES)
def test_a_shipped_baseline_has_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own folder of that name goes before it."""
    config = settings("train", ["model=leffa", "backbone=tiny"], "model")["model"]
    shipped = load_file(BASELINES[name] / WEIGHTS)
    state = first_model(config, find_start(name)).state_dict()
    assert all(torch.equal(state[key], value.float()) for key, value in shipped.items())
    assert load_model(Path(name)).inputs.task == name.removesuffix("_baseline")
    monkeypatch.chdir(tmp_path)
    own = checkpoint(tmp_path / name / "checkpoints" / "last.ckpt", first_model(config, None))
    assert find_start(name).place == own.relative_to(tmp_path)


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (
            ["backbone=tiny_from_scratch"],
            "the backbone begins with random weights.* add start_from=null",
        ),
        (
            ["model.parts=[mask,masked_source]"],
            "is of another model: .*; start_from=null begins without",
        ),
    ],
)
def test_a_baseline_replaces_nothing_that_was_asked_for(chosen: list[str], reason: str) -> None:
    config = settings("train", ["backbone=tiny", *chosen], "model")["model"]
    with pytest.raises(ValueError, match=f"start_from=.*tryon_baseline: {reason}"):
        first_model(config, find_start("tryon_baseline"))


def test_a_published_base_is_told_from_a_start(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    model = first_model(model_config("idm_vton"), None)
    with pytest.raises(ValueError, match=f"backbone=idm_vton_published backbone.source={tmp_path}"):
        load_start(model, find_start(tmp_path))


def test_starts_from_the_running_average_where_there_is_one(base: Config, tmp_path: Path) -> None:
    model = LeffaModel(**base)
    name = "model.generative_unet.conv_out.bias"
    average = {"weights": {name: torch.full_like(model.generative_unet.conv_out.bias, 7.0)}}
    load_start(model, find_start(checkpoint(tmp_path / "a.ckpt", model, ema=average)))
    assert (model.generative_unet.conv_out.bias == 7.0).all()


def test_a_checkpoint_is_read_once(
    base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, read = LeffaModel(**base), []
    path = checkpoint(tmp_path / "a.ckpt", model)
    monkeypatch.setattr(
        "leffa.inference.checkpoints.read_pickle",
        lambda file: read.append(file) or torch.load(file, weights_only=True),
    )
    start = find_start(path)
    assert start.inputs is None  # this one does not say
    load_start(model, start)
    assert read == [path]


def test_another_architecture_is_refused(base: Config, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a.ckpt", LeffaModel(**base, parts=["densepose"]))
    with pytest.raises(ValueError, match=f"start_from={path}: is of another model"):
        load_start(LeffaModel(**base), find_start(path))


def test_weights_that_no_checkpoint_would_keep_are_refused(tmp_path: Path) -> None:
    """Of a network that was trained as a whole, where only its attention is trained now."""
    chosen = settings("train", ["model=catvton", "backbone=tiny"], "model")["model"]
    path = checkpoint(tmp_path / "a.ckpt", first_model(chosen | {"trainable": "all"}, None))
    with pytest.raises(ValueError, match=r"of its weights are frozen here.*model\.trainable=all"):
        first_model(chosen, find_start(path))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"start_from=nowhere.pth: no such file or folder"):
        find_start("nowhere.pth")


def test_adapters_are_no_start(base: Config, tmp_path: Path) -> None:
    model, config = LeffaModel(**base), {"model": {"lora": {"rank": 4}}}
    with pytest.raises(ValueError, match="low-rank adapters"):
        load_start(model, find_start(checkpoint(tmp_path / "a.ckpt", model, config=config)))


def test_another_noise_schedule_is_said(
    base: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LeffaModel(**base)
    scheduler = {**base["scheduler"], "prediction_type": "epsilon"}
    path = checkpoint(tmp_path / "a.ckpt", model, config={"model": {"scheduler": scheduler}})
    with caplog.at_level(logging.WARNING):
        load_start(model, find_start(path))
    assert "was trained with prediction_type=epsilon in its noise schedule" in caplog.text
    assert "and this run has v_prediction" in caplog.text


def test_the_schedule_can_end_in_pure_noise(base: Config) -> None:
    scheduler = {**base["scheduler"], "rescale_betas_zero_snr": False}
    model = LeffaModel(**{**base, "scheduler": scheduler}, zero_terminal_snr=True)
    assert model.schedule.alphas_cumprod[-1] == pytest.approx(0, abs=1e-6)


def test_adapters_begin_at_zero_and_are_all_that_is_trained(
    base: Config, tmp_path: Path, predicted: Callable[[LeffaModel], torch.Tensor]
) -> None:
    pytest.importorskip("peft")
    path = checkpoint(tmp_path / "a.ckpt", LeffaModel(**base))
    plain = LeffaModel(**base)
    adapted = LeffaModel(**base, lora={"rank": 4, "alpha": 4})
    for model in (plain, adapted):
        load_start(model.eval(), find_start(path))
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert torch.equal(predicted(plain), predicted(adapted))


@pytest.fixture
def predicted() -> Callable[[LeffaModel], torch.Tensor]:
    batch = {key: torch.randn(1, n, 64, 48) for key, n in (("source", 3), ("reference", 3))}
    batch |= {"mask": torch.ones(1, 1, 64, 48), "densepose": torch.randn(1, 3, 64, 48)}

    def predict(model: LeffaModel) -> torch.Tensor:
        noisy = torch.ones(1, *model.latent_shape(batch))  # type: ignore[arg-type]
        known = model.encode(batch)  # type: ignore[arg-type]
        return model.predict_noise(noisy, torch.tensor([300]), known).noise

    return predict


def test_a_start_that_lacks_weights_is_refused_though_they_are_frozen(
    base: Config, tmp_path: Path
) -> None:
    """Under adapters nothing else is trained, and all of it must be there."""
    pytest.importorskip("peft")
    model = LeffaModel(**base)
    path = checkpoint(tmp_path / "a.ckpt", model)
    content = torch.load(path, weights_only=True)
    del content["state_dict"]["model.generative_unet.conv_out.bias"]
    torch.save(content, path)
    add_lora((model.reference_unet, model.generative_unet), rank=2, alpha=2)
    with pytest.raises(ValueError, match=r"1 keys are missing \(generative_unet\.conv"):
        load_start(model, find_start(path))


def test_peft_is_asked_for_where_it_is_missing(
    base: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install peft"):
        LeffaModel(**base, lora={"rank": 4, "alpha": 4})
