"""DensePose from a file, without detectron2: the published weights, or an ONNX export of them."""

from pathlib import Path

import torch
from torch import Tensor

from leffa.preprocess.densepose.chart import Channels, ChartDensePose, Outputs, UVRange
from leffa.preprocess.densepose.r50_fpn import densepose_r50_fpn
from leffa.preprocess.onnx import OnnxModel


def load_densepose(
    path: str | Path,
    device: str = "cpu",
    channels: Channels = "rgb",
    uv_range: UVRange = "unit",
) -> ChartDensePose:
    """From the published weights (`.pkl`), or an export (`.onnx`), which runs on the processor.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or onnxruntime is needed and not installed.
    """
    suffix = Path(path).suffix
    if suffix == ".pkl":
        return densepose_r50_fpn(path, device, channels, uv_range)
    if suffix != ".onnx":
        raise ValueError(
            f"{path}: DensePose is read from the published .pkl, which `leffa weights fetch "
            "densepose` brings, or from an .onnx export"
        )
    model = OnnxModel(path)

    def exported(picture: Tensor) -> Outputs:
        outputs = zip(model.outputs, model(picture.numpy()), strict=True)
        return {name: torch.from_numpy(output) for name, output in outputs}

    return ChartDensePose(exported, channels, uv_range)
