"""The published weights that `leffa weights` knows, from `catalogue.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Released:
    """Weights that others published.

    Args:
        purpose: what they are, in words.
        licence: theirs and that of what they were trained on, in words.
        seen: when their addresses were last known to be right.
        parts: by hub repository, paths of files or patterns of them.
        about: the size of all files, in gigabytes; None where it is not known.
        urls: addresses outside the hub, and the sizes of their files in bytes, about.
        by_hand: where a person gets them, in words; None: from the hub.
        preset: of `models.export.OFFICIAL`, how they are fed.
        experiment: of conf/experiment, the same for a model that is built of its published parts.
        bases: of such a model: overrides of the experiment, and the repositories they name. Its
            weights are the first of `parts`: one file, or several, whose folder it is.
    """

    name: str
    purpose: str
    licence: str
    seen: date
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    about: float | None = None
    urls: Mapping[str, int] = field(default_factory=dict)
    by_hand: str | None = None
    preset: str | None = None
    experiment: str | None = None
    bases: Mapping[str, str] = field(default_factory=dict)


def read_catalogue() -> dict[str, Released]:
    """By name, in the file's order."""
    entries = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    found = {}
    for name, entry in entries.items():
        parts = {repo: tuple(files) for repo, files in entry.pop("parts", {}).items()}
        found[name] = Released(name, **entry, parts=parts)
    return found


def named(name: str) -> Released:
    """The entry of this name; raises ValueError where there is none."""
    catalogue = read_catalogue()
    if name not in catalogue:
        raise ValueError(f"{name}: no such weights; choose from {', '.join(catalogue)}")
    return catalogue[name]
