"""The repository of the released Leffa with tiny or nearly empty networks, in its own layout.

OpenPose, the parsers and DensePose find the person of `photo`: OpenPose's weights pass on which
joint's colour a pixel has, the others' outputs are constant.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from PIL import Image, ImageDraw
from torch import nn

from leffa.data.labels import LABELS, LabelSet
from leffa.models.catvton import CatVTON
from leffa.models.checkpoints import save_official
from leffa.models.leffa import LeffaModel
from leffa.preprocess.densepose.r50_fpn import ChartRCNN
from leffa.preprocess.pose.assembly import FIELD_OF_LIMB, LIMBS
from leffa.preprocess.pose.openpose_net import FIELDS, MAPS, OpenPoseBody

LEFFA = "franciszzj/Leffa"
CATVTON_BASE = "booksforcharlie/stable-diffusion-inpainting"
UNET = {
    "in_channels": 9,
    "out_channels": 4,
    "sample_size": 8,
    "block_out_channels": [16, 32],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "attention_head_dim": 2,
    "cross_attention_dim": 12,
    "norm_num_groups": 8,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "down_block_types": ["DownEncoderBlock2D"] * 6,
    "up_block_types": ["UpDecoderBlock2D"] * 6,
    "block_out_channels": [4] * 6,  # 32 pixels per latent cell: 1024x768 takes no time
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 2,
}
SCHEDULER = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
BASES = {
    "virtual_tryon.pth": "stable-diffusion-inpainting",
    "virtual_tryon_dc.pth": "stable-diffusion-inpainting",
    "pose_transfer.pth": "stable-diffusion-xl-1.0-inpainting-0.1",
}

# COCO-18 joints of a person, in fractions of the photo, and where its parts are.
JOINTS = np.array(
    [(50, 12), (50, 22), (38, 23), (33, 37), (30, 50), (62, 23), (67, 37), (70, 50), (43, 50),
     (42, 70), (41, 90), (57, 50), (58, 70), (59, 90), (46, 9), (54, 9), (40, 12), (60, 12)]
) / 100  # fmt: skip
PARTS = {  # left, top, right, bottom in per cent
    "hair": (44, 3, 56, 8), "face": (44, 8, 56, 18), "upper": (36, 20, 64, 52),
    "left_arm": (64, 22, 72, 52), "right_arm": (28, 22, 36, 52), "pants": (38, 52, 62, 92),
}  # fmt: skip
_LEVELS = (20, 128, 236)
COLOURS = [(r, g, b) for r in _LEVELS for g in _LEVELS for b in _LEVELS if not r == g == b][:18]
_NEAR = 12 / 256  # of a colour, all channels together


def photo(joints: np.ndarray = JOINTS, size: tuple[int, int] = (384, 512)) -> Image.Image:
    """Somebody whose joints are coloured dots."""
    noise = np.random.default_rng(0).integers(50, 70, (size[1], size[0], 3)).astype(np.uint8)
    image = Image.fromarray(noise)
    draw = ImageDraw.Draw(image)
    for index, (x, y) in enumerate(joints * size):
        radius = size[1] / 60
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), COLOURS[index % 18])
    return image


def publish(folder: Path, tools: bool = True) -> dict[str, bytes]:
    """All files that the catalogue names, in a folder; returns them by their paths.

    Args:
        tools: also what makes maps: 100 MB, since only Leffa's networks may have any size.
    """
    for seed, (name, base) in enumerate(BASES.items()):
        for part, config in (("unet", UNET), ("vae", VAE), ("scheduler", SCHEDULER)):
            kind = "scheduler_config" if part == "scheduler" else "config"
            _place(folder, f"{base}/{part}/{kind}.json").write_text(json.dumps(config))
        torch.manual_seed(seed)
        save_official(LeffaModel(UNET, VAE, SCHEDULER), folder / name)
    if tools:
        publish_parsers(folder)
        place = _place(folder, "openpose/body_pose_model.pth")
        weights = passing_colours(OpenPoseBody()).state_dict().items()
        torch.save(  # zeros are stored once
            {n: w if w.any() else w.new_zeros(1).expand(w.shape) for n, w in weights}, place
        )
        place = _place(folder, "densepose/model_final_162be9.pkl")
        place.write_bytes(pickle.dumps({"model": densepose(), "__author__": "a test"}, protocol=4))
    return files_of(folder)


def publish_parsers(folder: Path) -> dict[str, bytes]:
    """The two files of the human parsers, which are small; returns all of the folder."""
    import onnx

    onnx.save(parser("atr"), _place(folder, "humanparsing/parsing_atr.onnx"))
    onnx.save(parser("lip"), _place(folder, "humanparsing/parsing_lip.onnx"))
    return files_of(folder)


def publish_catvton(folder: Path) -> dict[str, dict[str, bytes]]:
    """CatVTON's repositories by their names: its self-attentions, and the base and autoencoder of
    others, whose own autoencoder is another one."""
    ours, base, vae = (
        folder / name for name in ("zhengchong/CatVTON", CATVTON_BASE, "stabilityai/sd-vae-ft-mse")
    )
    torch.manual_seed(5)
    UNet2DConditionModel.from_config(UNET).save_pretrained(base / "unet")
    DDPMScheduler.from_config(SCHEDULER).save_pretrained(base / "scheduler")
    for place in (base / "vae", vae):
        AutoencoderKL.from_config(VAE).save_pretrained(place)
    model = CatVTON(base, vae, base)
    for weight in model.published_keys().values():
        nn.init.normal_(weight, std=0.5)
    for dataset in ("vitonhd", "dresscode"):
        model.save_published(_place(ours, f"{dataset}-16k-512/attention/model.safetensors"))
    return {place.relative_to(folder).as_posix(): files_of(place) for place in (ours, base, vae)}


def files_of(folder: Path) -> dict[str, bytes]:
    """By their paths below the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def parser(label_set: LabelSet) -> Any:
    """An ONNX model of three outputs, of which the second is the parsing of `PARTS`."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    scores = np.zeros((1, {"atr": 18, "lip": 20}[label_set], 128, 128), np.float32)
    for name, (left, top, right, bottom) in PARTS.items():
        # The square shows the canvas, three quarters as wide as high, in its middle.
        columns = slice(*(round(1.28 * (12.5 + 0.75 * x)) for x in (left, right)))
        scores[0, LABELS[label_set][name], round(1.28 * top) : round(1.28 * bottom), columns] = 1
    outputs = {"parsing": scores[:, ::-1].copy(), "fusion": scores, "edge": scores[:, :2]}
    nodes = [
        helper.make_node(
            "Constant", [], [name], value=onnx.numpy_helper.from_array(np.ascontiguousarray(value))
        )
        for name, value in outputs.items()
    ]
    picture = helper.make_tensor_value_info("input.1", kind, [1, 3, None, None])
    given = [
        helper.make_tensor_value_info(name, kind, value.shape) for name, value in outputs.items()
    ]
    graph = helper.make_graph(nodes, "schp", [picture], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@torch.no_grad()
def passing_colours(network: OpenPoseBody) -> OpenPoseBody:
    """OpenPose whose map of a joint is where its colour is; every limb points as in `JOINTS`."""
    for weight in network.parameters():
        weight.zero_()
    colours = torch.tensor(COLOURS).flip(1) / 256 - 0.5  # BGR
    levels = colours.unique()
    first, second = network.conv1_1, network.conv1_2
    for channel in range(3):
        for number, level in enumerate(levels):
            for sign in (0, 1):  # how far above the level, and how far below
                feature = (channel * len(levels) + number) * 2 + sign
                first.weight[feature, channel, 1, 1] = 1 - 2 * sign
                first.bias[feature] = (2 * sign - 1) * level
                second.weight[:18, feature, 1, 1] = (colours[:, channel] == level) / -_NEAR
    second.bias[:18] = 1
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d) and name not in ("conv1_1", "conv1_2"):
            middle, entering = layer.kernel_size[0] // 2, 0
            if name == "Mconv1_stage6_L2":
                entering = FIELDS + MAPS  # after which come the features
            if name == "Mconv7_stage6_L1":
                for (start, end), field in zip(LIMBS, FIELD_OF_LIMB, strict=True):
                    limb = torch.from_numpy(JOINTS[end] - JOINTS[start]) * torch.tensor([3, 4])
                    layer.bias[field : field + 2] = limb / limb.norm()
            elif "_stage" not in name or "stage6_L2" in name:
                for channel in range(18):
                    layer.weight[channel, entering + channel, middle, middle] = 1
    return network


def densepose() -> dict[str, np.ndarray]:
    """DensePose whose people are all foreground, part 2; integers, which are smaller."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in ChartRCNN().state_dict().items()}
    arrays = {name: np.zeros(tuple(shape), np.int8) for name, shape in shapes.items()}
    predictor = "roi_heads.densepose_predictor"
    arrays["roi_heads.box_predictor.cls_score.bias"] += np.array([5, -5], np.int8)
    arrays[f"{predictor}.ann_index_lowres.bias"][1] = 1
    arrays[f"{predictor}.index_uv_lowres.bias"][2] = 1
    return arrays


def _place(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return folder / name
