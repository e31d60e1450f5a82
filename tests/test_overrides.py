"""What the command line names wins over the experiment, or a line of the log says what does not."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

from leffa.cli_errors import dotted
from leffa.models.loading import is_flow_matching
from leffa.run import CONF, compose
from leffa.run.config import VERSION_BASE, build, kept_by_experiment, settings
from leffa.run.program import program, train_job

# One that chooses most groups and sets values in most of what is an experiment's own.
EXPERIMENT = "experiment=cfld_256"
OWN = {"data", "objective", "optimizer", "curriculum", "callbacks", "leffa_loss"}
OVERLAYS = {"experiment", "sweep", "debug"}
EVALUATION = {"dataset", "protocol"}
PIECES = {"transform"}  # of other files, never chosen
GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()} - PIECES


def rounds(groups: set[str]) -> list[dict[str, str]]:
    """Group -> choice, so often that every file has its turn: composing takes a while."""
    names = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in groups}
    return [
        {group: choices[turn % len(choices)] for group, choices in names.items()}
        for turn in range(max(map(len, names.values())))
    ]


def words(chosen: dict[str, str]) -> list[str]:
    return [f"{group}={choice}" for group, choice in chosen.items()]


def test_a_choice_on_the_command_line_wins_over_the_experiment() -> None:
    for chosen in rounds(GROUPS - OVERLAYS - EVALUATION):
        with hydra.initialize_config_dir(str(CONF), version_base=VERSION_BASE):
            composed = hydra.compose(
                "train", [EXPERIMENT, *words(chosen)], return_hydra_config=True
            )
        assert composed.hydra.runtime.choices.items() >= chosen.items()
        cfg: Any = OmegaConf.to_container(composed)
        for group, choice in chosen.items():
            named = dotted(OmegaConf.to_container(OmegaConf.load(CONF / group / f"{choice}.yaml")))
            named.pop("defaults", None)
            if group not in OWN:
                # A file may change part of what it inherits: its leaves are compared.
                leaves = {key: each for key, each in named.items() if not isinstance(each, dict)}
                assert dotted(cfg[group]).items() >= leaves.items()


def test_a_preset_leaves_nothing_of_the_experiment_s() -> None:
    cfg = compose("train", ["experiment=idm_vton_vitonhd", "hardware=gpu_24gb"])
    assert cfg.hardware == compose("train", ["hardware=gpu_24gb"]).hardware


def test_every_overlay_protocol_and_sampler_composes() -> None:
    """The data sets do in a test of their own."""
    for chosen in rounds(OVERLAYS):
        if chosen["sweep"] != "tau_lambda_optuna":  # needs a plugin
            assert compose("train", words(chosen)).name
    for chosen in rounds({"protocol", "sampler"}):
        assert compose("evaluate", ["dataset=synthetic_tryon", *words(chosen)]).name


def test_a_sweep_with_optuna_composes() -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    assert compose("train", ["sweep=tau_lambda_optuna"]).name


def test_an_experiment_sets_nothing_that_a_choice_of_another_group_must_set() -> None:
    """A preset of a device or a sampler has a name of its own in its group; options of its model
    are the experiment's, and the log names them where another model is chosen."""
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        content = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(content, dict)
        assert not content.keys() & (GROUPS - OWN - {"model"}), path
        assert "enabled" not in content.get("leffa_loss", {}), path
        assert "/leffa_loss" not in str(content.get("defaults", [])), path


def test_training_and_evaluation_read_a_data_set_alike() -> None:
    """Both have the transform of conf/transform, and nothing of it again."""
    for path in [*(CONF / "data").glob("*.yaml"), *(CONF / "dataset").glob("*.yaml")]:
        content = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(content, dict)
        own = content.get("transform", {}).keys() & {"task", "densepose", "label_set"}
        assert not own or path.stem == "wpose", path  # which is for evaluation alone


@pytest.mark.parametrize("overlay", ["debug", "sweep"])
def test_an_overlay_chooses_presets_and_does_not_change_them(overlay: str) -> None:
    for path in sorted((CONF / overlay).glob("*.yaml")):
        content = OmegaConf.to_container(OmegaConf.load(path))
        assert isinstance(content, dict)
        assert not content.keys() & {"hardware", "logger", "model", "backbone"}, path
        assert "enabled" not in content.get("leffa_loss", {})


def test_the_tiny_backbone_is_of_the_kind_that_the_objective_trains() -> None:
    for path in (CONF / "objective").glob("*.yaml"):
        cfg = compose("train", [f"objective={path.stem}", "debug=tiny"])
        scheduler = OmegaConf.to_container(cfg.backbone.scheduler)
        assert isinstance(scheduler, dict)
        assert is_flow_matching(scheduler) == (path.stem == "flow_matching")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_hydra: None) -> Iterator[Any]:
    """What train.py would say of these overrides."""

    def run(*arguments: str) -> list[str]:
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
        output = f"paths.output_dir={tmp_path}"
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments, output, *quiet])
        found: list[list[str]] = []
        program("train", lambda cfg: found.append(kept_by_experiment(cfg)))
        return found[0]

    yield run
    logging.disable(logging.NOTSET)


def test_what_an_experiment_keeps_of_a_chosen_group_is_said(kept: Any) -> None:
    chosen = ["experiment=catvton_vitonhd", "data=dress_code", "data.train.densepose=labels"]
    (line,) = kept(*chosen, "hardware=gpu_24gb", "leffa_loss=off", "sampler=official")
    assert line == (
        "data=dress_code: experiment=catvton_vitonhd keeps data.transform.densepose=none, "
        "data.val.densepose=none; name a key to change it"
    )


def test_an_experiment_s_option_that_another_model_lacks_can_be_removed() -> None:
    chosen = ["experiment=virtual_tryon_1024", "model=catvton", "backbone=tiny"]
    removed = r"CatVTON: .*'parts'; ~GROUP\.parts removes what an experiment sets"
    with pytest.raises(ValueError, match=removed):
        build(settings("train", chosen, "model")["model"])
    assert "parts" not in settings("train", [*chosen, "~model.parts"], "model")["model"]


def test_nothing_is_said_where_the_choice_won(kept: Any) -> None:
    assert kept("experiment=virtual_tryon_1024", "data=dress_code", "backbone=tiny") == []


@pytest.mark.usefixtures("fresh_hydra")
def test_the_jobs_of_a_sweep_have_one_folder_and_a_name_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Also over keys that are usually left out of the names, such as the experiment."""
    monkeypatch.chdir(tmp_path)
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null"]
    swept = ["experiment=viton_256,tryon_synthetic", "start_from=a/b.ckpt,c"]
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", "sweep=common", *swept, *quiet])
    with pytest.raises(SystemExit) as stop:
        program("train", train_job)
    assert stop.value.code == 1
    folders = {path.parent for path in tmp_path.rglob("result.json")}
    assert len(folders) == 4
    assert {path.parents[1].name for path in folders} == {"viton_256_tryon_synthetic"}
    assert "0 finished, 4 failed" in capsys.readouterr().err
