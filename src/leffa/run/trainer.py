"""The Lightning trainer of a run."""

import logging
import warnings
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from leffa.io.numbers import check_number
from leffa.run.config import build
from leffa.training.checkpoints import AtomicCheckpointIO

_STEPS = "a stage has the steps that it says; trainer.max_steps ends a run earlier"
# Keys of Lightning's Trainer, and of the optimiser, that other settings determine.
DECIDED = {
    "trainer.accumulate_grad_batches": "it follows from a stage's batch_size and "
    "hardware.micro_batch",
    "trainer.max_epochs": "a stage is an epoch; trainer.max_steps ends a run earlier",
    "trainer.check_val_every_n_epoch": "a stage ends with a validation; more of them: "
    "trainer.val_check_interval",
    "trainer.limit_train_batches": _STEPS,
    "trainer.overfit_batches": _STEPS,
    "trainer.fast_dev_run": f"{_STEPS}, and debug=tiny takes three",
    "trainer.max_time": f"{_STEPS}; a run that gets SIGTERM, as from `timeout 8h`, saves and stops",
    "trainer.reload_dataloaders_every_n_epochs": "each stage has a loader of its own",
    "trainer.use_distributed_sampler": "the data module distributes the micro-batches itself",
    "trainer.plugins": "checkpoints are written by the program's own",
    "trainer.callbacks": "they are the group callbacks",
    "trainer.logger": "it is the group logger",
    "trainer.default_root_dir": "it is paths.output_dir",
    "optimizer.lr": "it is that of the stage: curriculum.stages.0.learning_rate of the first one",
}


def build_trainer(config: dict[str, Any], epochs: int) -> Trainer:
    """One stage is one epoch; the curriculum has counted `max_steps` already.

    Raises:
        ValueError: a key that other settings determine, a precision that learns nothing, a
            negative limit of gradients, an unsupported strategy, or several devices on a machine
            without a GPU.
    """
    given = config["trainer"]
    for key, reason in DECIDED.items():
        group, _, name = key.partition(".")
        if name in config[group]:
            raise ValueError(f"{key} cannot be given: {reason}")
    _check_strategy(given["strategy"])
    _check_precision(config)
    if (clip := given.get("gradient_clip_val")) is not None:
        check_number("gradient_clip_val", clip)
        if clip < 0:
            raise ValueError(f"gradient_clip_val={clip}: is negative; null clips nothing")
    decided: dict[str, Any] = {"max_steps": -1, "val_check_interval": None}
    if not config["data"]["val_samples"]:
        decided["limit_val_batches"] = 0
    if given["accelerator"] == "auto":  # Lightning would take Apple's, which has no float64
        decided["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
        if decided["accelerator"] == "cpu":
            _check_one_process(given)
    try:
        trainer: Trainer = build(
            given | decided,
            max_epochs=epochs,
            plugins=[AtomicCheckpointIO()],
            reload_dataloaders_every_n_epochs=1,
            use_distributed_sampler=False,
            default_root_dir=config["paths"]["output_dir"],
            logger=_parts(config["logger"]),
            callbacks=_parts(config["callbacks"]),
        )
    except MisconfigurationException as error:
        named = ", ".join(f"trainer.{key}={given[key]}" for key in ("accelerator", "devices"))
        raise ValueError(f"{named}: {error}") from error
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment):
        environment.auto_requeue = False  # StopOnSignal does that, with a checkpoint of ours
    return trainer


def _parts(group: dict[str, Any]) -> list[Any]:
    """Those of a group that were not switched off (`callbacks.images=null`)."""
    return [build(part) for part in group.values() if part is not None]


def _check_one_process(given: dict[str, Any]) -> None:
    """Refuse several devices on a machine without a GPU, unless the CPU is named."""
    for key in ("devices", "num_nodes"):
        if str(given[key]) not in ("1", "auto"):
            raise ValueError(
                f"trainer.{key}={given[key]}: this machine has no GPU; leave it out, or add "
                "trainer.accelerator=cpu for as many processes on the CPU"
            )


def _check_strategy(strategy: str | dict[str, Any]) -> None:
    """Most ways to train in shards save folders of them, not the one file that others read."""
    given = strategy if isinstance(strategy, dict) else {"_target_": strategy}
    name, one_file = str(given["_target_"]), given.get("save_distributed_checkpoint") is False
    foreign = any(word in name.lower() for word in ("fsdp", "deepspeed", "xla"))
    if foreign or (in_shards(given) and not one_file):
        raise ValueError(
            f"trainer.strategy={name}: its checkpoints are not of this program's format; "
            "give trainer=fsdp where memory is short, trainer=ddp otherwise"
        )


def _check_precision(config: dict[str, Any]) -> None:
    """Refuse a precision that learns nothing, or fails at the first step."""
    precision = str(config["trainer"]["precision"])
    if precision in ("bf16-true", "16-true"):
        raise ValueError(
            f"trainer.precision={precision}: 16-bit weights lose updates of 1e-5; give bf16-mixed, "
            "which keeps weights in 32 bits"
        )
    clips = config["trainer"].get("gradient_clip_val")
    if precision in ("16-mixed", "16") and clips and config["optimizer"].get("fused"):
        raise ValueError(
            f"trainer.precision={precision}: a fused optimiser undoes the scale of gradients after "
            "they are clipped; add optimizer.fused=false, or give bf16-mixed"
        )


def in_shards(strategy: str | dict[str, Any]) -> bool:
    """Whether the strategy is that of trainer=fsdp."""
    return "modelparallel" in str(strategy).lower()


# Lightning suggests worker counts; on small data the answer is deliberate.
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
# The frozen autoencoder is, and stays so.
warnings.filterwarnings("ignore", message="Found .* module.s. in eval mode")
# The size of the model in its table is that of 32 bits, which the weights have in mixed precision.
warnings.filterwarnings("ignore", message="Precision .* is not supported by the model summary")
# Lightning 2.6 on PyTorch 2.14, of its own code.
warnings.filterwarnings("ignore", message=".isinstance.treespec, LeafSpec.. is deprecated")
# It does not see that the data module deals on from where a run stopped.
warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")


def _no_advertisement(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("💡 Tip: For seamless cloud")


# Lightning advertises in every log.
logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_no_advertisement)
