"""Plain data that asks Hydra to run code: a stranger's configuration is not obeyed."""

import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from leffa.cli import main
from leffa.conf_folder import CONF
from leffa.inference import load_model
from leffa.inference.foreign import model_part
from leffa.models.export import FORMAT, is_exported
from leffa.run import compose
from leffa.run.config import build, resolved

Config = dict[str, Any]


def intruder(victim: Path) -> Config:
    """Building it writes a file."""
    return {"_target_": "numpy.savetxt", "fname": str(victim), "X": [1.0]}


def as_model(config: Config, evil: Config) -> None:
    config["model"] = evil


def inside_the_model(config: Config, evil: Config) -> None:
    config["model"]["unet"] = evil


def in_a_list(config: Config, evil: Config) -> None:
    config["model"]["parts"] = ["mask", {"x": evil}]


def as_arguments(config: Config, evil: Config) -> None:
    config["model"]["_args_"] = [evil]


def as_interpolation(config: Config, evil: Config) -> None:
    text = json.dumps(evil).replace('"', "")
    config["model"]["unet"] = f"${{oc.create:'{text}'}}"


PLACES = {
    as_model: "calls 'numpy.savetxt' to build its model, which no file of",
    inside_the_model: "an instruction to Hydra among the values, 'model.unet._target_'",
    in_a_list: "an instruction to Hydra among the values, 'model.parts[1].x._target_'",
    as_arguments: "an instruction to Hydra among the values, 'model._args_'",
    as_interpolation: "an instruction to Hydra among the values, 'model.unet'",
}


@pytest.fixture(scope="module")
def whole(run: Path) -> Config:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture
def content(whole: Config) -> Config:
    """What a checkpoint of ours holds, without the average; the configuration may be changed."""
    kept = {key: value for key, value in whole.items() if key != "ema"}
    return kept | {"config": deepcopy(whole["config"])}


def test_the_intruder_is_one_where_it_is_built(tmp_path: Path) -> None:
    build(intruder(tmp_path / "victim"))
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize("kind", ["checkpoint", "folder"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_nothing_that_a_configuration_asks_for_is_run(
    place: Callable[[Config, Config], None],
    kind: str,
    content: Config,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    victim = tmp_path / "victim"
    place(content["config"], intruder(victim))
    if kind == "checkpoint":
        path = file = tmp_path / "evil.ckpt"
        torch.save(content, file)
    else:
        path = tmp_path / "evil"
        file = path / "leffa.json"
        path.mkdir()
        inputs = {"task": "tryon", "height": 64, "width": 48}
        settings = {"inputs": inputs, "source": "a stranger"}
        file.write_text(json.dumps({"format": FORMAT, **settings, "config": content["config"]}))
        save_file({"weight": torch.ones(1)}, path / "model.safetensors")
        assert is_exported(path)
    assert main(["convert", "--weights", str(path), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err.strip().splitlines()
    assert len(printed) == 1
    assert printed[0].startswith(f"error: {file}: its configuration ")
    assert PLACES[place] in printed[0]
    assert not victim.exists()
    assert not (tmp_path / "out").exists()


def test_what_pictures_do_not_need_is_not_built(content: Config, tmp_path: Path) -> None:
    for part in ("optimizer", "objective", "data", "callbacks", "logger", "trainer"):
        content["config"][part] = intruder(tmp_path / "victim")
    torch.save(content, tmp_path / "evil.ckpt")
    assert load_model(tmp_path / "evil.ckpt").settings.step == 3
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("broken", [{"x": 1}, {"model": "text"}, {"model": [{"_target_": "x"}]}])
def test_a_configuration_without_a_model_is_one_line(
    broken: Config, content: Config, tmp_path: Path
) -> None:
    torch.save(content | {"config": broken}, tmp_path / "broken.ckpt")
    with pytest.raises(ValueError, match=r"broken\.ckpt: its configuration has no model"):
        load_model(tmp_path / "broken.ckpt")


def test_every_model_of_ours_is_known() -> None:
    finetune = ["start_from=x", "data.root=x"]
    chosen = [["experiment=finetune", *finetune], ["experiment=finetune_lora", *finetune]]
    chosen += [[f"model={path.stem}"] for path in sorted((CONF / "model").glob("*.yaml"))]
    for words in chosen:
        config = None
        for base in ([], ["backbone=tiny_flow_matching"]):  # which has parts of transformers
            with suppress(ValueError):  # the base has not what the model is built of
                config = config or resolved(compose("train", [*words, *base, "paths.output_dir=x"]))
        assert config is not None, words
        assert model_part(config, Path("x.ckpt")) == config["model"]


def test_a_fine_tuning_of_an_earlier_version_is_known() -> None:
    """Its model was built by a function that is no more, with the place where it started."""
    before = {"_target_": "leffa.training.start.build_from", "start_from": "x", "lora": None}
    part = model_part({"model": before}, Path("x.ckpt"))
    assert part == before | {"_target_": "leffa.models.leffa.LeffaModel"}


def test_a_model_that_an_earlier_version_built_by_a_method_is_known() -> None:
    part = model_part({"model": {"_target_": "leffa.models.cfld.CFLD.build"}}, Path("x.ckpt"))
    assert part == {"_target_": "leffa.models.cfld.CFLD"}


def test_a_model_of_the_user_s_own_is_known_once_conf_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"model": {"_target_": "mine.Net.build", "width": 3}}
    with pytest.raises(ValueError, match=r"calls 'mine\.Net\.build'.*add such a file"):
        model_part(config, Path("x.ckpt"))
    (tmp_path / "model").mkdir()
    OmegaConf.save({"_target_": "mine.Net.build"}, tmp_path / "model" / "mine.yaml")
    monkeypatch.setattr("leffa.inference.foreign.CONF", tmp_path)
    assert model_part(config, Path("x.ckpt")) == config["model"]
