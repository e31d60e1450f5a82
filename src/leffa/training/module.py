"""The LightningModule: steps, optimiser, logging."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import torch
from lightning import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.enums import GradClipAlgorithmType
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from leffa.data.batch import Batch
from leffa.data.datamodule import micro_batch_draws
from leffa.inference.checkpoints import FLOW_LAYERS, INPUTS
from leffa.inference.devices import to_device
from leffa.inference.forward import check_timesteps, encode_batch, noised_forward
from leffa.inference.generate import generate_batch
from leffa.losses.flow import LeffaLoss
from leffa.metrics.flow import KINDS
from leffa.metrics.paired import masked_psnr, ssim
from leffa.metrics.result import excluded_remark
from leffa.models.interface import PersonGenerator, Prediction
from leffa.models.sampler import SamplerSettings
from leffa.models.schedulers import check_sampler
from leffa.training.inspection import true_flow_values, warp_values
from leffa.training.layers import choose_layers
from leffa.training.objective import StepResult, TrainingObjective
from leffa.training.sharding import shard
from leffa.training.stages import Curriculum, Stage

log = logging.getLogger(__name__)


class PersonGenerationModule(LightningModule):
    """Trains any `PersonGenerator`.

    Args:
        optimizer: from the trainable parameters to an optimiser; its learning rate is the
            curriculum's.
        leffa_loss: added in the stages that ask for it; or another of `losses.attention`.
        objective: how timesteps are sampled and the denoising loss is weighted.
        sampler: how validation images are generated.
        inspect_timestep: the timestep at which validation reads the attention.
        seed: of the training noise and the validation noise.
        config: the resolved configuration, kept in every checkpoint.
        inputs: what the model reads of a person (`InputSpec`), as plain values; kept likewise.

    Raises:
        ValueError: objective or sampler are not of the model's kind; a timestep or a number of
            steps that it does not have; or a stage uses the Leffa loss, and no sample could take
            part in it.
    """

    def __init__(
        self,
        model: PersonGenerator,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        curriculum: Curriculum,
        leffa_loss: LeffaLoss,
        objective: TrainingObjective,
        sampler: SamplerSettings,
        inspect_timestep: int = 200,
        seed: int = 0,
        config: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        wanted = leffa_loss.active and any(stage.leffa_loss for stage in curriculum.stages)
        objective.check(model.schedule, leffa_loss if wanted else None)
        check_sampler(sampler.scheduler, model.scheduler_config, sampler.steps)
        check_timesteps("inspect_timestep", [inspect_timestep], model)
        self.model = model
        self.leffa_loss = leffa_loss
        self.leffa_loss_on = False
        self.curriculum = curriculum
        self.objective = objective
        self.sampler = sampler
        self.inspect_timestep = inspect_timestep
        self.seed = seed
        self.config = config
        self.inputs = inputs
        self._optimizer = optimizer
        self._stage: Stage | None = None  # the last one that the log told of
        self._micro_batches: list[StepResult] = []  # of the optimiser step under way
        self._excluded: dict[str, list[str]] = {}  # by metric, of the validation under way
        # Checkpoints leave out what is frozen, so loading one must not miss it.
        self.strict_loading = False

    def configure_model(self) -> None:
        if self.device_mesh is not None:  # of trainer=fsdp alone
            shard(self.model, self.device_mesh)

    def on_fit_start(self) -> None:
        self.model.train()  # what is loaded comes in evaluation mode

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Turn the Leffa loss on or off, as the stage says; a resumed epoch has no other hook."""
        stage = self.curriculum.stages[self.trainer.current_epoch]
        self.leffa_loss_on = stage.leffa_loss and self.leffa_loss.active
        if self.leffa_loss_on and self.leffa_loss.to_be_chosen:
            data = cast(Any, self.trainer).datamodule.val_dataloader()
            with torch.random.fork_rng([]):  # a data loader draws from the global generator
                batches = (to_device(each, self.device) for each in data)
                seed, timestep = self.seed, self.inspect_timestep
                choose_layers(self.leffa_loss, self.model, batches, timestep, seed)
        if stage is not self._stage:
            self._stage = stage
            gate = self.model.schedule.gated_by
            loss = self.leffa_loss.describe(gate) if self.leffa_loss_on else "off"
            log.info("stage %s, %s %s", stage.describe(), self.leffa_loss.title, loss)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """One micro-batch. The last one of an optimiser step logs the means of the whole step."""
        result = self.evaluate_objective(batch, batch_idx)
        self._micro_batches.append(result.detach())
        step = None
        if (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0:
            step = self._over_processes(StepResult.merge(self._micro_batches))
            self._micro_batches = []
            self.log("train/loss", step.loss, prog_bar=True, batch_size=1)
            self.log("train/diffusion", step.diffusion.mean(), batch_size=1)
            if self.leffa_loss_on:
                self.log("train/leffa", step.leffa, prog_bar=True, batch_size=1)
        return {"loss": result.loss, "result": result.detach(), "step": step}

    def evaluate_objective(self, batch: Batch, batch_idx: int) -> StepResult:
        """The loss of a micro-batch; the same again each time it is asked for."""
        seeds = self.sample_seeds(batch_idx, len(batch["name"]))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]  # alike on any device
        loss = self.leffa_loss if self.leffa_loss_on else None
        return self.objective(self.model, batch, loss, generators)

    def sample_seeds(self, batch_idx: int, count: int) -> list[int]:
        """Of each sample of a micro-batch, from (seed, stage, place of the sample in the stage):
        the same step however it is split, fresh or resumed."""
        trainer = self.trainer
        draws = micro_batch_draws(batch_idx, count, trainer.global_rank, trainer.world_size)
        return [hash((self.seed, trainer.current_epoch, draw)) % 2**63 for draw in draws]

    def _over_processes(self, result: StepResult) -> StepResult:
        """The result of all processes' samples in a step that is logged, of this one's in others;
        layers are always those of this process."""
        trainer = self.trainer
        if trainer.world_size == 1 or not trainer._logger_connector.should_update_logs:
            return result
        means = torch.stack([result.loss.double(), result.leffa.double()])
        samples = torch.stack([result.diffusion.double(), result.timesteps.double()])
        means, samples = self.all_gather((means, samples))  # a leading dimension of processes
        loss, leffa = means.mean(dim=0)
        diffusion, timesteps = samples.movedim(1, 0).flatten(1)
        timesteps = timesteps.to(result.timesteps.dtype)
        return replace(result, loss=loss, leffa=leffa, diffusion=diffusion, timesteps=timesteps)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Fixed samples with fixed noise: denoising loss, attention, and generated images."""
        request = self.leffa_loss.request(sharpness=True)
        encoded = encode_batch(self.model, batch)
        seen = noised_forward(self.model, encoded, self.inspect_timestep, request, self.seed)
        prediction = seen.prediction
        images = generate_batch(self.model, encoded.batch, self.sampler)
        truth, generated = (picture.float().add(1).div(2) for picture in (batch["source"], images))
        self._log_flows(batch, prediction)
        self._log_validation("ssim", ssim(generated, truth).mean(), len(batch["name"]))
        judged = self._judged("masked_psnr", batch, batch["mask"])
        psnr = masked_psnr(generated, truth, batch["mask"])
        # It is on the CPU where a device has no float64.
        mean = _mean(psnr, judged.to(psnr.device))
        self._log_validation("masked_psnr", mean, int(judged.sum()))
        for share in (0.1, 0.3, 0.5, 0.8):
            timestep = int(share * self.model.schedule.steps)
            loss = noised_forward(self.model, encoded, timestep, seed=self.seed).loss()
            self._log_validation(f"diffusion_t{timestep}", loss.mean(), len(loss))
        return {"images": images, "flows": prediction.flows, "batch": batch}

    def on_validation_epoch_end(self) -> None:
        """Say which samples a metric could not judge, and log how many."""
        for name, samples in self._excluded.items():
            if samples:
                log.warning(
                    "step %d: %s", self.global_step, excluded_remark(f"val/{name}", samples)
                )
            self.log(f"val/{name}_excluded", float(len(samples)), reduce_fx="sum", sync_dist=True)
        self._excluded = {}

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = self._optimizer([p for p in self.model.parameters() if p.requires_grad])
        for group in optimizer.param_groups:
            group["lr"] = 1.0  # the schedule below gives the rate itself
        schedule = LambdaLR(optimizer, self.curriculum.learning_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Lightning refuses fused optimisers for a scaler's sake, which bfloat16 does not have."""
        precision = self.trainer.precision_plugin
        if isinstance(precision, MixedPrecision) and precision.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        excluded = self.model.excluded_keys()
        checkpoint["state_dict"] = {
            key: value
            for key, value in checkpoint["state_dict"].items()
            if key.removeprefix("model.") not in excluded
        }
        checkpoint["config"] = self.config
        if self.inputs is not None:
            checkpoint[INPUTS] = self.inputs
        if self.leffa_loss.choose_by_match and self.leffa_loss.layers is not None:
            checkpoint[FLOW_LAYERS] = list(self.leffa_loss.layers)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.leffa_loss.choose_by_match and FLOW_LAYERS in checkpoint:
            self.leffa_loss.layers = tuple(checkpoint[FLOW_LAYERS])

    def _log_flows(self, batch: Batch, prediction: Prediction) -> None:
        """The metrics of each layer's flow, and their mean over layers."""
        counts: dict[str, int] = {}
        per_layer: dict[str, list[Tensor]] = {}
        judged = self._judged("flow/warp_error", batch, batch["loss_region"])
        if "flow_valid" in batch:
            self._judged("flow/epe_px", batch, batch["flow_valid"])
        for name, flow in prediction.flows.items():
            worth = warp_values(flow, batch)
            values = {
                "warp_error": _mean(worth["warp_error"], judged),
                "spread": worth["spread"].mean(),
            }
            if name in prediction.sharpness:
                values |= prediction.sharpness[name]._asdict()
            counts |= dict.fromkeys(values, len(batch["name"])) | {"warp_error": int(judged.sum())}
            for kind in KINDS:
                if kind.key in batch:
                    truth, seen = true_flow_values(kind, flow, batch)
                    values |= truth
                    counts |= dict.fromkeys(truth, seen)
            for key, value in values.items():
                self._log_validation(f"layers/{name}/{key}", value, counts[key])
                per_layer.setdefault(key, []).append(value.float())
        for key, layer_values in per_layer.items():
            mean = torch.stack(layer_values).mean()
            self._log_validation(f"flow/{key}", mean, counts[key], prog_bar=key == "epe_px")

    def _judged(self, metric: str, batch: Batch, region: Tensor) -> Tensor:
        """Which samples (B,) have a region (B, 1, H, W) to judge; others are remembered by name."""
        judged = region.flatten(1).any(dim=1)
        excluded = [n for n, found in zip(batch["name"], judged.tolist(), strict=True) if not found]
        self._excluded.setdefault(metric, []).extend(excluded)
        return judged

    def _log_validation(self, name: str, value: Tensor, count: int, prog_bar: bool = False) -> None:
        """Log the mean over `count` samples; all processes log the same names."""
        value = value.float().to(self.device)  # where processes can agree on it: NCCL has no CPU
        self.log(f"val/{name}", value, prog_bar=prog_bar, batch_size=count, sync_dist=True)


def _mean(values: Tensor, judged: Tensor) -> Tensor:
    """Over the samples that were judged, (); 0, which must not count, where none was."""
    return values[judged].mean() if judged.any() else values.new_zeros(())
