"""What tests need again and again is composed, read, built or loaded once in each process."""

import io
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from leffa.io.weights import read_pickle

_BUILT: dict[str, nn.Module] = {}


@pytest.fixture(scope="session", autouse=True)
def _compose_once() -> Iterator[None]:
    """The same configuration is composed once, and the same YAML parsed once: two thirds of the
    time. Unpickling gives a copy of its own quicker than `deepcopy`."""
    load, compose = OmegaConf.load, hydra.compose

    @cache
    def parsed(text: str) -> bytes:
        return pickle.dumps(load(io.StringIO(text)))

    @cache
    def composed(name: str, *overrides: str, **options: bool) -> bytes:
        return pickle.dumps(compose(name, list(overrides), **options))

    def load_once(file: Any) -> Any:
        text = file.read() if hasattr(file, "read") else Path(file).read_text(encoding="utf-8")
        return pickle.loads(parsed(text))

    def compose_once(name: str, overrides: Sequence[str], **options: bool) -> Any:
        return pickle.loads(composed(name, *overrides, **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OmegaConf, "load", load_once)
        patch.setattr(hydra, "compose", compose_once)
        yield


@cache
def _content(path: Path, size: int, modified: int) -> Any:
    return read_pickle(path)


@pytest.fixture(scope="module")
def read_once() -> Iterator[None]:
    """Checkpoints that many tests load are unpickled once while they stay as they are."""

    def read(path: Path) -> Any:
        status = path.stat()
        content = _content(path, status.st_size, status.st_mtime_ns)
        if isinstance(content, dict) and "config" in content:
            return content | {"config": deepcopy(content["config"])}
        return content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leffa.inference.checkpoints.read_pickle", read)
        yield


@pytest.fixture(scope="module")
def built_once() -> Iterator[None]:
    """Weights of the same kind are loaded into copies of one model, which is built once."""
    from leffa.inference.foreign import build_model, model_part

    def build(config: Mapping[str, Any], file: Path) -> nn.Module:
        part = json.dumps(model_part(config, file), sort_keys=True)
        if part not in _BUILT:
            _BUILT[part] = build_model(config, file)
        return deepcopy(_BUILT[part])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leffa.inference.loaded.build_model", build)
        yield


@cache
def _loaded(place: Path, modified: int, *given: str | None) -> Any:
    from leffa.inference.loaded import load_model

    return load_model(place, *given)


@pytest.fixture(scope="module")
def loaded_once() -> Iterator[None]:
    """Weights that many commands only look at are loaded once while they stay as they are."""
    from leffa.inference.loaded import find_weights

    def load(place: Path, *given: str | None, file: Path | None = None) -> Any:
        return _loaded(place, find_weights(place).stat().st_mtime_ns, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leffa.inference.load_model", load)
        patch.setattr("leffa.run.evaluation.load_model", load)
        yield


@pytest.fixture(scope="session")
def lightened() -> Callable[[Path], Path]:
    """A run's folder whose last checkpoint lacks the optimiser's state, which no loading of the
    model needs and half of the reading takes."""

    def lighten(run: Path) -> Path:
        path = run / "checkpoints" / "last.ckpt"
        torch.save(torch.load(path, weights_only=True) | {"optimizer_states": []}, path)
        return run

    return lighten
