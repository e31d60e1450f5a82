"""ONNX files, run by onnxruntime, which is an optional extra."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leffa.io.terminal import first_line


class OnnxModel:
    """A network with one input, on the CPU.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no ONNX model, has several inputs, or onnxruntime is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{path}: no such model; give the path of your copy")
        try:
            import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError as error:
            raise ValueError(
                f"{path}: needs the package onnxruntime; pip install onnxruntime"
            ) from error
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own types, which derive from Exception only
            raise ValueError(
                f"{path}: is not a readable ONNX model ({first_line(error)})"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"{path}: has {len(inputs)} inputs, expected one image")
        self._input: str = inputs[0].name

    def __call__(self, picture: NDArray[np.generic]) -> list[NDArray[np.float32]]:
        """The model's outputs, in the order of the file.

        Raises:
            ValueError: the model cannot read such an image, or memory is too short for it.
        """
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, {self._input: picture})
        except Exception as error:  # onnxruntime's own types again
            raise ValueError(
                f"{self.path}: cannot run on an image {picture.shape} of {picture.dtype} "
                f"({first_line(error)}); is it an export of this network, for any size?"
            ) from error
        return outputs
