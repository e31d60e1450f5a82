"""`leffa demo`: the whole system on a laptop, from no data to a report.

    render a dataset -> the last stage, with and without the Leffa loss -> evaluate -> report

    <out>/report.html  samples.png  metrics.json      to look at
    <out>/runs/{control,leffa}                        the two trainings
    <out>/evaluations/{baseline,control,leffa}        generated images and their scores
    <out>/logs                                        what each process said

The two trainings start from the baseline that comes with the package, run at the same time, each on
one core, and differ in nothing but the Leffa loss.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from leffa.cli_errors import quoted
from leffa.demo.jobs import Job, pictures_done, run_jobs, steps_done
from leffa.demo.results import Results, collect
from leffa.demo.reuse import claim, fingerprint, finish
from leffa.demo.settings import REPORT, DemoSettings
from leffa.io.outputs import check_writable
from leffa.io.progress import progress_bar

EXPERIMENT, BASELINE = "tryon_synthetic", "tryon_baseline"  # which the experiment starts from
LEFFA_LOSS = {"control": "off", "leffa": "on"}
TITLES = {
    "baseline": "before this stage",
    "control": "without the Leffa loss",
    "leffa": "with the Leffa loss",
}
VALIDATIONS = 3  # looks into the attention during a training


@dataclass(frozen=True)
class Part:
    """A training or an evaluation: its folder, its settings as overrides, its fingerprint."""

    folder: Path
    overrides: list[str]
    mark: str


def run_demo(settings: DemoSettings, console: Console | None = None) -> Results:
    """Do all of it, reusing what an earlier run has finished; see `leffa.demo.reuse` for the rule.

    Raises:
        ChildProcessError: a training or an evaluation failed.
        ValueError: bad settings, or the data folder holds something else.
    """
    console = console or Console()
    settings.check()
    check_writable(settings.out / name for name in REPORT)
    trainings = {name: _training(settings, name) for name in LEFFA_LOSS}
    evaluations = {name: _evaluation(settings, name, trainings) for name in TITLES}

    console.print("[bold]1/4[/] Rendering persons, garments and the ground-truth flow between them")
    _draw(trainings["leffa"])
    console.print(
        f"[bold]2/4[/] Training {settings.steps} steps, with and without the Leffa loss, "
        "from the shipped baseline"
    )
    _run(settings, console, trainings, "train")
    console.print("[bold]3/4[/] Generating and scoring test samples")
    _run(settings, console, evaluations, "evaluate")
    console.print("[bold]4/4[/] Writing the report")
    # Here, so that the first lines come at once.
    from leffa.demo.report import metrics_table, write_report

    runs = {name: part.folder for name, part in trainings.items()}
    results = collect(settings, runs, {name: part.folder for name, part in evaluations.items()})
    paths = write_report(results, settings.out)
    numbers = metrics_table(results.rows)
    # Numbers as narrow as they can be where else the names of the rows would have no room.
    most = 6 if console.width < 110 else None
    heads = (Column(f"{title} {arrow}", max_width=most) for title, arrow in numbers["head"])
    table = Table("", *heads)
    for _, title, cells in numbers["rows"]:
        table.add_row(title, *(text for text, _ in cells))
    console.print(table)
    for path in paths:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    return results


def _training(settings: DemoSettings, name: str) -> Part:
    folder = settings.out / "runs" / name
    overrides = [
        f"experiment={EXPERIMENT}",
        f"leffa_loss={LEFFA_LOSS[name]}",
        f"seed={settings.seed}",
        f"paths.data_dir={quoted(settings.data)}",
        f"paths.output_dir={quoted(folder)}",
        f"data.prepare.train={settings.train_samples}",
        f"data.prepare.test={settings.test_samples}",
        f"data.val_samples={min(8, settings.test_samples)}",
        "sampler.steps=1",  # validation is for the flow here; the evaluation makes the images
        f"curriculum.stages.0.steps={settings.steps}",  # its only stage
        f"trainer.val_check_interval={max(1, settings.steps // VALIDATIONS)}",
        f"trainer.log_every_n_steps={max(1, min(10, settings.steps // 50))}",
        "trainer.accelerator=cpu",  # the same numbers on every machine
        "+trainer.enable_progress_bar=false",
        "+trainer.enable_model_summary=false",
        "~callbacks.progress",
        "~callbacks.images",
        "~logger.tensorboard",
        "+logger.csv.flush_logs_every_n_steps=1",  # our progress bar reads it
    ]
    return Part(folder, overrides, fingerprint(overrides))


def _evaluation(settings: DemoSettings, name: str, trainings: dict[str, Part]) -> Part:
    folder = settings.out / "evaluations" / name
    weights, mark = BASELINE, ""
    if name in trainings:
        weights, mark = quoted(trainings[name].folder), trainings[name].mark
    overrides = [
        "dataset=synthetic_tryon",
        f"ckpt={weights}",
        f"paths.data_dir={quoted(settings.data)}",
        f"paths.output_dir={quoted(folder)}",
        f"dataset.prepare.train={settings.train_samples}",
        f"dataset.prepare.test={settings.test_samples}",
        f"sampler.steps={settings.sampler_steps}",
        "sampler.paste_back=true",  # what lies outside the mask is known, in every try-on product
        f"limit={min(settings.evaluated, settings.test_samples)}",
        "device=cpu",
    ]
    return Part(folder, overrides, fingerprint(overrides, mark))


def _draw(training: Part) -> None:
    """Render the dataset of the trainings, or what is missing of it."""
    from leffa.run import compose
    from leffa.synthetic.write import write_viton_hd

    data = compose("train", training.overrides).data.prepare
    options = {key: value for key, value in data.items() if not str(key).startswith("_")}
    with progress_bar("samples", data.train + data.test) as bar:
        write_viton_hd(**options, progress=bar)


def _run(settings: DemoSettings, console: Console, parts: dict[str, Part], program: str) -> None:
    """Do those parts that are not finished: `program` is train or evaluate."""
    todo = [name for name, part in parts.items() if claim(part.folder, part.mark, settings.fresh)]
    for name in parts.keys() - todo:
        console.print(f"  {TITLES[name]}: finished earlier, reused from {parts[name].folder}")
    if settings.processes:
        jobs = [_job(settings, name, parts[name], program) for name in todo]
        run_jobs(jobs, settings.processes)
    else:
        _run_here([parts[name] for name in todo], program)
    for name in todo:
        finish(parts[name].folder, parts[name].mark)


def _job(settings: DemoSettings, name: str, part: Part, program: str) -> Job:
    # -P: nothing of the working folder is imported.
    arguments = ["-P", "-m", "leffa.run", program, *part.overrides]
    logs = settings.out / "logs"
    if program == "train":
        log, done = logs / f"training_{name}.log", partial(steps_done, part.folder)
        return Job(TITLES[name], settings.steps, arguments, log, done)
    log, done = logs / f"evaluation_{name}.log", partial(pictures_done, part.folder)
    return Job(TITLES[name], settings.evaluated, arguments, log, done)


def _run_here(parts: list[Part], program: str) -> None:
    """In this process, for a debugger."""
    from leffa.run import compose, evaluate, train

    for part in parts:
        config = compose(program, part.overrides)
        train(config) if program == "train" else evaluate(config)
