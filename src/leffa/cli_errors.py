"""User errors on the command line: one line that names the key and the remedy."""

import difflib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

PLUGINS = {
    "joblib": "hydra-joblib-launcher",
    "submitit": "hydra-submitit-launcher",
    "optuna": "hydra-optuna-sweeper",
}

# What other projects call a key -> the last part of its name here.
MEANT = {"lr": "learning_rate", "epochs": "max_steps", "max_epochs": "max_steps"}

Compose = Callable[[list[str]], dict[str, Any]]


def check_overrides(
    arguments: list[str], compose: Compose, config_errors: tuple[type[Exception], ...], conf: Path
) -> dict[str, Any] | None:
    """Compose once before the program does, to say in one line what is wrong with the overrides.

    Args:
        arguments: the command line after the program's name.
        compose: from overrides to the configuration, as plain values.
        config_errors: what `compose` raises when an override is wrong.

    Returns:
        The configuration; None where an argument is an option, of Hydra's own.

    Raises:
        SystemExit: an override is wrong; the line stands on stderr.
    """
    if any(argument.startswith("-") for argument in arguments):
        return None  # --help, --cfg, and sweeps, whose values are lists
    try:
        return compose(arguments)
    except config_errors as error:
        fail(error, _suggestion(arguments, compose, config_errors, conf, str(error)))
    except ValueError as error:  # Hydra's, where YAML reads the name of a file as something else
        for argument in arguments:
            group = conf / argument.partition("=")[0]
            if group.is_dir() and type(error) is ValueError and "override must be" in str(error):
                fail(ValueError(f"{argument}: {group.name} is one of: {_choices(group)}"))
        raise


def check_plugins(arguments: list[str]) -> None:
    """End the program where a launcher or sweeper is asked for whose package is not installed."""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in ("hydra/launcher", "hydra/sweeper", "sweep"):
            continue
        for word, package in PLUGINS.items():
            module = f"hydra_plugins.{package.replace('-', '_')}"
            if word in value and not _installed(module):
                fail(ValueError(f"{argument} needs the package {package}: pip install {package}"))


def fail(error: Exception, hint: str = "") -> NoReturn:
    """End the program with one line; HYDRA_FULL_ERROR=1 shows the trace instead.

    An error that lists several `problems`, as `FolderMismatch` does, has a line for each. Of other
    messages the first line is enough: Hydra's go on with where it happened.
    """
    if os.environ.get("HYDRA_FULL_ERROR"):
        raise error
    first = " ".join(str(error).split("\n")[0].split()).rstrip(".")
    problems = [f"- {problem}" for problem in getattr(error, "problems", ())]
    print("\n".join([f"error: {first}{hint}", *problems]), file=sys.stderr)
    sys.exit(1)


def quoted(value: object) -> str:
    """As a Hydra override's value, whatever characters it has."""
    escaped = str(value).replace("'", r"\'")
    return f"'{escaped}'"


def is_memory_full(error: Exception) -> bool:
    """Whether this is `torch.OutOfMemoryError`; by its name, since quick commands need no torch."""
    return type(error).__name__ == "OutOfMemoryError"


def memory_full(remedy: str) -> ValueError:
    """What that means to the user; `remedy` says which key or option needs less memory."""
    return ValueError(f"the GPU has too little free memory: {remedy}, or stop other jobs on it")


def dotted(node: Any, prefix: str = "") -> dict[str, Any]:
    """Everything in a configuration, groups and values, by its dotted key."""
    found = {prefix: node} if prefix else {}
    if isinstance(node, dict):
        for name, value in node.items():
            found |= dotted(value, f"{prefix}.{name}" if prefix else name)
    return found


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # no plugin at all
        return False


def _suggestion(
    arguments: list[str],
    compose: Compose,
    config_errors: tuple[type[Exception], ...],
    conf: Path,
    message: str,
) -> str:
    """A name close to the misspelt one: a key, or a file of a config group."""
    if missing := re.match("You must specify '([a-z_/]+)'", message):
        return f"; {missing[1]} is one of: {_choices(conf / missing[1])}"
    for argument in arguments:
        key, _, value = argument.lstrip("+~").partition("=")
        if key not in message and value not in message:
            continue
        if (group := conf / key).is_dir():
            if (group / f"{value}.yaml").is_file():
                continue
            if (instead := _retired(conf).get(argument)) is not None:
                return f"; give {instead} instead"
            return nearest(value, _choices(group).split(", "), f"{key} is one of")
        try:
            keys = dotted(compose([other for other in arguments if other != argument]))
        except config_errors:
            return ""
        if key in keys:
            continue
        last = key.rpartition(".")[2]
        inner = MEANT.get(last, last)
        for name, values in keys.items():
            if isinstance(values, list) and any(isinstance(v, dict) and inner in v for v in values):
                return f"; entries of {name} have it: {name}.0.{inner}={value} sets the first one's"
        if same := [name for name in keys if inner != last and name.endswith(f".{inner}")]:
            return f"; did you mean {same[0]}?"
        if close := nearest(key, keys):
            return close
    return ""


def _retired(conf: Path) -> dict[str, str]:
    """What to give in the place of choices that are no more."""
    import yaml

    found: dict[str, str] = yaml.safe_load((conf / "retired.yaml").read_text(encoding="utf-8"))
    return found


def _choices(group: Path) -> str:
    return ", ".join(sorted(path.stem for path in group.glob("*.yaml")))


def nearest(word: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """The end of a message about a name that is not known: the one that was probably meant.

    Args:
        otherwise: what the list of all is called where none is close; None: no list.
    """
    known, cutoff = list(known), 0.6 if otherwise is None else 0.8
    begun = [name for name in known if len(word) > 3 and name.startswith(word)]
    if close := begun[:3] or difflib.get_close_matches(word, known, n=1, cutoff=cutoff):
        return f"; did you mean {' or '.join(close)}?"
    return "" if otherwise is None else f"; {otherwise}: {', '.join(known)}"
