"""Sections of the site that are made from the code, as Markdown."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from importlib import import_module
from inspect import getdoc, isclass, isfunction
from pathlib import Path
from unittest.mock import patch

import yaml

from leffa.cli import COMMANDS, function, main
from leffa.conf_folder import CONF
from leffa.preprocess import agnostic
from leffa.released.catalogue import Released, read_catalogue

WIDTH = "100"  # of the printed help, in characters
PACKAGES = ("losses", "models", "data", "metrics", "inference")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def commands() -> str:
    """Every command: what it does, and its help."""
    return "\n".join(_command(name) for name in COMMANDS)


def _command(name: str) -> str:
    about = (getdoc(function(name)) or "").split("\n")[0]
    printed = io.StringIO()
    width = patch.dict(os.environ, COLUMNS=WIDTH, NO_COLOR="1")
    with width, redirect_stdout(printed), suppress(SystemExit):
        main([name, "--help"])
    return f"## leffa {name}\n\n{about}\n\n```none\n{printed.getvalue().strip()}\n```\n"


def weights() -> str:
    """The catalogue of published weights."""
    rows = [_weights(entry) for entry in read_catalogue().values()]
    return table(("name", "what", "address", "size (GB)", "licence", "seen"), rows)


def _weights(entry: Released) -> list[str]:
    hub = [f"[{repo}](https://huggingface.co/{repo})" for repo in entry.parts]
    files = [f"[{address.rpartition('/')[2]}]({address})" for address in entry.urls]
    address = ", ".join(hub + files) or entry.by_hand or ""
    size = "" if entry.about is None else f"{entry.about:g}"
    row = [f"`{entry.name}`", entry.purpose, address, size, entry.licence, str(entry.seen)]
    return row


def mask_recipes() -> str:
    """Every recipe of a mask: what all share, and the docstring of each."""
    about = (getdoc(agnostic) or "").partition("\n\n")[2]
    each = (f"## {name}\n\n{getdoc(recipe)}\n" for name, recipe in agnostic.AGNOSTIC.items())
    return "\n".join([about, "", *each])


def experiments() -> str:
    """Every experiment, with the first line of its file."""
    rows = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        about, _, command = first_comment(path).partition(":  ")
        rows.append((f"`{path.stem}`", about, f"`{command}`"))
    return table(("experiment", "what", "command"), rows)


def first_comment(path: Path) -> str:
    """What a configuration file says of itself."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = (line[1:].strip() for line in lines if line.startswith("#"))
    return next((text for text in comments if not text.startswith("@")), "")


def configuration() -> str:
    """Every key of the two programs, and what each group can be."""
    return "\n".join([*_program("train"), *_program("evaluate"), *_groups()])


def _program(name: str) -> Iterator[str]:
    yield f"## {name}.py\n\nOf `conf/{name}.yaml`, and of the files that it chooses.\n"
    path = CONF / f"{name}.yaml"
    yield table(("key", "default", "what"), list(keys(path)))
    for choice in yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]:
        group, option = next(iter(choice.items())) if isinstance(choice, dict) else ("", "")
        file = CONF / group / f"{option}.yaml"
        if group not in ("", "experiment") and file.is_file():
            yield f"### {name}.py: {group}={option}\n\n{first_comment(file)}\n"
            yield table(("key", "default", "what"), list(keys(file, f"{group}.")))


def keys(path: Path, above: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted key, default and comment of each key of a configuration file."""
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text)
    if isinstance(root, yaml.MappingNode):
        yield from _below(root, above, text.splitlines())


def _below(node: yaml.MappingNode, above: str, lines: list[str]) -> Iterator[tuple[str, str, str]]:
    for key, value in node.value:
        name = f"{above}{key.value}"
        if name in ("defaults", "hydra") or key.value == "defaults":
            continue
        if isinstance(value, yaml.MappingNode) and not value.flow_style:
            yield from _below(value, f"{name}.", lines)
            continue
        _, _, comment = lines[key.start_mark.line].partition(" # ")
        first, last = value.start_mark, value.end_mark
        if first.line == last.line:
            default = lines[first.line][first.column : last.column]
        else:
            default = " ".join(lines[first.line : last.line]).strip()
        yield f"`{name}`", f"`{default}`" if default else "", comment


def _groups() -> Iterator[str]:
    yield "## Groups\n\nWhat `GROUP=NAME` chooses from.\n"
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir()):
        if folder.name not in ("experiment", "transform"):
            rows = [
                (f"`{file.stem}`", first_comment(file)) for file in sorted(folder.glob("*.yaml"))
            ]
            yield f"### {folder.name}\n\n{table((f'`{folder.name}=`', 'what'), rows)}"


def python_api() -> str:
    """The public names of the packages, for autodoc."""
    return "\n".join(_package(f"leffa.{name}") for name in PACKAGES)


def _package(name: str) -> str:
    module = import_module(name)
    lines = [f"## {name}", "", "```{eval-rst}", f".. automodule:: {name}", "   :no-members:", ""]
    for public in module.__all__:
        lines += _entry(f"{name}.{public}", getattr(module, public))
    return "\n".join([*lines, "```", ""])


def _entry(name: str, thing: object) -> list[str]:
    if isclass(thing):
        return [f".. autoclass:: {name}", "   :members:", ""]
    if isfunction(thing):
        return [f".. autofunction:: {name}", ""]
    assert isinstance(thing, partial)  # a class with some of its arguments
    given = [repr(value) for value in thing.args]
    given += [f"{key}={value!r}" for key, value in thing.keywords.items()]
    return [
        f".. py:data:: {name}",
        "",
        f"   ``{thing.func.__name__}({', '.join(given)}, ...)``",
        "",
    ]
