"""The autoencoder that ships: small, stock, and good enough on drawings it never saw."""

import json

from diffusers import AutoencoderKL

from leffa.assets.train_tiny_vae import HELD_OUT, draw_pictures, measure
from leffa.models.unets import SHIPPED_VAE, load_vae


def test_is_a_stock_autoencoder_of_at_most_4_mb() -> None:
    vae = load_vae("shipped")
    assert type(vae) is AutoencoderKL
    assert vae.config.latent_channels == 4
    assert (SHIPPED_VAE / "diffusion_pytorch_model.safetensors").stat().st_size <= 4e6


def test_reconstructs_held_out_drawings_at_28_db() -> None:
    psnr, spread = measure(load_vae("shipped"), draw_pictures(0, HELD_OUT, 6, (256, 192)))
    assert psnr >= 28
    # Latents of about unit spread are what the noise schedule expects.
    assert 0.7 < spread * load_vae("shipped").config.scaling_factor < 1.4


def test_tells_how_it_was_trained() -> None:
    report = json.loads((SHIPPED_VAE / "training.json").read_text())
    assert {"commands", "seeds", "held_out_psnr_db"} <= report.keys()
