"""SCHP as an ONNX file: the fusion branch counts."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.preprocess.parsing.schp import schp


def export(path: Path, classes: int, branches: int = 3, side: int | None = None) -> None:
    """A model whose fusion branch likes label 5 and whose parsing branch likes label 2."""
    onnx = pytest.importorskip("onnx", reason="writes an ONNX file; onnx is not installed")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    picture = helper.make_tensor_value_info("input.1", kind, [1, 3, side, side])
    nodes, outputs, weights = [], [], []
    for name, liked in (("parsing", 2), ("fusion", 5), ("edge", 0))[:branches]:
        channels = 2 if name == "edge" else classes
        bias = np.zeros(channels, np.float32)
        bias[liked] = 1
        kernel = np.zeros((channels, 3, 1, 1), np.float32)
        weights += [
            onnx.numpy_helper.from_array(kernel, f"{name}.w"),
            onnx.numpy_helper.from_array(bias, f"{name}.b"),
        ]
        inputs = ["input.1", f"{name}.w", f"{name}.b"]
        nodes.append(helper.make_node("Conv", inputs, [name], strides=[4, 4]))
        outputs.append(helper.make_tensor_value_info(name, kind, [1, channels, None, None]))
    graph = helper.make_graph(nodes, "schp", [picture], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


@pytest.fixture
def needs_onnxruntime() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.mark.usefixtures("needs_onnxruntime")
def test_the_fusion_branch_of_an_onnx_file_is_the_result(tmp_path: Path) -> None:
    export(tmp_path / "parsing_atr.onnx", 18)
    found = schp(tmp_path / "parsing_atr.onnx", "atr").parse(Image.new("RGB", (24, 32)))
    assert found.shape == (32, 24)
    assert set(found.ravel()) == {5}


@pytest.mark.usefixtures("needs_onnxruntime")
def test_an_onnx_file_of_another_label_set_is_refused(tmp_path: Path) -> None:
    export(tmp_path / "parsing_lip.onnx", 20)
    with pytest.raises(ValueError, match="gives 20 labels, but atr has 18"):
        schp(tmp_path / "parsing_lip.onnx", "atr").parse(Image.new("RGB", (24, 32)))


@pytest.mark.usefixtures("needs_onnxruntime")
def test_a_picture_that_the_file_does_not_take_is_a_mistake_of_one_line(tmp_path: Path) -> None:
    """Its size is fixed; so a folder's other photos can go on."""
    path = tmp_path / "parsing_atr.onnx"
    export(path, 18, side=64)
    with pytest.raises(
        ValueError, match=r"cannot run on an image \(1, 3, 512, 512\) of fl"
    ) as told:
        schp(path, "atr").parse(Image.new("RGB", (24, 32)))
    assert str(told.value).startswith(f"{path}: ")
    assert "\n" not in str(told.value)


@pytest.mark.usefixtures("needs_onnxruntime")
def test_what_is_no_onnx_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"broken.onnx: is not a readable ONNX model"):
        schp(path, "lip")


def test_an_unknown_label_set_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="label_set=cihp: SCHP has networks for lip and atr"):
        schp(tmp_path / "none.onnx", "cihp")
