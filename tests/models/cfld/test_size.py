"""At the published sizes: numbers of parameters, names and shapes."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from leffa.models.cfld import CFLD
from leffa.models.cfld.published import published_keys
from leffa.models.latent import parameter_counts

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def whole() -> CFLD:
    """The network at its published sizes, without values."""
    sd15_vae = {
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config({"in_channels": 4, "cross_attention_dim": 768})
        return CFLD(unet, sd15_vae, {"beta_schedule": "scaled_linear"}, {})


def test_the_parts_have_their_numbers_of_parameters_at_the_published_sizes(whole: CFLD) -> None:
    """248.2 million trained is what we know from the paper; it counts no parts."""
    assert parameter_counts(whole) == {
        "encoder": (86_991_864, 86_991_864),
        "decoder": (97_712_128, 97_712_128),
        "no_prompt": (12_288, 12_288),
        "appearance": (22_549_632, 22_549_632),
        "pose_adapter": (30_636_480, 30_636_480),
        "unet": (10_321_920, 859_520_964),
        "vae": (0, 83_653_863),
        "all": (248_224_312, 1_181_077_219),
    }


def test_the_keys_of_the_authors_files_have_their_names_and_shapes(whole: CFLD) -> None:
    """As their code makes them (models/*.py); every parameter but the autoencoder's has one."""
    keys = {key: tuple(place.shape) for key, place in published_keys(whole).items()}
    assert len(keys) == len(list(whole.parameters())) - len(list(whole.vae.parameters()))
    expected = {
        "backbone.layers.0.downsample.reduction.weight": (256, 512),
        "backbone.layers.2.blocks.17.attn.relative_position_bias_table": (961, 16),
        "backbone.layers.3.blocks.1.attn.relative_position_bias_table": (225, 32),
        "decoder.query_feat": (16, 768),
        "decoder.pos_embed": (16, 768),
        "decoder.kv_pos_embed": (1, 64, 1024),
        "decoder.blocks.7.attn2.to_k.weight": (768, 1024),
        "appearance_encoder.zero_conv_ins.0.weight": (64, 128, 1, 1),
        "appearance_encoder.zero_conv_outs.0.weight": (320, 64, 1, 1),
        "appearance_encoder.zero_conv_outs.8.bias": (1280,),
        "appearance_encoder.blocks.8.3.ff.net.2.weight": (256, 1024),
        "pose_encoder.conv_in.weight": (320, 336, 1, 1),
        "pose_encoder.resnets.2.conv_shortcut.weight": (1280, 640, 1, 1),
        "learnable_vector": (1, 16, 768),
        "model.up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    }
    assert {key: keys.get(key) for key in expected} == expected
    assert not any("layers.3.downsample" in key for key in keys)
    parts = ("backbone", "decoder", "appearance_encoder", "pose_encoder", "learnable_vector")
    assert {key.split(".")[0] for key in keys} == {*parts, "model"}
