"""SCHP as a `PersonParser`, from ONNX files or from the authors' weights."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from leffa.data.labels import LabelSet
from leffa.preprocess.canvas import to_canvas
from leffa.preprocess.onnx import OnnxModel
from leffa.preprocess.parsing import Parsing
from leffa.preprocess.parsing.framing import labels_from_square, to_square
from leffa.preprocess.parsing.schp import load_schp

# Labels and the side of the square that the released networks read (SCHP, `simple_extractor.py`).
_CLASSES: dict[LabelSet, int] = {"lip": 20, "atr": 18}
_SIDES: dict[LabelSet, int] = {"lip": 473, "atr": 512}


class SCHPParser:
    """Labels a photo with an SCHP network.

    Args:
        network: from (1, 3, side, side), BGR and normalised, to the scores (1, C, h, w) of the
            fusion branch.
        label_set: "lip" or "atr": what the network was trained on.
        side: of the square that the network reads; None for the released networks'.
    """

    def __init__(
        self, network: Callable[[Tensor], Tensor], label_set: LabelSet, side: int | None = None
    ) -> None:
        self.label_set = check_label_set(label_set)
        self.network = network
        self.side = side or _SIDES[label_set]

    @torch.no_grad()
    def parse(self, image: Image.Image) -> Parsing:
        """The most likely label of each pixel."""
        canvas, placement = to_canvas(image)
        logits = self.network(to_square(canvas, self.side)).float().cpu()
        labels = labels_from_square(logits, self.side, placement)
        return Parsing(labels.numpy(), self.label_set)


def schp_torch(
    path: str | Path, label_set: LabelSet, device: str = "cpu", absolute_gain: bool | None = None
) -> SCHPParser:
    """From the authors' weights (`exp-schp-*.pth`); see `schp.load_schp` for errors."""
    model = load_schp(path, _CLASSES[check_label_set(label_set)], absolute_gain).to(device)
    return SCHPParser(lambda square: model(square.to(device)).fusion, label_set)


def schp_onnx(path: str | Path, label_set: LabelSet) -> SCHPParser:
    """From `parsing_atr.onnx` or `parsing_lip.onnx`, as the released demos use them.

    The file gives the parsing branch, the fusion branch and the edges, in this order; the fusion
    branch is the result (OOTDiffusion, `parsing_api.py`). A file with one output is taken as it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an ONNX model, of another label set, or onnxruntime is not installed.
    """
    classes = _CLASSES[check_label_set(label_set)]
    model = OnnxModel(path)

    def network(square: Tensor) -> Tensor:
        outputs = model(square.numpy())
        scores = outputs[1] if len(outputs) > 1 else outputs[0]
        if scores.shape[1] != classes:
            raise ValueError(
                f"{path}: gives {scores.shape[1]} labels, but {label_set} has {classes}; give the "
                "file of this label set"
            )
        return torch.from_numpy(scores)

    return SCHPParser(network, label_set)


def check_label_set(label_set: LabelSet) -> LabelSet:
    """The label set; ValueError where SCHP has no network for it."""
    if label_set not in _CLASSES:
        raise ValueError(f"label_set={label_set}: SCHP has networks for {' and '.join(_CLASSES)}")
    return label_set
