"""The model card of an exported folder: what a stranger must know before using the weights.

Its text is the template `card.md`, the terms of others are in `card.toml`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leffa.data.batch import SYNTHETIC
from leffa.io.pages import render
from leffa.models.export import MERGED_ADAPTERS, ModelSettings

SUMMARY = "These lines are a summary; the terms on the publishers' own pages decide."
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
    stages = config.get("curriculum", {}).get("stages", [])
    return render(
        "models/card.md",
        settings=settings,
        kind=kind,
        pipeline=kind == LEFFA,
        task="virtual try-on" if settings.inputs.task == "tryon" else "pose transfer",
        name=official or config.get("name", "model"),
        inputs=_inputs(settings).items(),
        official=terms["official"][official] if official else None,
        facts=_facts(settings).items(),
        stages=(
            [column.replace("_", " ") for column in STAGE],
            [[stage.get(column, "") for column in STAGE] for stage in stages],
        ),
        results=_results(evaluations),
        rights=_rights(settings, official, terms),
    )


def _inputs(settings: ModelSettings) -> dict[str, str]:
    inputs, sampler = settings.inputs, settings.sampler
    masked = f"a mask file, or the recipe `{inputs.recipe}`" if inputs.recipe else "a mask file"
    return {
        "pictures": f"{inputs.height}x{inputs.width} (height x width)",
        "densepose": inputs.densepose,
        "mask": "everything" if inputs.task == "pose" else masked,
        "sampler": f"{sampler.scheduler}, {sampler.steps} steps, guidance {sampler.guidance}",
    }


def _facts(settings: ModelSettings) -> dict[str, Any]:
    config = settings.config or {}
    data = config.get("data", {})
    trained = data.get("train", {}).get("_target_", "unknown").rsplit(".", 1)[-1]
    done = f"{settings.step} optimiser steps" if settings.step is not None else "unknown"
    facts = {
        "experiment": config.get("run_name", config.get("name", "unknown")),
        "data": f"{trained}{' (synthetic, made by this package)' if _synthetic(data) else ''}",
        "steps": done,
        "seed": config.get("seed", "unknown"),
        "Leffa loss": _leffa_loss(config.get("leffa_loss", {})),
    }
    if lora := config.get(MERGED_ADAPTERS):
        listed = ", ".join(f"{key} {value}" for key, value in lora.items())
        facts["adapters"] = f"low-rank, {listed}, merged into the weights"
    return facts


def _leffa_loss(loss: Mapping[str, Any]) -> str:
    if not loss:
        return "unknown"
    if not (loss.get("enabled", True) and loss.get("weight", 1)):
        return "off"
    keys = ("weight", "temperature", "min_resolution", "layers", "max_timestep", "blur")
    return ", ".join(f"{key} {loss[key]}" for key in keys if key in loss)


def _results(evaluations: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    rows = []
    for found in evaluations:
        count = f"{found['samples']}" + (" (a part)" if found.get("subset_of") else "")
        for metric, value in found["metrics"].items():
            if metric.count("/") == 1 and isinstance(value, int | float):
                rows.append((found["dataset"], count, metric, f"{value:.4f}"))
    return rows


def _rights(settings: ModelSettings, official: str | None, terms: Terms) -> list[str]:
    if official:
        return [
            "The released code and weights of Leffa: MIT, by their publisher.",
            "They were trained on data with its own terms. "
            + terms["data"][terms["official"][official][1]],
            SUMMARY,
        ]
    config = settings.config or {}
    data, backbone = config.get("data", {}), config.get("backbone", {})
    target = str(data.get("train", {}).get("_target_", ""))
    known = next((text for word, text in terms["data"].items() if f".{word}." in target), None)
    if _synthetic(data):
        known = "Synthetic, made by this package: Apache-2.0."
    base = str(backbone.get("source") or backbone.get("unet") or "")
    licence = next((text for word, text in terms["base"].items() if word in base), None)
    if isinstance(backbone.get("unet"), dict):
        licence = "No pretrained base."
    started = _started_from(config, terms)
    return [
        f"Training data. {known or 'Unknown; ask whoever trained it.'}",
        f"Base. {licence or f'`{base}`: see its own licence.'}",
        *([f"Started from. {started}"] if started else []),
        SUMMARY,
        "Weights inherit all of these terms. Generate pictures of people only with their consent.",
    ]


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
        if file.suffix and file.stem in terms["official"]:
            data = terms["data"][terms["official"][file.stem][1]]
            known = ["Released by Leffa's authors: MIT.", data]
    holding = " ".join(known) or "Its own terms hold for these weights too."
    return f"{', '.join(f'`{place}`' for place in found)}. {holding}"


def _synthetic(data: Mapping[str, Any]) -> bool:
    prepared = str((data.get("prepare") or {}).get("_target_", "")).startswith("leffa.synthetic.")
    return prepared or ("root" in data and (Path(data["root"]) / SYNTHETIC).is_file())
