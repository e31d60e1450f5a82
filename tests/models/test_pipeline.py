"""The diffusers pipeline: the released pictures, the habits of diffusers, and its folder."""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.checkpoints import load_official
from leffa.models.leffa import LeffaModel
from leffa.models.pipeline import LeffaPipeline
from leffa.models.sampler import SamplerSettings, name_generator, sample_latents
from leffa.models.schedulers import make_scheduler

BASES = {"sd15": "stable-diffusion-inpainting", "sdxl": "stable-diffusion-xl-1.0-inpainting-0.1"}
# diffusers 0.42 hands torch tensors to NumPy 2 in three of its schedulers:
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pipeline_of(model: LeffaModel, scheduler: str = "ddpm") -> LeffaPipeline:
    pipeline = LeffaPipeline(
        model.vae,
        model.reference_unet,  # type: ignore[arg-type]
        model.generative_unet,  # type: ignore[arg-type]
        make_scheduler(scheduler, model.scheduler_config),
        parts=list(model.parts),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module", params=BASES)
def golden(
    request: pytest.FixtureRequest, recordings: Callable[[str], Path]
) -> tuple[LeffaPipeline, dict[str, Tensor]]:
    """The released network of a base as a pipeline, and what was recorded of it."""
    folder = recordings(request.param)
    model = load_official(folder / BASES[request.param], folder / "official.pth")
    return pipeline_of(model), load_file(folder / "golden.safetensors")


@pytest.fixture
def pipeline(build_model: Callable[..., LeffaModel]) -> LeffaPipeline:
    return pipeline_of(build_model().eval(), "ddim")


@pytest.fixture
def inputs(make_batch: Callable[..., Batch]) -> dict[str, Tensor]:
    """Two pictures of noise, as tensors."""
    batch = make_batch()
    return {key: batch[key] for key in ("source", "reference", "mask", "densepose")}  # type: ignore[literal-required]


def latents_of(pipeline: LeffaPipeline, inputs: dict[str, Tensor], **changes: Any) -> Tensor:
    settings = {"num_inference_steps": 2, "output_type": "latent"} | changes
    latents: Tensor = pipeline(**inputs, **settings).images
    return latents


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("reference_cache", [False, True])
def test_gives_the_latents_of_the_released_pipeline(
    golden: tuple[LeffaPipeline, dict[str, Tensor]], reference_cache: bool
) -> None:
    pipeline, recorded = golden
    torch.manual_seed(10)
    latents = pipeline(
        recorded["src_image"],
        recorded["ref_image"],
        recorded["mask"],
        recorded["densepose"],
        num_inference_steps=4,
        guidance_scale=2.5,
        guidance_rescale=2.5,
        reference_cache=reference_cache,
        generator=seeded(42),
        official_noise=True,
        output_type="latent",
    ).images
    name = "pipeline_accelerated_final_latent" if reference_cache else "pipeline_final_latent"
    torch.testing.assert_close(latents, recorded[name], atol=1e-4, rtol=0)


def test_is_the_same_loop_as_the_sampler(
    pipeline: LeffaPipeline, make_batch: Callable[..., Batch], inputs: dict[str, Tensor]
) -> None:
    batch = make_batch()
    settings = SamplerSettings("ddim", steps=2, guidance=1.5, noise_scale=0.7, seed=3)
    expected = sample_latents(pipeline.model, batch, settings)
    generator = [name_generator(3, name) for name in batch["name"]]
    found = latents_of(pipeline, inputs, guidance_scale=1.5, noise_scale=0.7, generator=generator)
    assert torch.equal(found, expected)


def test_a_generator_fixes_the_picture(pipeline: LeffaPipeline, inputs: dict[str, Tensor]) -> None:
    first, again, other = (
        latents_of(pipeline, inputs, generator=seeded(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_takes_and_gives_pictures_of_pil(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor]
) -> None:
    processor = diffusers.image_processor.VaeImageProcessor()
    person, garment = (processor.postprocess(inputs[key])[0] for key in ("source", "reference"))
    mask = processor.numpy_to_pil(inputs["mask"][:1].permute(0, 2, 3, 1).numpy())[0]
    (picture,) = pipeline(person, garment, mask, num_inference_steps=1, height=20, width=24).images
    assert picture.size == (24, 20)
    pixels = pipeline(
        person, garment, mask, num_inference_steps=1, paste_back=True, output_type="np"
    ).images
    kept = np.asarray(mask.convert("L")) == 0
    difference = np.abs(pixels[0] - np.asarray(person) / 255).max(axis=-1)
    assert difference[kept].max() < 1e-5
    assert difference[~kept].max() > 1e-2


def test_every_step_is_told_and_may_change_the_latents(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor]
) -> None:
    told: list[tuple[int, int]] = []

    def callback(
        pipe: LeffaPipeline, step: int, timestep: int, given: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        told.append((step, int(timestep)))
        return {"latents": torch.zeros_like(given["latents"])}

    latents = latents_of(pipeline, inputs, callback_on_step_end=callback)
    assert told == [(0, 500), (1, 0)]
    assert (latents == 0).all()
    with pytest.raises(ValueError, match=r"unknown \['noise'\]; there is: latents"):
        latents_of(pipeline, inputs, callback_on_step_end_tensor_inputs=["noise"])


def test_can_be_interrupted(pipeline: LeffaPipeline, inputs: dict[str, Tensor]) -> None:
    seen: list[Tensor] = []

    def callback(
        pipe: LeffaPipeline, step: int, timestep: int, given: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        seen.append(given["latents"])
        pipe._interrupt = step == 1
        return given

    latents = latents_of(pipeline, inputs, num_inference_steps=5, callback_on_step_end=callback)
    assert len(seen) == 2
    assert torch.equal(latents, seen[-1])


@pytest.mark.parametrize(
    "name", ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler"]
)
def test_schedulers_can_be_swapped(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor], name: str
) -> None:
    before = latents_of(pipeline, inputs, generator=seeded())
    pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config)
    after = latents_of(pipeline, inputs, generator=seeded())
    assert after.isfinite().all()
    assert not torch.allclose(before, after)


def test_networks_compute_in_the_dtype_that_it_is_given_and_latents_stay_float32(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor]
) -> None:
    exact = latents_of(pipeline, inputs, generator=seeded())
    pipeline.to(torch.bfloat16)
    seen: list[torch.dtype] = []
    pipeline.unet.conv_in.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    rough = latents_of(pipeline, inputs, generator=seeded())
    assert set(seen) == {torch.bfloat16}
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, atol=0.2, rtol=0.1)


