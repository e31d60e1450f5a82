"""Pickles of arrays are read; pickles of anything else are refused before they do anything."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from leffa.preprocess.densepose.pickled import load_arrays

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a.bias": np.ones(2)}


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes texts and bytes as Python 2 did, in which the published file was written."""

    def save_text(self, text: str | bytes) -> None:
        raw = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch = pickle._Pickler.dispatch | {str: save_text, bytes: save_text}  # type: ignore[attr-defined]


def write(path: Path, content: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_are_read_back(protocol: int, tmp_path: Path) -> None:
    content = {"model": OrderedDict(ARRAYS), "__author__": "somebody", "epoch": np.float32(3)}
    found = load_arrays(write(tmp_path / "w.pkl", content, protocol))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_file_of_python_2_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump({"model": ARRAYS})
    assert b"_codecs" not in file.getvalue()
    (tmp_path / "w.pkl").write_bytes(file.getvalue())
    for name, array in load_arrays(tmp_path / "w.pkl").items():
        np.testing.assert_array_equal(array, ARRAYS[name])


class Calls:
    """Pickled, it is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def named(module: str, name: str, *arguments: str) -> bytes:
    """A pickle that calls module.name with texts, whether there is such a thing here or not."""
    texts = b"".join(pickle.UNICODE + text.encode() + b"\n" for text in arguments)
    called = pickle.GLOBAL + f"{module}\n{name}\n".encode() + pickle.MARK + texts + pickle.TUPLE
    return pickle.PROTO + b"\x02" + called + pickle.REDUCE + pickle.STOP


def test_a_file_that_wants_to_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    touch = f"open({str(ran)!r}, 'w')"
    malicious = {
        "os.system": pickle.dumps({"model": Calls(os.system, f"touch {ran}")}, 2),
        "eval": pickle.dumps({"model": {"a": Calls(eval, touch)}}, 2),
        "exec_protocol_4": pickle.dumps({"model": Calls(exec, touch)}, 4),
        "getattr": pickle.dumps(Calls(getattr, np.ndarray, "tofile"), 2),
        "numpy_load": named("numpy", "load", str(ran)),
        "dotted": named("numpy", "ndarray.tofile", str(ran)),
        "runstring": named("numpy.testing._private.utils", "runstring", touch, "{}"),
        "torch": pickle.dumps({"model": {"a": torch.ones(2)}}, 2),
        "codec": named("_codecs", "encode", "text", "rot13"),
        "import": named("a_module_that_is_not_there", "thing"),
        "persistent": pickle.PROTO + b"\x02" + pickle.PERSID + b"0\n" + pickle.STOP,
        "extension": pickle.PROTO + b"\x02" + pickle.EXT1 + b"\x01" + pickle.STOP,
    }
    for name, content in malicious.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name}.pkl: not a pickle of plain arrays") as told:
            load_arrays(path)
        assert "\n" not in str(told.value)
    assert not ran.exists()
    assert pickle.loads(malicious["eval"])["model"]["a"].close() is None  # it would have
    assert ran.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"model": {}},
        {"model": {"a": [1.0, 2.0]}},
        {"model": {"a": np.array([{"b": 1}], dtype=object)}},
        {"model": {"a": np.array(["text"])}},
        {"model": {3: np.ones(2)}},
        {"weights": ARRAYS},
        [1, 2],
    ],
)
def test_a_pickle_of_something_else_is_told(content: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"w.pkl: does not hold arrays of numbers by name"):
        load_arrays(write(tmp_path / "w.pkl", content))


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(ARRAYS)[:-20]])
def test_a_damaged_file_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"w.pkl: not a pickle of plain arrays"):
        load_arrays(tmp_path / "w.pkl")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        load_arrays(tmp_path / "none.pkl")
