"""The config files of what conf/backbone names on the hub, so that nothing need be downloaded."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from leffa.inference.foreign import FILLING

_FORMS = yaml.safe_load(Path(__file__).with_name("bases.yaml").read_text(encoding="utf-8"))
SD15_UNET: dict[str, Any] = _FORMS["unets"]["sd15"]
SDXL_UNET: dict[str, Any] = _FORMS["unets"]["sdxl"]
VAE: dict[str, Any] = _FORMS["vae"]
SCHEDULER: dict[str, Any] = _FORMS["scheduler"]
# Path -> what a JSON file holds, or a text; by the folder on the hub.
FOLDERS: dict[str, dict[str, dict[str, Any] | str]] = _FORMS["folders"]
FILES: dict[str, dict[str, Any]] = _FORMS["files"]
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)+")


def without_weights(model: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A model's configuration with local config files in the place of hub ids.

    Args:
        model: as in conf/model, resolved.

    Raises:
        ValueError: a hub id that is not known here.
    """
    return {
        key: _local(f"model.{key}", value, folder)
        for key, value in model.items()
        if key not in FILLING
    }


def _local(key: str, value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_local(f"{key}.{index}", each, folder) for index, each in enumerate(value)]
    on_the_hub = isinstance(value, str) and _HUB_ID.fullmatch(value)
    if not on_the_hub or Path(value).exists():
        return value
    if value in FILES:
        return FILES[value]
    known = next((name for name in FOLDERS if f"{value}/".startswith(f"{name}/")), None)
    if known is None:
        raise ValueError(
            f"{key}={value}: its shape is not known here; give a local copy, or one of "
            f"{', '.join([*FOLDERS, *FILES])}"
        )
    for name, content in FOLDERS[known].items():
        file = folder / known / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        file.write_text(text, encoding="utf-8")
    return str(folder / value)
