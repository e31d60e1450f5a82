"""OpenPose's network: the layout of the published weights."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from leffa.preprocess.pose.openpose import openpose
from leffa.preprocess.pose.openpose_net import OpenPoseBody, load_openpose


def test_the_weights_are_those_of_the_published_file() -> None:
    """92 convolutions; 52,311,446 numbers, 209 MB."""
    with torch.device("meta"):
        state = OpenPoseBody().state_dict()
    assert len(state) == 2 * (12 + 2 * 5 + 5 * 2 * 7)
    assert sum(weight.numel() for weight in state.values()) == 52_311_446
    for key, shape in (
        ("conv1_1.weight", (64, 3, 3, 3)),
        ("conv4_2.weight", (512, 512, 3, 3)),
        ("conv4_3_CPM.weight", (256, 512, 3, 3)),
        ("conv4_4_CPM.bias", (128,)),
        ("conv5_4_CPM_L1.weight", (512, 128, 1, 1)),
        ("conv5_5_CPM_L1.weight", (38, 512, 1, 1)),
        ("conv5_5_CPM_L2.weight", (19, 512, 1, 1)),
        ("Mconv1_stage2_L1.weight", (128, 185, 7, 7)),
        ("Mconv5_stage6_L2.weight", (128, 128, 7, 7)),
        ("Mconv6_stage3_L1.weight", (128, 128, 1, 1)),
        ("Mconv7_stage6_L1.weight", (38, 128, 1, 1)),
        ("Mconv7_stage6_L2.bias", (19,)),
    ):
        assert tuple(state[key].shape) == shape, key


@torch.no_grad()
def test_fields_and_maps_have_an_eighth_of_the_resolution() -> None:
    fields, maps = OpenPoseBody(narrower=16)(torch.zeros(1, 3, 64, 48))
    assert fields.shape == (1, 38, 8, 6)
    assert maps.shape == (1, 19, 8, 6)


def test_every_layer_takes_part() -> None:
    torch.manual_seed(0)
    model = OpenPoseBody(narrower=8)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 0.02, 0.1)
    fields, maps = model(torch.randn(1, 3, 32, 32))
    (fields.square().sum() + maps.square().sum()).backward()
    assert [name for name, weight in model.named_parameters() if not weight.grad.any()] == []


@pytest.mark.parametrize("prefix", ["", "model1_1."])
def test_a_file_of_the_full_layout_loads_and_sees_nobody(tmp_path: Path, prefix: str) -> None:
    """Each weight is one number, so the file is small; the port's own modules have a prefix."""
    with torch.device("meta"):
        state = OpenPoseBody().state_dict()
    flat = {prefix + key: torch.tensor(0.0).expand(value.shape) for key, value in state.items()}
    torch.save(flat, tmp_path / "body_pose_model.pth")
    with pytest.raises(ValueError, match="no person was found"):
        openpose(tmp_path / "body_pose_model.pth").find_pose(Image.new("RGB", (16, 184)))


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1_1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "body.pth")
    with pytest.raises(ValueError, match=r"body.pth: does not fit: 183 keys are missing"):
        load_openpose(tmp_path / "body.pth")
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        openpose(tmp_path / "none.pth")
