"""`leffa convert`: weights of every kind into the kind that is wanted.

from                              to --out
a released .pth (with --base)     DIR                       safetensors and json, of Leffa for
                                                            diffusers
a .ckpt or run folder of ours     FILE.ckpt                 only weights: for evaluate.py, `leffa
                                                            predict` and train.py's start_from=
an exported folder                FILE.pth, .safetensors    only Leffa: the layout of the
                                                            released files
                                  DIR or FILE (--published) the layout of the model's authors
published weights of another      FILE.ckpt                 the same as of ours
model (--experiment)
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from leffa.cli_errors import quoted
from leffa.conf_folder import CONF
from leffa.inference.checkpoints import INPUTS
from leffa.inference.loaded import OFFICIAL_SUFFIXES, LoadedModel, load_model, settings_of_run
from leffa.io.atomic import replacing
from leffa.models.card import model_card
from leffa.models.checkpoints import save_official
from leffa.models.export import MERGED_ADAPTERS, ModelSettings, check_target, save_exported
from leffa.models.interface import Input
from leffa.models.leffa import LeffaModel
from leffa.models.lora import merge_adapters


def convert(
    weights: Path,
    out: Path,
    base: str | None = None,
    preset: str | None = None,
    raw: bool = False,
    dtype: str = "float32",
    evaluations: Sequence[Path] = (),
    published: bool = False,
) -> None:
    """Write the weights in the layout that the name `out` asks for; see the module.

    Low-rank adapters are merged into the weights, unless the published layout is one of adapters.

    Args:
        base, preset, raw: see `load_model`.
        dtype: of an exported folder.
        evaluations: folders of `evaluate.py` with these weights, for the model card.
        published: write the layout of the model's authors.

    Raises:
        FileNotFoundError: something is not there.
        ValueError: `out` is there already, or these weights cannot be converted to it.
    """
    check_target(out)
    results = [_read_result(folder) for folder in evaluations]
    to_folder = out.suffix not in (*OFFICIAL_SUFFIXES, ".ckpt") and not published
    if not to_folder and (results or dtype != "float32"):
        raise ValueError(
            f"{out}: --evaluation and --dtype go with a folder as --out, without --published"
        )
    if published and out.suffix == ".ckpt":
        raise ValueError(f"{out}: a .ckpt is of this program; leave --published or .ckpt out")
    trained = load_model(weights, "raw" if raw else None, base, preset)
    if published and isinstance(trained.model, LeffaModel) and out.suffix not in OFFICIAL_SUFFIXES:
        raise ValueError(f"{out}: give --out FILE.pth or FILE.safetensors, which can be read again")
    if published:
        trained.model.save_published(out)
        return
    trained = _merged(trained)
    if to_folder:
        kind = type(trained.model).__name__
        card = model_card(trained.settings, results, trained.official, kind)
        save_exported(trained.model, out, trained.settings, card, dtype)
    elif out.suffix == ".ckpt":
        _save_checkpoint(trained, out)
    elif isinstance(trained.model, LeffaModel):
        # Unused weights are zeros, or those of the file that all of them come from.
        template = weights if trained.official else None
        save_official(trained.model, out, template)
    else:
        raise ValueError(
            f"{out}: the released layout is Leffa's, and {weights} holds a "
            f"{type(trained.model).__name__}; convert to a folder or a .ckpt, or give --published"
        )


def convert_published(
    weights: Path, out: Path, experiment: str, changes: Sequence[str] = ()
) -> None:
    """Write the published weights of a model other than Leffa as a checkpoint of an experiment.

    What the experiment does not train is not in it, as in any checkpoint: the base stays needed.
    Ends the program where an override is wrong.

    Args:
        weights: see docs/reference/models; of a model whose base they are, a folder or hub id.
        experiment: of `conf/experiment`; says the base, and how the model is fed.
        changes: overrides as for train.py, such as backbone.source=DIR.

    Raises:
        FileNotFoundError: something is not there.
        ValueError: `out` is there already or no .ckpt, or the weights are of another model.
    """
    check_target(out)
    if out.suffix != ".ckpt":
        raise ValueError(f"{out}: --experiment makes a checkpoint; give --out FILE.ckpt")
    _save_checkpoint(load_published(weights, experiment, changes), out)


def load_published(weights: Path, experiment: str, changes: Sequence[str] = ()) -> LoadedModel:
    """The model of an experiment, filled with what its authors published; see `convert_published`.

    It is sampled as the experiment says.
    """
    from leffa.run import first_model
    from leffa.training.finetune import find_start

    place = weights.absolute() if weights.exists() else weights  # read again from elsewhere
    config = _published_config(place, experiment, changes)
    start = None
    if config["start_from"] is not None:
        if not weights.exists():
            raise FileNotFoundError(
                f"--weights {weights}: no such file or folder; give what the model's authors "
                "published"
            )
        start = find_start(place)
    model = first_model(config["model"], start).eval()
    return LoadedModel(model, _published_settings(config, weights), weights)


def describe_published(experiment: str) -> tuple[ModelSettings, frozenset[Input]]:
    """How the published model of an experiment is fed and sampled, and what it reads of a person;
    needs no weights."""
    from leffa.run.inputs import declared_inputs

    config = _published_config(Path("none"), experiment, ())
    return _published_settings(config, Path(experiment)), declared_inputs(config["model"])


def _published_config(place: Path, experiment: str, changes: Sequence[str]) -> dict[str, Any]:
    # Imported here: Hydra and Lightning are not for the released files.
    from leffa.run.config import check, choices, compose, resolved

    chosen = [f"experiment={experiment}", *changes]
    written = check("train", chosen)
    if (kind := choices("train", chosen)["model"]).startswith("leffa"):
        raise ValueError(
            f"--experiment {experiment}: is of model={kind}; a released file of Leffa goes with "
            "--base"
        )
    # Where the published weights are a base of their own, a backbone says how they are read.
    backbone = f"{kind}_published"
    told = [f"start_from={quoted(place)}"]
    if (CONF / "backbone" / f"{backbone}.yaml").is_file():
        told = [f"backbone={backbone}", f"backbone.source={quoted(place)}"]
    if written and written["data"]["root"] == "???":
        told.append("data.root=none")  # nothing is trained
    config = resolved(compose("train", [chosen[0], *told, *changes]))
    config["name"] = config["run_name"] = f"{config['name']}_published"
    return config


def _published_settings(config: dict[str, Any], source: Path) -> ModelSettings:
    settings = settings_of_run(config, 0, source)
    steps = config["sampler"]["steps"]  # the authors', not those of a validation
    return replace(settings, sampler=replace(settings.sampler, steps=steps))


def _merged(trained: LoadedModel) -> LoadedModel:
    """The same without adapters, in the model and in the configuration that builds it again."""
    config = trained.settings.config or {}
    adapters = config.get("model", {}).get("lora")
    if not adapters:
        return trained
    merge_adapters(list(trained.model.children()))
    config = {**config, "model": {**config["model"], "lora": None}, MERGED_ADAPTERS: adapters}
    return replace(trained, settings=replace(trained.settings, config=config))


def _save_checkpoint(trained: LoadedModel, out: Path) -> None:
    settings = trained.settings
    if settings.config is None:
        raise ValueError(
            f"{out}: a checkpoint holds the configuration of its training, and the authors "
            "published none; convert to a folder instead"
        )
    content = {
        "state_dict": {f"model.{key}": each for key, each in trained.model.saved_state().items()},
        "global_step": settings.step,
        "config": settings.config,
        INPUTS: asdict(settings.inputs),
    }
    with replacing(out) as temporary:
        torch.save(content, temporary)


def _read_result(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json" if folder.is_dir() else folder
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such result; give a folder that evaluate.py wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not {"metrics", "dataset", "samples"} <= content.keys():
            raise ValueError("it has no metrics, dataset and samples")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: is not a result of evaluate.py ({error})") from error
    return content
