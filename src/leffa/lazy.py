"""Public names of a package that are imported when they are first used, so that importing the
package costs nothing."""

import ast
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path


def lazy_attributes(package: str, file: str) -> Callable[[str], object]:
    """A package's `__getattr__` (PEP 562): imports what its source imports for type checkers alone.

    Args:
        package: its `__name__`.
        file: its `__file__`, in which `from MODULE import NAME` stands below `TYPE_CHECKING`.
    """

    def find(name: str) -> object:
        if name.startswith("__") or name not in _homes(file):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(_homes(file)[name]), name)

    return find


def lazy_names(file: str) -> list[str]:
    """Its `__all__`."""
    return sorted(_homes(file))


@cache
def _homes(file: str) -> dict[str, str]:
    """The module of each name."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    found = [node for each in guarded for node in each.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in found for alias in node.names}
