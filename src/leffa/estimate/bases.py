"""What conf/backbone names on the hub: the form of each, so that nothing need be downloaded."""

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
# Path -> what a JSON file holds, or a text; by the folder on the hub.
FOLDERS: dict[str, dict[str, dict[str, Any] | str]] = _FORMS["folders"]
FILES: dict[str, dict[str, Any]] = _FORMS["files"]
_ON_THE_HUB = re.compile(r"[\w-][\w.-]*(/[\w.-]+)+")


def without_weights(model: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A model's configuration with config files alone in the place of what lies on the hub.

    Local sources stay, and so does the rest. What only fills a network is left out: a
    network whose shapes are known without it.

    Args:
        model: as in conf/model, resolved.
        folder: where the config files are written.

    Raises:
        ValueError: a hub id that is not known here.
    """
    return {
        key: _form(f"model.{key}", value, folder)
        for key, value in model.items()
        if key not in FILLING
    }


def _form(key: str, value: Any, folder: Path) -> Any:
    if (
        not isinstance(value, str)
        or not _ON_THE_HUB.fullmatch(value)
        or Path(value).exists()  # of the user's own
    ):
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
        file.write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
        )
    return str(folder / value)
