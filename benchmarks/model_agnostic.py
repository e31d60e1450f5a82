"""Is the Leffa loss model-agnostic? Every model on the same synthetic data, with and without it.

    python benchmarks/model_agnostic.py              both tasks, three seeds
    python benchmarks/model_agnostic.py --table      only the table, of finished runs
    python benchmarks/model_agnostic.py --viton DIR --tasks tryon --hardware gpu_24gb
                                                     on VITON's photographs (no ground-truth flow)

After the paper's Table 4, whose code was never released. All models train for equally many steps of
equal batches, sample with the same sampler, and are scored by the same code on the same images. A
finished run is kept under outputs/model_agnostic and is not repeated.
"""

import argparse
import json
import logging
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from leffa.demo.jobs import Job, run_jobs, steps_done
from leffa.io.atomic import write_json, write_text

ROOT = Path(__file__).parents[1]
HEIGHT_WIDTH = (96, 72)  # of all runs
RESULTS = ROOT / "benchmarks" / "results"
COLUMNS = {
    "flow/epe_px": "EPE (px) ↓",
    "best_layer_epe_px": "best layer ↓",
    "flow/pck_3": "PCK 3 % ↑",
    "paired/ssim": "SSIM ↑",
    "set/fid": "FID ↓",
    "set/kid": "KID ↓",
    "seconds_a_step": "s a step",
    "peak_gib": "peak GiB",
    "trainable_million": "trained, M",
}


@dataclass(frozen=True)
class Model:
    """An experiment, which has a row with the loss and one without."""

    title: str
    experiment: str


# All models from the base, with the loss on all layers; only Leffa has a baseline.
FROM_BASE = [
    "start_from=null",
    "curriculum=tiny",
    "leffa_loss.layers=all",
    "leffa_loss.weight=2.0",
    "leffa_loss.temperature=2.0",
    "leffa_loss.blur=0.05",
]
TASKS = {
    "tryon": (
        Model("Leffa", "tryon_synthetic"),
        Model("CatVTON", "catvton_synthetic"),
        Model("IDM-VTON", "idm_vton_synthetic"),
    ),
    "pose": (Model("Leffa", "pose_synthetic"), Model("CFLD", "cfld_synthetic")),
}


@dataclass(frozen=True)
class Trial:
    """One training run and its evaluation."""

    task: str
    model: Model
    leffa_loss: bool
    seed: int

    def folder(self, out: Path) -> Path:
        control = "" if self.leffa_loss else "_control"
        return out / f"{self.model.experiment}{control}_seed{self.seed}"

    def result(self, out: Path) -> dict[str, float] | None:
        path = self.folder(out) / "result.json"
        return json.loads(path.read_text()) if path.is_file() else None


def trials(seeds: int, tasks: list[str]) -> list[Trial]:
    """By seed first, so that an interrupted benchmark has whole columns."""
    return [
        Trial(task, model, leffa_loss, seed)
        for seed in range(seeds)
        for task in tasks
        for model in TASKS[task]
        for leffa_loss in (True, False)
    ]


def run_trial(trial: Trial, options: argparse.Namespace) -> None:
    """Train and evaluate in this process, and write what came out."""
    from leffa.run import assemble, compose, evaluate
    from leffa.training.callbacks.throughput import peak_memory

    torch.set_num_threads(1)
    folder = trial.folder(options.out)
    shared = [f"hardware={options.hardware}", f"paths.data_dir={ROOT / 'data'}"]
    data, dataset = _data(trial.task, options.viton)
    run = assemble(
        compose(
            "train",
            [
                f"experiment={trial.model.experiment}",
                f"leffa_loss={'on' if trial.leffa_loss else 'off'}",
                *FROM_BASE,
                f"seed={trial.seed}",
                f"trainer.max_steps={options.steps}",
                "data.val_samples=0",
                f"paths.output_dir={folder}",
                *data,
                *shared,
            ],
        )
    )
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    clock = time.perf_counter if cuda else time.process_time
    begun = clock()
    run.trainer.fit(run.module, run.datamodule)  # ends with a checkpoint, which waits for the GPU
    seconds = clock() - begun
    # The largest resident set so far: of training, since evaluation comes after it.
    peak = peak_memory(run.trainer.strategy.root_device) / 2**30
    evaluation = evaluate(
        compose(
            "evaluate",
            [
                *dataset,
                f"ckpt={folder}",
                f"paths.output_dir={folder}/evaluation",
                "sampler.steps=10",
                *shared,
            ],
        ),
        progress=False,
    )
    metrics = dict(evaluation.metrics)
    layers = [
        value
        for key, value in metrics.items()
        if key.startswith("flow_layers/") and key.endswith("/epe_px")
    ]
    if layers:
        metrics["best_layer_epe_px"] = min(layers)
    metrics |= {
        "seconds_a_step": seconds / options.steps,
        "peak_gib": peak,
        "trainable_million": sum(
            parameter.numel() for parameter in run.module.parameters() if parameter.requires_grad
        )
        / 1e6,
    }
    write_json(folder / "result.json", metrics)


