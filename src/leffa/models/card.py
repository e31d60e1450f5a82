"""The model card of an exported folder: what a stranger must know before using the weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leffa.data.batch import DRAWN
from leffa.models.export import MERGED_ADAPTERS, ModelSettings

PIPELINE = """\
```python
from leffa.models.pipeline import LeffaPipeline

pipe = LeffaPipeline.from_pretrained(FOLDER)
picture = pipe(person, reference, mask, densepose).images[0]
```

The folders `vae`, `unet` (the generative UNet) and `reference_unet` open with the stock classes of
diffusers. Weights that Leffa does not use (text attention, the reference UNet after its last
recorded layer) are zeros in them."""
COMMAND = """\
    leffa predict --ckpt FOLDER --person PERSON --garment REFERENCE --out OUT

Maps of the person go with it: `--mask`, `--densepose`, `--keypoints`; what is missing is named."""
TERMS = "These lines are a summary; the terms on the publishers' own pages decide."
LEFFA = "LeffaModel"

Validation = tuple[int, Mapping[str, float]]  # after so many steps: metric -> value

# By a word in the data set's class or in the base's name, as we understand the publishers' pages.
# What is not known is said to be unknown.
DATA_RIGHTS = {
    "viton_hd": "VITON-HD: research only, not commercial.",
    "viton": "VITON: research only.",
    "dress_code": "DressCode: research only, on its authors' permission.",
    "deepfashion": "DeepFashion: research only, not commercial.",
    "market1501": "Market-1501: research only.",
    "wpose": "WPose: research only, not commercial.",
    "folder": "A user's own pictures: ask the user.",
}
BASE_RIGHTS = {
    "IDM-VTON": "IDM-VTON as published: CC BY-NC-SA 4.0, not commercial, share alike.",
    "xl": "Stable Diffusion XL: CreativeML Open RAIL++-M.",
    "stable-diffusion": "Stable Diffusion: CreativeML Open RAIL-M.",
    "shipped": "A small network of this package, trained on drawn pictures: Apache-2.0.",
}
# By a word in the class of the model: what its authors published, which `start_from` may name.
START_RIGHTS = {
    "catvton": "CatVTON's published attention is CC BY-NC-SA 4.0: not commercial, share alike.",
}
OFFICIAL_RIGHTS = {
    "virtual_tryon": ("VITON-HD", "viton_hd"),
    "virtual_tryon_dc": ("DressCode", "dress_code"),
    "pose_transfer": ("DeepFashion", "deepfashion"),
}


def model_card(
    settings: ModelSettings,
    evaluations: Sequence[Mapping[str, Any]] = (),
    official: str | None = None,
    kind: str = LEFFA,
    validation: Validation | None = None,
) -> str:
    """The card in Markdown, with the front matter that model hubs read.

    Args:
        evaluations: what `evaluate.py` left in `metrics.json`, of these weights.
        official: the name of a released file (`export.OFFICIAL`), if the weights are one.
        kind: the class of the model.
        validation: what the run itself measured of these weights; told where there is no
            evaluation.
    """
    task = "virtual try-on" if settings.inputs.task == "tryon" else "pose transfer"
    name = official or (settings.config or {}).get("name", "model")
    training = _official_training(official) if official else _training(settings)
    pipeline = kind == LEFFA
    sections = {
        "Use": f"{PIPELINE}\n\n{COMMAND}" if pipeline else COMMAND,
        "Input": _input(settings),
        "Training": training,
        "Results": _results(settings, evaluations, validation),
        "Rights": "\n".join(f"- {line}" for line in _rights(settings, official)),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    library, method = ("diffusers", "Leffa") if pipeline else ("leffa", kind)
    return (
        f"---\nlibrary_name: {library}\npipeline_tag: image-to-image\nlicense: other\n"
        f"tags: [leffa, {task.replace(' ', '-')}]\n---\n\n# {name}: {task} with {method}\n\n"
        f"Made from `{settings.source}`. Leffa loss: arXiv 2412.08486.\n\n{body}\n"
    )


def _input(settings: ModelSettings) -> str:
    sampler = settings.sampler
    rows = {
        "pictures": f"{settings.inputs.height}x{settings.inputs.width} (height x width)",
        "densepose": settings.inputs.densepose,
        "mask": "everything"
        if settings.inputs.task == "pose"
        else f"a mask file, or the recipe `{settings.inputs.recipe}`"
        if settings.inputs.recipe
        else "a mask file",
        "sampler": f"{sampler.scheduler}, {sampler.steps} steps, guidance {sampler.guidance}",
    }
    return _table(("what", "how"), rows.items())


def _training(settings: ModelSettings) -> str:
    config = settings.config or {}
    data, loss = config.get("data", {}), config.get("leffa_loss", {})
    trained = data.get("train", {})
    drawn = " (drawn by this package)" if _drawn(data) else ""
    stages = config.get("curriculum", {}).get("stages", [])
    done = f"{settings.step} optimiser steps" if settings.step is not None else "unknown"
    facts = {
        "experiment": config.get("run_name", config.get("name", "unknown")),
        "data": f"{trained.get('_target_', 'unknown').rsplit('.', 1)[-1]}{drawn}",
        "steps": done,
        "seed": config.get("seed", "unknown"),
        "Leffa loss": _leffa_loss(loss),
    }
    if lora := config.get(MERGED_ADAPTERS):
        facts["adapters"] = f"low-rank, {_listed(lora)}, merged into the weights"
    columns = ("name", "steps", "height", "width", "batch_size", "learning_rate", "leffa_loss")
    table = _table(
        tuple(column.replace("_", " ") for column in columns),
        [[stage.get(column, "") for column in columns] for stage in stages],
    )
    return f"{_table(('what', 'value'), facts.items())}\n\nStages:\n\n{table}"


def _leffa_loss(loss: Mapping[str, Any]) -> str:
    if not loss:
        return "unknown"
    if not (loss.get("enabled", True) and loss.get("weight", 1)):
        return "off"
    keys = ("weight", "temperature", "min_resolution", "max_timestep", "blur")
    return ", ".join(f"{key} {loss[key]}" for key in keys if key in loss)


def _official_training(official: str) -> str:
    return (
        f"Trained by the authors of Leffa on {OFFICIAL_RIGHTS[official][0]} "
        "(github.com/franciszzj/Leffa). The authors call the released models demos; they "
        "published no training configuration."
    )


def _results(
    settings: ModelSettings,
    evaluations: Sequence[Mapping[str, Any]],
    validation: Validation | None,
) -> str:
    if not evaluations and validation is not None:
        step, metrics = validation
        count = (settings.config or {}).get("data", {}).get("val_samples", "few")
        values = [(metric, f"{value:.4f}") for metric, value in sorted(metrics.items())]
        return (
            f"Not evaluated on a test set. What the run measured after step {step} on its {count} "
            "validation samples, to watch the training; these are no benchmark numbers:\n\n"
            f"{_table(('validation metric', 'value'), values)}"
        )
    if not evaluations:
        return "Not evaluated."
    rows = []
    for found in evaluations:
        count = f"{found['samples']}" + (" (a part)" if found.get("subset_of") else "")
        for metric, value in found["metrics"].items():
            if metric.count("/") == 1 and isinstance(value, int | float):
                rows.append([found["dataset"], count, metric, f"{value:.4f}"])
    return _table(("data set", "samples", "metric", "value"), rows)


def _rights(settings: ModelSettings, official: str | None) -> list[str]:
    if official:
        data = DATA_RIGHTS[OFFICIAL_RIGHTS[official][1]]
        return [
            "The released code and weights of Leffa: MIT, by their publisher.",
            f"They were trained on data with its own terms. {data}",
            TERMS,
        ]
    config = settings.config or {}
    data, backbone = config.get("data", {}), config.get("backbone", {})
    target = str(data.get("train", {}).get("_target_", ""))
    known = next((text for word, text in DATA_RIGHTS.items() if f".{word}." in target), None)
    if _drawn(data):
        known = "Drawn by this package: Apache-2.0."
    base = str(backbone.get("source") or backbone.get("unet") or "")
    licence = next((text for word, text in BASE_RIGHTS.items() if word in base), None)
    if isinstance(backbone.get("unet"), dict):
        licence = "No pretrained base."
    started = _started_from(config)
    return [
        f"Training data. {known or 'Unknown; ask whoever trained it.'}",
        f"Base. {licence or f'`{base}`: see its own licence.'}",
        *([f"Started from. {started}"] if started else []),
        TERMS,
        "Weights inherit all of these terms. Generate pictures of people only with their consent.",
    ]


def _started_from(config: Mapping[str, Any]) -> str | None:
    """The weights that a run went on from, and their terms as far as we know them."""
    model = config.get("model", {})
    given = config.get("start_from") or model.get("start_from") or model.get("encoder_weights")
    places = list(given.values()) if isinstance(given, Mapping) else [given]
    if not (found := [str(place) for place in places if place is not None]):
        return None
    target = str(model.get("_target_", ""))
    ours = all(place.endswith(".ckpt") for place in found)
    known = [text for word, text in START_RIGHTS.items() if f".{word}." in target and not ours]
    for place in found:
        file = Path(place)
        if file.suffix and file.stem in OFFICIAL_RIGHTS:
            known = [
                "Released by Leffa's authors: MIT.",
                DATA_RIGHTS[OFFICIAL_RIGHTS[file.stem][1]],
            ]
    terms = " ".join(known) or "Its own terms hold for these weights too."
    return f"{', '.join(f'`{place}`' for place in found)}. {terms}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _drawn(data: Mapping[str, Any]) -> bool:
    prepared = str((data.get("prepare") or {}).get("_target_", "")).startswith("leffa.synthetic.")
    return prepared or ("root" in data and (Path(data["root"]) / DRAWN).is_file())


def _table(header: Sequence[str], rows: Any) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
