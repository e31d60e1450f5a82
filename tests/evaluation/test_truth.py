"""What a protocol is given as the truth: its own resizing starts from the data set's files."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from leffa.evaluation import Evaluation
from leffa.metrics.protocols import PROTOCOLS

Evaluate = Callable[..., Evaluation]


def test_a_protocol_that_resizes_the_truth_gets_it_as_it_is_stored(
    run_evaluation: Evaluate, synthetic: Path, tmp_path: Path
) -> None:
    """Ours is resized with another filter, so its values would be none of the protocol's."""
    size = ["dataset.transform.height=32", "dataset.transform.width=24", "limit=2"]
    preparation = "+protocol.prepare_true={size:prediction,filter:bilinear}"
    found = run_evaluation(tmp_path, *size, preparation)
    assert json.loads((tmp_path / "metrics.json").read_text())["truth"] == "originals"
    expected, ours = [], []
    for picture in sorted((tmp_path / "images").iterdir()):
        (original,) = (tmp_path / "originals").glob(f"{picture.stem}.*")
        with Image.open(original) as stored:
            assert stored.size == (48, 64)
            small = stored.convert("RGB").resize((24, 32), Image.Resampling.BILINEAR)
        generated = np.asarray(Image.open(picture))
        expected.append(peak_signal_noise_ratio(np.asarray(small), generated))
        ours.append(
            peak_signal_noise_ratio(
                np.asarray(Image.open(tmp_path / "true" / picture.name)), generated
            )
        )
    assert found.scores.values["psnr"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert abs(np.mean(expected) - np.mean(ours)) > 1e-2


def test_only_protocols_for_equal_sizes_take_the_truth_at_ours() -> None:
    at_ours = {name for name, protocol in PROTOCOLS.items() if not protocol.sizes_truth}
    assert at_ours == {"leffa", "leffa@2", "wpose"}
