"""What the processes of the demo do: train one experiment, evaluate one checkpoint.

The heavy imports stand inside the functions: they happen in the child, after its output has been
turned to its log. Each task keeps to one core, since another one runs beside it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from leffa.demo.jobs import Tell
from leffa.io.atomic import replacing

if TYPE_CHECKING:
    from leffa.training.module import PersonGenerationModule


def train(tell: Tell, overrides: list[str], untrained: Path | None) -> None:
    """Train an experiment.

    Args:
        overrides: of the configuration `train`.
        untrained: where to keep a checkpoint of the model before the first step.
    """
    import torch

    from leffa.run import assemble, compose
    from leffa.training.callbacks.progress import ProgressReport

    torch.set_num_threads(1)
    run = assemble(compose("train", overrides))
    if untrained is not None:
        save_untrained(run.module, untrained)
    report = ProgressReport(lambda done, loss: tell(done, f"loss {loss:.3f}"))
    run.trainer.callbacks.append(report)  # type: ignore[attr-defined]
    run.trainer.fit(run.module, run.datamodule)


def save_untrained(module: "PersonGenerationModule", path: Path) -> None:
    """A checkpoint that `leffa.inference` reads, of a module that has not been trained."""
    import torch

    checkpoint = {"state_dict": module.state_dict(), "global_step": 0}
    module.on_save_checkpoint(checkpoint)
    with replacing(path) as temporary:
        torch.save(checkpoint, temporary)


def evaluate(tell: Tell, overrides: list[str]) -> None:
    """Generate and score; progress shows in the folder of finished pictures.

    Args:
        overrides: of the configuration `evaluate`.
    """
    import torch

    from leffa.run import compose
    from leffa.run import evaluate as evaluate_run

    torch.set_num_threads(1)
    evaluate_run(compose("evaluate", overrides), progress=False)
