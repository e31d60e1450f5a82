"""Leffa as a diffusers pipeline, for those who know `StableDiffusionInpaintPipeline`.

    pipe = LeffaPipeline.from_pretrained(folder, torch_dtype=torch.float16).to("cuda")
    image = pipe(person, garment, mask, densepose, generator=generator).images[0]

The folder is what `leffa convert` writes. Its parts are stock classes; this class cuts them to the
shape that Leffa needs (`models.unets`) and runs the one denoising loop of `models.sampler`.
"""

import copy
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

import torch
from diffusers import (
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    ImagePipelineOutput,
    UNet2DConditionModel,
)
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.precision import at_least_float32
from leffa.losses.schedule import Generators
from leffa.models.latent import cell_size
from leffa.models.leffa import PARTS, LeffaModel, input_channels
from leffa.models.loading import Autoencoder
from leffa.models.memory import RunMemory
from leffa.models.pipeline_inputs import Picture, PipelineInputs, float32_autoencoder, on_device
from leffa.models.sampler import (
    SamplerSettings,
    denoising_step,
    global_noise,
    paste,
)
from leffa.models.schedulers import initial_sigma, set_timesteps
from leffa.models.unets import cut_unets, stock_unet

# Called with (pipeline, step, timestep, {"latents": ...}); latents that it returns replace those.
OnStepEnd: TypeAlias = Callable[
    ["LeffaPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor]
]


class LeffaPipeline(DiffusionPipeline):
    """Virtual try-on and pose transfer behind the interface of diffusers.

    `enable_model_cpu_offload` pays off with `reference_cache=True`: without it the reference UNet
    goes back and forth in every step. Offloading has been tested only on a CPU.

    Args:
        reference_unet: stock, or already cut.
        unet: the generative UNet; stock, or already cut.
        scheduler: any diffusers scheduler over the noise schedule of the training.
        parts: what joins the noisy latent, see `LeffaModel`; None: all of `PARTS`.
        height, width: of the images that the model was trained on; the defaults of a call.
    """

    model_cpu_offload_seq = "reference_unet->unet->vae"
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self,
        vae: Autoencoder,
        reference_unet: UNet2DConditionModel,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers | FlowMatchEulerDiscreteScheduler,
        parts: list[str] | None = None,  # a type that diffusers understands
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__()
        parts, latent = list(parts or PARTS), vae.config.latent_channels
        cut_unets(reference_unet, unet, latent, input_channels(latent, parts))
        # Frozen as in training: some kernels round differently where a weight could be trained.
        vae.requires_grad_(False)
        self.register_modules(
            vae=vae, reference_unet=reference_unet, unet=unet, scheduler=scheduler
        )
        self.register_to_config(parts=parts, height=height, width=width)
        self._inputs = PipelineInputs(cell_size(vae))
        self.image_processor = self._inputs.colour  # where users of diffusers look for it
        self._interrupt = False

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **kwargs: Any
    ) -> Self:
        """As every diffusers pipeline, but weights are read from safetensors only."""
        usual: dict[str, Any] = {"use_safetensors": True}
        if importlib.util.find_spec("accelerate") is None:
            usual["low_cpu_mem_usage"] = False
        loaded: Self = super().from_pretrained(pretrained_model_name_or_path, **(usual | kwargs))
        return loaded

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
    ) -> None:
        """As every diffusers pipeline. Stock classes open the UNets: what Leffa cuts away from them
        is written as zeros."""
        whole = copy.copy(self)
        whole.reference_unet = stock_unet(self.reference_unet)
        whole.unet = stock_unet(self.unet)
        DiffusionPipeline.save_pretrained(
            whole,
            save_directory,
            safe_serialization=safe_serialization,
            variant=variant,
            max_shard_size=max_shard_size,
        )

    @property
    def model(self) -> LeffaModel:
        """The parts as a `LeffaModel`; nothing is copied."""
        return LeffaModel(
            self.unet,
            self.vae,
            dict(self.scheduler.config),
            self.config.parts,
            reference_unet=self.reference_unet,
        ).eval()

    @property
    def interrupt(self) -> bool:
        """Set `_interrupt` from a callback to stop after that step."""
        return self._interrupt

    @torch.no_grad()
    def __call__(
        self,
        source: Picture,
        reference: Picture,
        mask: Picture | None = None,
        densepose: Picture | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 2.5,
        guidance_rescale: float = 0.0,
        noise_scale: float = 1.0,
        reference_cache: bool = False,
        paste_back: bool = False,
        generator: Generators = None,
        latents: Tensor | None = None,
        official_noise: bool = False,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: OnStepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate an image per source.

        PIL images are stretched to the size; tensors are taken as they are, (B, 3, H, W) in
        [-1, 1]. The other arguments are those of `SamplerSettings` and of diffusers.

        Args:
            mask: white = generate; None: everything, as pose transfer wants.
            densepose: of the source. An image is a coloured map (VITON-HD), other encodings are
                tensors (`leffa.data.densepose`). None: background everywhere.
            height, width: in pixels; None: of the training, else of the source.
            latents: (B, C, h, w) to start from instead of noise, kept in float32.
            official_noise: condition latents and first noise from torch's global generator.
        """
        if unknown := set(callback_on_step_end_tensor_inputs) - {"latents"}:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs: unknown {sorted(unknown)}; there is: latents"
            )
        settings = SamplerSettings(
            steps=num_inference_steps,
            guidance=guidance_scale,
            guidance_rescale=guidance_rescale,
            noise_scale=noise_scale,
            reference_cache=reference_cache,
        )
        size = (height or self.config.height, width or self.config.width)
        batch = self._inputs.batch(source, reference, mask, densepose, size)
        batch = on_device(batch, self._execution_device)
        with float32_autoencoder(self.vae):
            noise = (generator, latents, official_noise)
            images = self._sample(batch, settings, *noise, callback_on_step_end)
            if output_type != "latent":
                images = self.model.decode(images).clamp(-1, 1)
        if output_type != "latent":
            if paste_back:
                images = paste(images, batch["source"].to(images), batch["mask"].to(images))
            images = self.image_processor.postprocess(images, output_type=output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _sample(
        self,
        batch: Batch,
        settings: SamplerSettings,
        generator: Generators,
        latents: Tensor | None,
        official_noise: bool,
        callback: OnStepEnd | None,
    ) -> Tensor:
        """The denoised latents of a batch, (B, C, h, w)."""
        model, device, scheduler = self.model, self._execution_device, self.scheduler
        conditioning = model.encode(batch, sample=official_noise)
        conditioning = model.attach_cache(conditioning, RunMemory(limit=0))
        shape = model.latent_shape(batch)
        set_timesteps(scheduler, settings.steps, device, model.token_count(shape))
        if latents is None:
            count = len(batch["name"])
            if official_noise:
                latents = global_noise(count, shape, device)
            else:  # float32 whatever the dtype, so that a seed means one noise
                latents = randn_tensor((count, *shape), generator, device, dtype=torch.float32)
            latents = latents * (settings.noise_scale * initial_sigma(scheduler))
        latents = at_least_float32(latents.to(device))
        step = denoising_step(model, conditioning, scheduler, generator, settings)
        self._interrupt = False
        with self.progress_bar(total=len(scheduler.timesteps)) as bar:
            for index, timestep in enumerate(scheduler.timesteps):
                if self.interrupt:
                    break
                latents = step(latents, timestep)
                if callback is not None:
                    changed = callback(self, index, timestep, {"latents": latents})
                    latents = changed.get("latents", latents)
                bar.update()
        return latents
