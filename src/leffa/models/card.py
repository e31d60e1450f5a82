"""The model card of an exported folder: what a stranger must know before using the weights.

Its text is the template `card.md`, the terms of others are in `card.toml`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leffa.data.batch import SYNTHETIC
from leffa.io.pages import render
from leffa.models.export import BASELINES, MERGED_ADAPTERS, ModelSettings

LEFFA = "LeffaModel"
STAGE = ("name", "steps", "height", "width", "batch_size", "learning_rate", "leffa_loss")

Terms = Mapping[str, Mapping[str, Any]]  # of `card.toml`


def model_card(
    settings: ModelSettings,
    evaluations: Sequence[Mapping[str, Any]] = (),
    official: str | None = None,
    kind: str = LEFFA,
) -> str:
    """The card in Markdown, with the front matter that model hubs read.

    Args:
        evaluations: what `evaluate.py` left in `metrics.json`, of these weights.
        official: the name of a released file (`export.OFFICIAL`), if the weights are one.
        kind: the class of the model.
    """
    terms = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    config = settings.config or {}
    data = config.get("data", {})
    synthetic = _is_synthetic(data)
    dataset = data.get("train", {}).get("_target_", "")
    data_set, data_key = terms["official"][official] if official else (None, None)
    return render(
        "models/card.md",
        settings=settings,
        config=config,
        kind=kind,
        pipeline=kind == LEFFA,
        official=data_set,
        official_terms=terms["data"].get(data_key),
        name=official or config.get("name", "model"),
        dataset=dataset.rsplit(".", 1)[-1] or "unknown",
        synthetic=synthetic,
        leffa_loss=_attention_loss(config),
        adapters=_listed(config.get(MERGED_ADAPTERS) or {}),
        stage_columns=STAGE,
        stages=config.get("curriculum", {}).get("stages", []),
        evaluations=evaluations,
        data_terms=next((t for word, t in terms["data"].items() if f".{word}." in dataset), None),
        base_terms=_base_terms(config.get("backbone", {}), terms),
        started_from=_started_from(config, terms),
    )


def _attention_loss(config: Mapping[str, Any]) -> str:
    loss, attention = config.get("leffa_loss", {}), config.get("attention_loss", {})
    stages = config.get("curriculum", {}).get("stages", [])
    if not loss:
        return "unknown"
    in_some_stage = not stages or any(stage.get("leffa_loss") for stage in stages)
    if not (in_some_stage and loss.get("enabled", True) and loss.get("weight", 1)):
        return "off"
    matching = "FlowMatching" in str(config.get("objective", {}).get("_target_"))
    gate = "max_sigma" if matching else "max_timestep"
    keys = ("weight", "temperature", "min_resolution", "layers", gate, "blur")
    shown = {key: loss[key] for key in keys if key in loss}
    other = {key: value for key, value in attention.items() if key != "_target_" and value != 0}
    name = other.pop("name", "leffa")
    if other.get("labels") == "stored":
        other.pop("points", None)  # of ground-truth labels
    if other or name != "leffa":
        shown = {"attention_loss": name, **other, **shown}
    return _listed(shown)


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _base_terms(backbone: Mapping[str, Any], terms: Terms) -> str:
    if isinstance(backbone.get("unet"), dict):
        return "No pretrained base."
    base = str(backbone.get("source") or backbone.get("unet") or "")
    known = (text for word, text in terms["base"].items() if word in base)
    return next(known, f"`{base}`: see its own licence.")


def _started_from(config: Mapping[str, Any], terms: Terms) -> str | None:
    """The weights that a run went on from, and their terms as far as we know them."""
    model = config.get("model", {})
    given = config.get("start_from") or model.get("start_from") or model.get("encoder_weights")
    places = list(given.values()) if isinstance(given, Mapping) else [given]
    if not (found := [str(place) for place in places if place is not None]):
        return None
    target = str(model.get("_target_", ""))
    ours = all(place.endswith(".ckpt") for place in found)
    known = [text for word, text in terms["start"].items() if f".{word}." in target and not ours]
    for place in found:
        file = Path(place)
        if place in BASELINES:
            known = [terms["base"]["shipped"]]
        if file.suffix and file.stem in terms["official"]:
            data = terms["data"][terms["official"][file.stem][1]]
            known = ["Released by Leffa's authors: MIT.", data]
    holding = " ".join(known) or "Its own terms hold for these weights too."
    return f"{', '.join(f'`{place}`' for place in found)}. {holding}"


def _is_synthetic(data: Mapping[str, Any]) -> bool:
    prepared = str((data.get("prepare") or {}).get("_target_", "")).startswith("leffa.synthetic.")
    return prepared or ("root" in data and (Path(data["root"]) / SYNTHETIC).is_file())
