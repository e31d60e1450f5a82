"""Whether the parts of an IDM-VTON fit each other."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from leffa.models.idm_vton.encoders import TextEncoders
from leffa.models.unets import Source

Part = Literal["unet", "garment_unet", "image_encoder"]
PARTS: tuple[Part, ...] = ("unet", "garment_unet", "image_encoder")


def check_trainable(trainable: Sequence[str], sources: Mapping[str, Source]) -> None:
    """Refuse random weights that would stay as they are.

    Raises:
        ValueError: that, or an unknown part.
    """
    if unknown := sorted(set(trainable) - set(PARTS)):
        raise ValueError(f"model.trainable: unknown {unknown[0]!r}; known are {', '.join(PARTS)}")
    for part, source in sources.items():
        if isinstance(source, dict) and part not in trainable:
            raise ValueError(
                f"model.{part}: a config gives random weights, and it is frozen; give a pretrained "
                f"one, or add {part} to model.trainable"
            )


def check_fit(unet: Any, garment_unet: Any, text: TextEncoders | None) -> None:
    """Refuse networks that cannot read each other.

    Raises:
        ValueError: they have other layers, or text of another width.
    """
    layers = [
        {
            name: module.weight.shape[0]
            for name, module in network.named_modules()
            if name.endswith(".norm1") and "transformer_blocks" in name
        }
        for network in (unet, garment_unet)
    ]
    if layers[0] != layers[1]:
        name = sorted(dict(layers[0].items() ^ layers[1].items()))[0].removesuffix(".norm1")
        raise ValueError(
            f"model.garment_unet: must have the same self-attentions as model.unet, and differs in "
            f"{name}"
        )
    if text is None:
        return
    for key, network in (("unet", unet), ("garment_unet", garment_unet)):
        attentions = [name for name in network.attn_processors if ".attn2." in name]
        width = network.config.cross_attention_dim
        if not attentions or width != text.width:
            raise ValueError(
                f"model.text: its tokens are {text.width} wide, and model.{key} reads "
                f"{width if attentions else 'no text'}; give text=null"
            )


def pooled_width(unet: Any) -> int:
    """Of the pooled text that a UNet's added embedding takes beside six crop sizes; 0: none."""
    if unet.config.addition_embed_type != "text_time":
        return 0
    whole = unet.config.projection_class_embeddings_input_dim
    return int(whole - 6 * unet.config.addition_time_embed_dim)
