"""Weights that were published as a pickle of NumPy arrays, read without running anything.

A pickle is a program: it may call whatever it names. Here it may only name what rebuilds an array;
a file that names anything else is refused before that is even imported.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leffa.io.terminal import first_line


def _latin1(text: str, encoding: str) -> bytes:
    """What `_codecs.encode` is to a pickle of Python 2: the bytes of an array."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it wants the codec {encoding!r}")
    return text.encode("latin1")


_REBUILD, _SCALAR = np.zeros(1).__reduce__()[0], np.float32(0).__reduce__()[0]
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    ("collections", "OrderedDict"): OrderedDict,
    # The module's name changed with NumPy 2.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _REBUILD for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _SCALAR for core in ("core", "_core")},
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants {module}.{name}") from None


def load_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of `{"model": {name: array}, ...}`, by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, names more than arrays, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file; give the path of your copy")
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        reason = first_line(error)
        raise ValueError(
            f"{path}: not a pickle of plain arrays, so it is not loaded ({reason})"
        ) from error
    arrays = content.get("model") if isinstance(content, dict) else None
    if not (isinstance(arrays, dict) and arrays) or not all(
        isinstance(name, str) and type(array) is np.ndarray and array.dtype.kind in "fiu"
        for name, array in arrays.items()
    ):
        raise ValueError(
            f"{path}: does not hold arrays of numbers by name below 'model'; is it the weights "
            "file of a model of detectron2?"
        )
    return dict(arrays)
