"""The command that estimates a training in advance."""

import itertools
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from leffa.estimate.count import StepCount
    from leffa.estimate.plan import Setting
    from leffa.models.interface import PersonGenerator
    from leffa.training.stages import Stage

GROUPS = ("model", "leffa_loss", "curriculum", "hardware", "trainer", "callbacks")


def estimate(
    overrides: Annotated[
        tuple[str, ...], Positional, arg(metavar="KEY=VALUE ...", help_behavior_hint="")
    ],
) -> None:
    """Estimate parameters, memory, steps and hours of a training run without starting it.

    Args:
        overrides: as for train.py: experiment=NAME hardware=NAME trainer.devices=8 ...; and
            throughput=IMAGES_PER_S[@HEIGHTxWIDTH], over all devices, or throughput=RUN
    """
    if not overrides:
        raise ValueError("leffa estimate: give KEY=VALUE arguments, such as experiment=NAME")
    for word in overrides:
        if "=" not in word:
            raise ValueError(f"{word}: is not KEY=VALUE, such as experiment=virtual_tryon_512")
    given = [word for word in overrides if not word.startswith("throughput=")]
    speeds = [word.partition("=")[2] for word in overrides if word not in given]
    print(_estimate(given, speeds[-1] if speeds else None))


def _estimate(overrides: list[str], speed: str | None) -> str:
    """The table.

    Raises:
        ValueError: the training does not fit; the message has the nearest setting that does.
    """
    from leffa.estimate.bases import without_weights
    from leffa.estimate.count import count_step, count_weights
    from leffa.estimate.plan import GB, fits, largest_stage, nearest_fit
    from leffa.estimate.plan import overrides as words
    from leffa.estimate.report import read_throughput, to_markdown
    from leffa.io.progress import progress_bar
    from leffa.losses.flow import LeffaLoss
    from leffa.run import settings
    from leffa.training.stages import Curriculum, Stage

    config = settings("train", overrides, *GROUPS)
    curriculum = config["curriculum"]
    loss = LeffaLoss(**{k: v for k, v in config["leffa_loss"].items() if k != "_target_"})
    wanted = Curriculum(
        [Stage.read(stage) for stage in curriculum["stages"]],
        max_steps=config["trainer"]["max_steps"],
    ).stages
    stages = [replace(stage, leffa_loss=stage.leffa_loss and loss.active) for stage in wanted]
    throughput = read_throughput(speed, stages) if speed is not None else None
    setting, done = _setting(config, overrides), itertools.count(1)

    with TemporaryDirectory() as folder, progress_bar("counting") as progress:
        build = partial(build_shapes, without_weights(config["model"], Path(folder)))

        @cache
        def counted(
            height: int, width: int, half: bool, checkpointing: bool, leffa: bool
        ) -> "StepCount":
            how = height, width, half, checkpointing
            found = count_step(build, *how, loss if leffa else None)
            number = next(done)
            progress(number, max(len(stages), number))
            return found

        def count(stage: "Stage", setting: "Setting") -> "StepCount":
            checkpointing = setting.gradient_checkpointing
            return counted(stage.height, stage.width, setting.half, checkpointing, stage.leffa_loss)

        weights = count_weights(build)
        if fits(weights, stages, setting, count):
            peak = config["hardware"]["peak_tflops"]
            return to_markdown(weights, stages, setting, count, throughput, peak)
        stage, most = largest_stage(weights, stages, setting, count)
        presets = _presets(setting)
        nearest = nearest_fit(weights, stages, setting, presets, count)
    advice = "no setting of conf/hardware fits; use smaller images, or experiment=finetune_lora, "
    advice += "which trains low-rank adapters"
    if nearest:
        advice = f"the nearest setting that fits: {words(setting, nearest, presets)}"
    raise ValueError(
        f"hardware={setting.hardware}: stage {stage.name} ({stage.height}x{stage.width}) needs "
        f"{most / GB:.1f} GB of {setting.memory_gb:g} GB on each device; {advice}"
    )


def _setting(config: dict[str, Any], overrides: list[str]) -> "Setting":
    from leffa.estimate.plan import Setting
    from leffa.run import choices

    hardware, trainer = config["hardware"], config["trainer"]
    counts = [trainer[key] for key in ("devices", "num_nodes")]
    if not all(isinstance(number, int) and number > 0 for number in counts):
        raise ValueError(f"trainer.devices={counts[0]}: give the number of devices to estimate for")
    return Setting(
        hardware=choices("train", overrides)["hardware"],
        memory_gb=hardware["memory_gb"],
        micro_batch=hardware["micro_batch"],
        precision=str(trainer["precision"]),
        gradient_checkpointing=hardware["gradient_checkpointing"],
        devices=counts[0] * counts[1],
        average="ema" in config["callbacks"],
        node=counts[0],
        sharded="ModelParallel" in str(trainer["strategy"]),
    )


def _presets(setting: "Setting") -> list["Setting"]:
    """Every preset of conf/hardware, on as many devices."""
    from leffa.run import CONF, settings

    keys = ("memory_gb", "micro_batch", "precision", "gradient_checkpointing")
    found = []
    for path in sorted((CONF / "hardware").glob("*.yaml")):
        preset = settings("train", [f"hardware={path.stem}"], "hardware")["hardware"]
        if preset["memory_gb"] is not None:
            changes = {key: preset[key] for key in keys}
            found.append(replace(setting, hardware=path.stem, **changes))
    return found


def build_shapes(config: dict[str, Any], checkpointing: bool) -> "PersonGenerator":
    """The model that the configuration names, whichever it is, without values: an estimate needs
    its shapes alone."""
    import torch

    from leffa.run.config import build

    with torch.device("meta"):
        model: PersonGenerator = build({**config, "gradient_checkpointing": checkpointing})
    return model