def _data(task: str, viton: Path | None) -> tuple[list[str], list[str]]:
    """What training and what evaluation are told about the data."""
    if viton is None:
        return [], [f"dataset=synthetic_{task}"]
    height, width = HEIGHT_WIDTH
    size = [f"dataset.transform.height={height}", f"dataset.transform.width={width}"]
    training = ["data=viton", f"data.root={viton}", "data.transform.flip=0.0"]
    return training, ["dataset=viton_paired", f"dataset.root={viton}", "limit=256", *size]


def to_markdown(options: argparse.Namespace) -> str:
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}"
    text = [
        f"# One loss, several models, on {'VITON' if options.viton else 'the synthetic data set'}",
        "",
        f"`python benchmarks/model_agnostic.py --steps {options.steps} --seeds {options.seeds}"
        f"{' --viton DIR' if options.viton else ''}` on "
        f"{machine}, one thread a run.",
        "Mean ± standard deviation over seeds. Settings of the loss are the same for all models;",
        "steps, batches, data, sampler, scores are the same. Flows are read at t = 200, averaged",
        "over the model's layers, and of the layer where they are best, in pixels of 96x72.",
        f"FID and KID over {256 if options.viton else 64} images are biased: compare rows only. "
        f"Seconds are {'wall-clock' if torch.cuda.is_available() else 'CPU'} seconds.",
    ]
    for task in options.tasks:
        heads = " | ".join(["model", "Leffa loss", "runs", *COLUMNS.values()])
        text += ["", f"## {task}", "", f"| {heads} |", "|---|---|" + "---:|" * (len(COLUMNS) + 1)]
        for model in TASKS[task]:
            for leffa_loss in (False, True):
                found = [
                    result
                    for trial in trials(options.seeds, [task])
                    if (trial.model, trial.leffa_loss) == (model, leffa_loss)
                    and (result := trial.result(options.out)) is not None
                ]
                cells = [_cell([r[key] for r in found if key in r]) for key in COLUMNS]
                row = [model.title, "yes" if leffa_loss else "no", str(len(found)), *cells]
                text.append("| " + " | ".join(row) + " |")
    return "\n".join(text) + "\n"


def _name(trial: Trial, options: argparse.Namespace) -> str:
    return trial.folder(options.out).name


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    mean = f"{statistics.mean(values):.3g}"
    return f"{mean} ± {statistics.stdev(values):.2g}" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--hardware", default="cpu", help="a name of conf/hardware")
    parser.add_argument("--viton", type=Path, metavar="DIR", help="VITON, not synthetic data")
    parser.add_argument("--out", type=Path, help="folder of the runs")
    parser.add_argument("--table", action="store_true", help="only collect finished runs")
    parser.add_argument("--trial", help=argparse.SUPPRESS)
    options = parser.parse_args()
    name = "model_agnostic_viton" if options.viton else "model_agnostic"
    options.out = options.out or ROOT / "outputs" / name
    if options.viton and options.tasks != ["tryon"]:
        parser.error("--viton goes with --tasks tryon")
    wanted = trials(options.seeds, options.tasks)
    if options.trial:  # one of our own processes
        run_trial(next(each for each in wanted if _name(each, options) == options.trial), options)
        return
    if not options.table:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        run_jobs(
            [
                Job(
                    _name(trial, options),
                    options.steps,
                    [*sys.argv, "--trial", _name(trial, options)],
                    trial.folder(options.out) / "log.txt",
                    partial(steps_done, trial.folder(options.out)),
                )
                for trial in wanted
                if trial.result(options.out) is None
            ],
            at_a_time=options.jobs,
        )
    RESULTS.mkdir(exist_ok=True)
    values = {trial.folder(options.out).name: trial.result(options.out) for trial in wanted}
    write_json(RESULTS / f"{name}.json", values)
    write_text(RESULTS / f"{name}.md", to_markdown(options))
    print((RESULTS / f"{name}.md").read_text())


if __name__ == "__main__":
    main()
