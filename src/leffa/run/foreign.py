"""Parts of a configuration that came inside a file of weights.

Hydra's `instantiate` calls whatever function a configuration names, so a checkpoint of nothing but
plain data could still run code. What such a configuration names is therefore built only where
`conf/`, which is the user's own, names the same.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from leffa.run.config import CONF

TARGET = "_target_"
_SHOWN = 60  # characters of a stranger's text in a message


def foreign_part(config: Mapping[str, Any], group: str, file: Path) -> dict[str, Any]:
    """One part of the configuration in a file, as a copy that is safe to build.

    Args:
        config: what the file holds, from whomever.
        group: the config group that the part was chosen from, and its key.
        file: for messages.

    Raises:
        ValueError: the part is missing, or asks for something that `conf/` does not build.
    """
    part = config.get(group)
    if not isinstance(part, dict):
        raise ValueError(f"{file}: its configuration has no {group}, so nothing is built from it")
    target = part.get(TARGET)
    if not isinstance(target, str) or target not in _targets(CONF, group):
        raise ValueError(
            f"{file}: its configuration calls {_shown(target)} to build its {group}, which no file "
            f"of {CONF / group} does, so it is not loaded; if you trust it, add such a file"
        )
    content = {key: value for key, value in part.items() if key != TARGET}
    if found := next(_instructions(content, group), None):
        raise ValueError(
            f"{file}: its configuration has an instruction to Hydra among the values, "
            f"{_shown(found[0])}: {_shown(found[1])}, so it is not loaded"
        )
    return content | {TARGET: target}


@cache
def _targets(conf: Path, group: str) -> frozenset[str]:
    """What the files of a group, and the experiments that change it, build it with."""
    keys = {group: TARGET, "experiment": f"{group}.{TARGET}"}
    found = {
        OmegaConf.select(OmegaConf.load(path), key)
        for folder, key in keys.items()
        for path in (conf / folder).rglob("*.yaml")
    }
    return frozenset(str(target) for target in found if target is not None)


def _instructions(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """What Hydra or OmegaConf would not take for a plain value: keys such as `_target_` and
    `_args_`, and interpolations, which can make such keys or read the environment."""
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
    """On one line, whatever it holds."""
    line = repr(text)
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
