"""Leffa as a diffusers pipeline, for those who know `StableDiffusionInpaintPipeline`.

    pipe = LeffaPipeline.from_pretrained(folder, torch_dtype=torch.float16).to("cuda")
    picture = pipe(person, garment, mask, densepose, generator=generator).images[0]

The folder is what `leffa convert` writes. Its parts are stock classes; this class cuts them to the
shape that Leffa needs (`models.unets`) and runs the one denoising loop of `models.sampler`.
"""

import copy
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput, UNet2DConditionModel
from diffusers.schedulers import KarrasDiffusionSchedulers
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.diffusion import Generators
from leffa.losses.precision import at_least_float32
from leffa.models.latent import cell_size
from leffa.models.leffa import PARTS, Conditioning, LeffaModel
from leffa.models.memory import RunMemory
from leffa.models.pipeline_inputs import (
    Picture,
    PipelineInputs,
    float32_autoencoder,
    on_device,
)
from leffa.models.sampler import SamplerSettings, denoise, global_noise, paste
from leffa.models.stock import cut_unets, stock_unet
from leffa.models.unets import Autoencoder

OnStepEnd: TypeAlias = Callable[["LeffaPipeline", int, int, dict[str, Tensor]], dict[str, Tensor]]


class LeffaPipeline(DiffusionPipeline):
    """Virtual try-on and pose transfer behind the interface of diffusers.

    `enable_model_cpu_offload` and `enable_sequential_cpu_offload` are those of diffusers. Tests
    hold that no picture changes under their hooks, run on a CPU; on a GPU they have not been tried.
    The first pays off with `reference_cache=True`: without it the reference UNet goes back and
    forth in every step.

    Args:
        vae: the autoencoder.
        reference_unet: stock, or already cut.
        unet: the generative UNet; stock, or already cut.
        scheduler: any diffusers scheduler over the noise schedule of the training.
        parts: what joins the noisy latent, see `LeffaModel`; None: all of `PARTS`.
        height: of the pictures that the model was trained on; the default of a call.
        width: likewise.
    """

    model_cpu_offload_seq = "reference_unet->unet->vae"
    _callback_tensor_inputs = ("latents",)

    def __init__(
        self,
        vae: Autoencoder,
        reference_unet: UNet2DConditionModel,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        parts: list[str] | None = None,  # a type that diffusers understands
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        super().__init__()
        parts = list(parts or PARTS)
        cut_unets(reference_unet, unet, vae.config.latent_channels, parts)
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
        """As every diffusers pipeline: UNets are written whole, so that stock classes open them.

        What Leffa cuts away (text attention, the reference UNet after its last recorded layer) is
        written as zeros.
        """
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
        """The parts as the model that the rest of the package works with; nothing is copied."""
        return LeffaModel(
            self.vae,
            self.reference_unet,
            self.unet,
            dict(self.scheduler.config),
            tuple(self.config.parts),
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
        reference_cache: bool = False,
        paste_back: bool = False,
        generator: Generators = None,
        latents: Tensor | None = None,
        official_noise: bool = False,
        memory: RunMemory | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: OnStepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> ImagePipelineOutput | tuple[Any]:
        """Generate a picture per source.

        Pictures of PIL are stretched to the size; tensors are taken as they are, (B, 3, H, W) in
        [-1, 1], a mask (B, 1, H, W) with 1 = generate.

        Args:
            source: the person.
            reference: the garment, or the person in another pose.
            mask: white = generate; None: everything, as pose transfer wants.
            densepose: of the source. A picture is taken as a coloured map (VITON-HD); give other
                encodings as a tensor (`leffa.data.densepose`). None: background everywhere.
            height: in pixels; None: of the training, else of the source.
            width: likewise.
            num_inference_steps, guidance_scale, guidance_rescale, reference_cache, paste_back: see
                `SamplerSettings`.
            generator: of the noise; one for all, or one per picture.
            latents: (B, C, h, w) to start from instead of noise. Latents stay in float32 whatever
                the dtype of the networks.
            official_noise: the released pipeline's quirk: latents of the conditions are drawn, and
                they and the first noise come from torch's global generator, whatever `generator`.
            memory: of a run of many calls with the same weights, see `RunMemory`; it is faster, as
                what does not depend on the pictures is computed once.
            output_type: "pil", "np", "pt" (both in [0, 1]) or "latent".
            callback_on_step_end: called with (pipeline, step, timestep, {"latents": ...}); latents
                in the dict that it returns replace those of the loop.

        Raises:
            ValueError: pictures of different number or size, another reference than the memory's,
                or an unknown callback input.
        """
        if unknown := set(callback_on_step_end_tensor_inputs) - {"latents"}:
            raise ValueError(
                f"callback_on_step_end_tensor_inputs: unknown {sorted(unknown)}; there is: latents"
            )
        self._interrupt = False
        settings = SamplerSettings(
            steps=num_inference_steps,
            guidance=guidance_scale,
            guidance_rescale=guidance_rescale,
            reference_cache=reference_cache,
        )
        size = (height or self.config.height, width or self.config.width)
        batch = self._inputs.batch(source, reference, mask, densepose, size)
        batch = on_device(batch, self._execution_device)
        model, memory = self.model, memory or RunMemory(limit=0)
        memory.check(batch, official_noise)
        with float32_autoencoder(self.vae):
            conditioning = model.attach_cache(model.encode(batch, sample=official_noise), memory)
            self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
            if latents is None:
                latents = self._first_noise(model, batch, generator, official_noise)
            wanted = bool(callback_on_step_end_tensor_inputs)
            latents = self._denoise(
                model, conditioning, latents, settings, generator, callback_on_step_end, wanted
            )
            images = latents if output_type == "latent" else model.decode(latents).clamp(-1, 1)
        if output_type != "latent":
            if paste_back:
                images = paste(images, batch["source"].to(images), batch["mask"].to(images))
            images = self.image_processor.postprocess(images, output_type=output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _first_noise(
        self, model: LeffaModel, batch: Batch, generator: Generators, official: bool
    ) -> Tensor:
        shape, device = model.latent_shape(batch), self._execution_device
        if official:
            noise = global_noise(len(batch["name"]), shape, device)
        else:  # float32 whatever the dtype, so that a seed means one noise
            noise = randn_tensor(
                (len(batch["name"]), *shape), generator, device, dtype=torch.float32
            )
        return noise * self.scheduler.init_noise_sigma

    def _denoise(
        self,
        model: LeffaModel,
        conditioning: Conditioning,
        latents: Tensor,
        settings: SamplerSettings,
        generator: Generators,
        callback: OnStepEnd | None,
        pass_latents: bool,
    ) -> Tensor:
        latents = at_least_float32(latents.to(self._execution_device))
        with self.progress_bar(total=len(self.scheduler.timesteps)) as bar:

            def after_step(index: int, timestep: Tensor, latents: Tensor) -> Tensor:
                if callback is not None:
                    given = {"latents": latents} if pass_latents else {}
                    latents = callback(self, index, timestep, given).get("latents", latents)  # type: ignore[arg-type]  # diffusers hands the tensor
                bar.update()
                if self._interrupt:
                    raise _Interrupted(latents)
                return latents

            try:
                return denoise(
                    model, conditioning, latents, self.scheduler, generator, settings, after_step
                )
            except _Interrupted as stopped:
                return stopped.latents


class _Interrupted(Exception):
    """A callback wants no further step."""

    def __init__(self, latents: Tensor) -> None:
        super().__init__()
        self.latents = latents