def test_model_offload_changes_no_picture(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor]
) -> None:
    pytest.importorskip("accelerate")
    expected = pipeline(**inputs, num_inference_steps=2, generator=seeded(), output_type="pt")
    pipeline.enable_model_cpu_offload(device="cpu")
    for _ in range(2):  # the hooks are attached anew after each call
        found = pipeline(**inputs, num_inference_steps=2, generator=seeded(), output_type="pt")
        assert torch.equal(found.images, expected.images)


def test_sequential_offload_changes_no_picture(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor]
) -> None:
    accelerate = pytest.importorskip("accelerate")
    expected = pipeline(**inputs, num_inference_steps=2, generator=seeded(), output_type="pt")
    # What `enable_sequential_cpu_offload` does, which itself cannot be told to compute on a CPU: it
    # makes "cpu:0" of it, for which torch 2.14 builds no parameters.
    for part in (pipeline.vae, pipeline.reference_unet, pipeline.unet):
        accelerate.cpu_offload(part, torch.device("cpu"))
        assert {parameter.device.type for parameter in part.parameters()} == {"meta"}
    found = pipeline(**inputs, num_inference_steps=2, generator=seeded(), output_type="pt")
    assert torch.equal(found.images, expected.images)


def test_an_overflowing_autoencoder_computes_in_float32(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor]
) -> None:
    pipeline.to(torch.float16)
    pipeline.vae.register_to_config(force_upcast=True)
    seen: list[torch.dtype] = []
    pipeline.vae.decoder.register_forward_hook(lambda *_: seen.append(pipeline.vae.dtype))
    pipeline(**inputs, num_inference_steps=1)
    assert seen == [torch.float32]
    assert pipeline.vae.dtype == torch.float16


def test_a_saved_pipeline_gives_the_same_pictures(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    expected = latents_of(pipeline, inputs, generator=seeded())
    pipeline.save_pretrained(tmp_path)
    loaded = LeffaPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert torch.equal(latents_of(loaded, inputs, generator=seeded()), expected)
    assert loaded.config.parts == ["mask", "masked_source", "densepose"]
    # Its parts serve another pipeline: what is cut is not cut again.
    again = LeffaPipeline(**loaded.components)
    again.set_progress_bar_config(disable=True)
    assert torch.equal(latents_of(again, inputs, generator=seeded()), expected)


def test_stock_classes_open_the_parts_of_a_saved_pipeline(
    pipeline: LeffaPipeline, tmp_path: Path
) -> None:
    pipeline.save_pretrained(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".bin", ".pth", ".pt")]
    for name in ("unet", "reference_unet"):
        unet, report = UNet2DConditionModel.from_pretrained(
            tmp_path, subfolder=name, output_loading_info=True, low_cpu_mem_usage=False
        )
        assert {key: report[key] for key in ("missing_keys", "unexpected_keys")} == {
            "missing_keys": [],
            "unexpected_keys": [],
        }
        own = getattr(pipeline, name).state_dict()
        state = unet.state_dict()
        assert own.keys() < state.keys()
        assert all(torch.equal(state[key], tensor) for key, tensor in own.items())
        assert all((state[key] == 0).all() for key in state.keys() - own.keys())
        text = torch.zeros(1, 3, unet.config.cross_attention_dim)
        assert unet(torch.zeros(1, unet.config.in_channels, 8, 8), 1, text).sample.isfinite().all()
    AutoencoderKL.from_pretrained(tmp_path, subfolder="vae", low_cpu_mem_usage=False)
    DDPMScheduler.from_pretrained(tmp_path, subfolder="scheduler")


def test_reads_no_pickled_weights(pipeline: LeffaPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(OSError, match=r"safetensors"):
        LeffaPipeline.from_pretrained(tmp_path)


def test_says_what_does_not_fit(
    pipeline: LeffaPipeline, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"mask is \(1, 1, 16, 12\), source is \(2, 3, 16, 12\)"):
        latents_of(pipeline, inputs | {"mask": inputs["mask"][:1]})
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    (tmp_path / "model_index.json").write_text(json.dumps(index | {"parts": ["densepose"]}))
    with pytest.raises(ValueError, match="unet takes 12 channels, 7 are wanted"):
        LeffaPipeline.from_pretrained(tmp_path)


def test_offers_what_diffusers_offers() -> None:
    for name in ("enable_model_cpu_offload", "enable_sequential_cpu_offload", "progress_bar", "to"):
        assert callable(getattr(LeffaPipeline, name))
    known = inspect.signature(LeffaPipeline.__call__).parameters
    habits = {"num_inference_steps", "guidance_scale", "generator", "latents", "output_type"}
    assert habits | {"return_dict", "callback_on_step_end"} < set(known)
