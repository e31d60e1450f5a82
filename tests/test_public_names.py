"""What a package offers: each public name is found, says what it is, and costs nothing before."""

import subprocess
import sys
from functools import partial
from importlib import import_module
from inspect import getdoc

import pytest

PACKAGES = [f"leffa.{name}" for name in ("losses", "models", "data", "metrics", "inference")]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_found_and_documented(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    for name in module.__all__:
        thing = getattr(module, name)
        thing = thing.func if isinstance(thing, partial) else thing
        assert thing.__module__.startswith(package), name
        doc = getdoc(thing)
        assert doc and not doc.startswith(f"{name}("), name  # that is what dataclass writes


def test_another_name_is_an_ordinary_error() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        from leffa.data import Nothing  # type: ignore[attr-defined] # noqa: F401


def test_a_package_is_quick_until_a_name_is_used() -> None:
    lazy = ", ".join(name for name in PACKAGES if name not in ("leffa.losses", "leffa.inference"))
    program = f"import sys, {lazy}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
