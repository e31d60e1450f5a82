"""What is trained, what a checkpoint holds, and what is refused before either."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from idm_vton_parts import ADAPTER, ALL, CLIP, SCHEDULER, SDXL, TIMESTEPS, VAE, build, predict
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import LeffaLoss
from leffa.losses.request import FlowRequest
from leffa.models.idm_vton import IDMVTON
from leffa.models.latent import parameter_counts
from leffa.models.loading import SHIPPED
from leffa.training.objective import DiffusionObjective

pytest.importorskip("transformers")

WIDE = VAE | {"latent_channels": 16}  # as many as the shipped UNet's latent has


@pytest.mark.parametrize("trainable", [("unet",), ALL])
def test_exactly_what_is_trainable_gets_a_gradient(
    trainable: tuple[str, ...], make_batch: Callable[..., Batch], clip_folder: Path
) -> None:
    encoder = CLIP if "image_encoder" in trainable else str(clip_folder)
    model = IDMVTON(SHIPPED, SHIPPED, encoder, WIDE, SCHEDULER, ADAPTER, trainable=trainable)
    torch.nn.init.normal_(model.unet.conv_out.weight)
    objective = DiffusionObjective(reference_dropout=0.0)
    batch = make_batch(height=32, width=24)
    loss = LeffaLoss(min_resolution=0.0, max_timestep=1000)
    objective(model, batch, loss, torch.Generator().manual_seed(0)).loss.backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == touched
    assert {name.split(".")[0] for name in trained} == set(trainable)
    # The text's keys and values see zeros alone, and nothing reads the image encoder's last layer.
    assert not any(".attn2.attention.to_k." in name for name in trained)
    assert not any("post_layernorm" in name for name in trained)
    adapter = {name for name, _ in model.unet.encoder_hid_proj.named_parameters()}
    assert adapter <= {name.removeprefix("unet.encoder_hid_proj.") for name in trained}


def test_a_checkpoint_holds_what_was_trained_and_nothing_else(
    make_batch: Callable[..., Batch], clip_folder: Path
) -> None:

    def shipped(seed: int) -> IDMVTON:
        torch.manual_seed(seed)
        sources = (SHIPPED, SHIPPED, clip_folder, WIDE, SCHEDULER, ADAPTER)
        return IDMVTON(*sources).eval()

    first, second = shipped(0), shipped(1)
    second.vae.load_state_dict(first.vae.state_dict())  # this one is random
    batch = make_batch(height=32, width=24)
    noisy = torch.randn(2, 16, 16, 12)
    with torch.no_grad():
        for parameter in first.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    expected = predict(first, noisy, first.encode(batch))
    assert (predict(second, noisy, second.encode(batch)) - expected).abs().max() > 1e-3
    excluded = first.excluded_keys()
    kept = {k: v for k, v in first.state_dict().items() if k not in excluded}
    assert {key.split(".")[0] for key in kept} == {"unet"}
    assert not second.load_state_dict(kept, strict=False).unexpected_keys
    assert torch.equal(predict(second, noisy, second.encode(batch)), expected)


def test_what_is_frozen_stays_in_evaluation_mode(clip_folder: Path) -> None:
    model = IDMVTON(SHIPPED, SHIPPED, clip_folder, WIDE, SCHEDULER, ADAPTER).train()
    modes = {name: part.training for name, part in model.named_children() if name != "schedule"}
    assert modes == {"vae": False, "unet": True, "garment_unet": False, "image_encoder": False}


def test_parts_are_counted(model: IDMVTON) -> None:
    counts = parameter_counts(model)
    assert counts["vae"][0] == 0
    assert counts["unet"][1] == sum(p.numel() for p in model.unet.parameters())
    frozen = sum(p.numel() for p in model.unet.parameters() if not p.requires_grad)
    assert counts["unet"][1] - counts["unet"][0] == frozen > 0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"trainable": ("unet",)}, "model.garment_unet: a config gives random weights"),
        ({"trainable": ("unet", "garment_unet")}, "model.image_encoder: a config gives random"),
        ({"trainable": ("garment_unet", "image_encoder")}, "model.unet: a config gives random"),
        ({"trainable": (*ALL, "vae")}, "model.trainable: unknown 'vae'; choose from unet"),
        ({"image_encoder": CLIP | {"hiden": 1}}, "model.image_encoder: unknown 'hiden'"),
        ({"adapter": ADAPTER | {"layers": 1}}, "model.adapter: unknown 'layers'; choose from"),
        ({"adapter": None}, "model.adapter: .* has none; give an IP-Adapter Plus file"),
        (
            {"garment_unet": SDXL | {"transformer_layers_per_block": [1, 1]}},
            "model.garment_unet: must have the same self-attentions as model.unet",
        ),
        ({"unet": "nowhere/at/all/unet.bin"}, "nowhere/at/all/unet.bin: does not exist"),
        ({"garment_unet": "/nowhere"}, "/nowhere: does not exist"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=line) as caught:
        build(**changes)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"model\.image_encoder needs the package transformers"):
        build()


def results(model: IDMVTON, batch: Batch, noisy: Tensor) -> dict[str, Any]:
    """The noise, the flows, and every gradient of both together."""
    request = FlowRequest(min_resolution=0.0)
    prediction = model.predict_noise(noisy, TIMESTEPS, model.encode(batch), request)
    losses = [prediction.noise, *prediction.flows.values()]
    torch.stack([each.square().mean() for each in losses]).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"noise": prediction.noise, "flows": prediction.flows, "gradients": gradients}


def test_gradient_checkpointing_changes_nothing(batch: Batch, noisy: Tensor) -> None:
    plain, checkpointed = (
        results(build(gradient_checkpointing=on).train(), batch, noisy) for on in (False, True)
    )
    torch.testing.assert_close(checkpointed, plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiling_changes_nothing(batch: Batch, noisy: Tensor) -> None:
    torch.compiler.reset()  # other sizes were compiled before
    plain, compiled = build(), build()
    for network in (compiled.unet, compiled.garment_unet):
        network.compile(backend="aot_eager", fullgraph=True)
    expected = results(plain, batch, noisy)
    torch.testing.assert_close(results(compiled, batch, noisy), expected)
