"""Checkpoints of the authors, a folder with two files of `accelerate`:

    pytorch_model.bin     or model.safetensors     encoder, decoder, biases, adapter, learnt vector
    pytorch_model_1.bin   or model_1.safetensors   the UNet, whole

The names follow from the authors' code (github.com/YanzuoLu/CFLD, MIT), which counts up layers from
the last one to the first.
"""

import re
from pathlib import Path

from torch import Tensor, nn

from leffa.io.weights import load_weights
from leffa.models.loading import copy_weights

FILES = (
    ("pytorch_model.bin", "model.safetensors"),
    ("pytorch_model_1.bin", "model_1.safetensors"),
)
_COMPUTED = ("relative_position_index", "attn_mask")  # of Swin; no weights
_DECODER = {
    "queries": "query_feat",
    "positions": "pos_embed",
    "picture_positions": "kv_pos_embed",
}


def load_published(model: nn.Module, folder: str | Path) -> None:
    """Fill what is trained of a model from a checkpoint folder of the authors; the rest of the UNet
    is Stable Diffusion 1.5, from the base."""
    folder = Path(folder)
    state = {
        key: value
        for names in FILES
        for key, value in load_weights(_first(folder, names)).items()
        if not key.endswith(_COMPUTED)
    }
    copy_weights(folder, state, published_keys(model))


def published_keys(model: nn.Module) -> dict[str, Tensor]:
    """The parameters of a model by their names in the authors' files."""
    parameters = dict(model.named_parameters())
    layers = {name.split(".")[2] for name in parameters if name.startswith("appearance.")}
    names = {name: _published_name(name, len(layers)) for name in parameters}
    return {published: parameters[name] for name, published in names.items() if published}


def _published_name(name: str, layers: int) -> str | None:
    """None for the autoencoder, which is not in the files."""
    part, _, rest = name.partition(".")
    match part:
        case "encoder":
            return f"backbone.{_swin_key(rest.removeprefix('swin.'))}"
        case "decoder":
            return f"decoder.{_DECODER.get(rest, rest)}"
        case "appearance":
            return f"appearance_encoder.{_appearance_key(rest, layers)}"
        case "pose_adapter":
            return f"pose_encoder.{rest}"
        case "no_prompt":
            return "learnable_vector"
        case "unet":
            return f"model.{rest}"
    return None


def _swin_key(key: str) -> str:
    """Microsoft's Swin halves at the end of a stage, timm's at the beginning of the next."""
    return re.sub(
        r"layers\.(\d+)\.downsample", lambda found: f"layers.{int(found[1]) - 1}.downsample", key
    )


def _appearance_key(key: str, layers: int) -> str:
    _, number, kind, *rest = key.split(".")
    place = str(layers - 1 - int(number))
    names = {"conv_in": "zero_conv_ins", "conv_out": "zero_conv_outs", "blocks": "blocks"}
    return ".".join([names[kind], place, *rest])


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{folder}: has neither {' nor '.join(names)}; give the folder of a checkpoint of the "
        "authors"
    )
