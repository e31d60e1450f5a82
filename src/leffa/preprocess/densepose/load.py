"""DensePose from a file, without detectron2: the published weights, or an export of them."""

import warnings
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
    trusted: bool = False,
) -> ChartDensePose:
    """From the published weights (`.pkl`), or an export: `.onnx`, or TorchScript under any other
    suffix.

    Args:
        path: the file.
        device: that the network runs on; an ONNX export runs on the processor.
        channels, uv_range: see `ChartDensePose`.
        trusted: must be said of a TorchScript file: it is a program, and reading it may run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, not trusted, or onnxruntime is needed and not installed.
    """
    path = Path(path)
    if path.suffix == ".pkl":
        return densepose_r50_fpn(path, device, channels, uv_range)
    if path.suffix == ".onnx":
        model = OnnxModel(path)

        def exported(picture: Tensor) -> Outputs:
            outputs = zip(model.outputs, model(picture.numpy()), strict=True)
            return {name: torch.from_numpy(output) for name, output in outputs}

        return ChartDensePose(exported, channels, uv_range)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such model; give the path of your copy")
    if not trusted:
        raise ValueError(
            f"{path}: a TorchScript file may run code when it is read; say that you trust it "
            "(trusted=True, --trust), or give the published .pkl or an .onnx export"
        )
    try:
        with warnings.catch_warnings():
            # Deprecated in favour of torch.export, in which nobody publishes this model.
            warnings.simplefilter("ignore", FutureWarning)
            script = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise ValueError(f"{path}: is no TorchScript model; give an export of DensePose") from error

    def network(picture: Tensor) -> Outputs:
        try:
            outputs: Outputs = script(picture.to(device))
        except RuntimeError as error:  # TorchScript's own are of this type, as is a lack of memory
            # The last line says what is wrong, those before it where in the program.
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ValueError(
                f"{path}: cannot run on a picture {tuple(picture.shape)} ({reason}); is it an "
                "export of DensePose for this device? A smaller picture needs less memory"
            ) from error
        return outputs

    return ChartDensePose(network, channels, uv_range)
