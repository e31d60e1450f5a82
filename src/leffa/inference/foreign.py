"""Build a model from the configuration inside a file of weights, which a stranger may have written.

Such a configuration names a function to call, so a checkpoint of nothing but plain data could still
run code. What it names is therefore called only where `conf/`, which is the user's own, names the
same, and with plain values only.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from leffa.conf_folder import CONF
from leffa.io.terminal import first_line
from leffa.models.interface import PersonGenerator

TARGET = "_target_"
# In a model's configuration: what fills networks that every checkpoint holds.
FILLING = ("encoder_weights", "start_from")
RENAMED = {"leffa.training.start.build_from": "leffa.models.leffa.LeffaModel"}
METHOD = ".build"  # of its class, by which earlier versions built a model
_SHOWN = 60  # characters of a stranger's text in a message


def build_model(config: Mapping[str, Any], file: Path) -> PersonGenerator:
    """The model that a configuration describes, without trained weights.

    Raises:
        FileNotFoundError: the base that it is built over is gone.
        ValueError: see `model_part`; or it cannot be built from these values.
    """
    part = model_part(config, file)
    for key in FILLING:
        part.pop(key, None)
    target = part.pop(TARGET)
    try:
        return pkgutil.resolve_name(target)(**part)
    except (TypeError, LookupError, AttributeError, RuntimeError, ImportError) as error:
        reason = first_line(error)
        raise ValueError(
            f"{file}: its model cannot be built ({type(error).__name__}: {reason})"
        ) from error


def model_part(config: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The part of a configuration that builds the model, as a copy that is safe to build.

    Raises:
        ValueError: it is missing, or asks for something that `conf/` does not build.
    """
    part = config.get("model")
    if not isinstance(part, dict):
        raise ValueError(f"{file}: its configuration has no model, so nothing is built from it")
    target = part.get(TARGET)
    known = _targets(CONF)
    if isinstance(target, str) and target not in known:
        bare = RENAMED.get(target, target).removesuffix(METHOD)
        target = bare if bare in known else target
    if not isinstance(target, str) or target not in known:
        raise ValueError(
            f"{file}: its configuration calls {_shown(target)} to build its model, which no file "
            f"of {CONF / 'model'} does, so it is not loaded; if you trust it, add such a file"
        )
    content = {key: value for key, value in part.items() if key != TARGET}
    if found := next(_instructions(content, "model"), None):
        raise ValueError(
            f"{file}: its configuration has an instruction to Hydra among the values, "
            f"{_shown(found[0])}: {_shown(found[1])}, so it is not loaded"
        )
    return content | {TARGET: target}


@cache
def _targets(conf: Path) -> frozenset[str]:
    """What the files of the group `model`, and the experiments that change it, build it with."""
    parts = [_read(path) for path in (conf / "model").rglob("*.yaml")]
    parts += [_read(path).get("model", {}) for path in (conf / "experiment").rglob("*.yaml")]
    return frozenset(str(part[TARGET]) for part in parts if TARGET in part)


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _instructions(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """What is no plain value to Hydra or OmegaConf: keys such as `_target_`, and interpolations,
    which can make such keys or read the environment."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            name = str(key)
            if name.startswith("_") and name.endswith("_"):
                yield f"{place}.{name}", value
            yield from _instructions(value, f"{place}.{name}")
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _instructions(value, f"{place}[{number}]")
    elif isinstance(node, str) and "${" in node:
        yield place, node


def _shown(text: Any) -> str:
    line = repr(text)  # one line, whatever it holds
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
