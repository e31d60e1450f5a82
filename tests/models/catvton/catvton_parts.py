"""Tiny bases, and what tests ask a CatVTON on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from leffa.models.catvton import CatVTON

Bases = Callable[[int], Path]


def build(base: Path, **changes: Any) -> CatVTON:
    return CatVTON(base, base, base, **changes)


def attention_names(model: CatVTON) -> set[str]:
    return {name for name, _ in model.named_parameters() if ".attn1." in name}
