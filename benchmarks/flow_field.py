"""Speed and memory of `flow_field` against the same flow with the softmax written out.

    python benchmarks/flow_field.py         768 and 3,072 tokens; 12,288 for ours alone
    python benchmarks/flow_field.py --all   the written-out one at 12,288 too: takes 14 GB

The written-out flow stores an L x L map for every head; ours is an attention whose values are
coordinates, so the fused kernels apply and no map is stored. Both run forward and backward on the
same queries and keys. Each measurement has a process of its own, because the highest memory of a
process never falls. Run it on a quiet machine: the load before it is part of the report.
"""

import argparse
import json
import math
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from leffa.losses.flow import coordinates, flow_field

HEADS, WIDTH, TEMPERATURE = 8, 40, 2.0  # the attention of SD1.5 at its finest layers
SIZES = (768, 3072, 12288)  # tokens of the latents of 256x192, 512x384 and 1024x768
GRIDS = {64: (8, 8), 768: (32, 24), 3072: (64, 48), 12288: (128, 96)}  # 64: to warm up

# The project's goals, forward + backward, float32 on the CPU.
TIME_GOAL, MEMORY_GOAL = 0.2, 0.3  # shares of the written-out flow at 3,072 tokens
LARGEST_GOAL_MB = 1000.0  # extra memory at 12,288 tokens

FlowField = Callable[[Tensor, Tensor, tuple[int, int], float], Tensor]


def written_out(
    query: Tensor, key: Tensor, key_grid: tuple[int, int], temperature: float
) -> Tensor:
    """Eq. 2-3 to the letter: softmax, mean over heads, product with the coordinates."""
    logits = query @ key.transpose(-1, -2) / (temperature * math.sqrt(key.shape[-1]))
    weights = logits.softmax(dim=-1).mean(dim=1)
    return weights.float() @ coordinates(key_grid, device=key.device, dtype=torch.float32)


IMPLEMENTATIONS: dict[str, FlowField] = {"ours": flow_field, "written out": written_out}


@dataclass(frozen=True)
class Job:
    """One process: what it computes, at which size, where."""

    implementation: str
    tokens: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Measurement:
    """What one process reports."""

    seconds: float  # forward + backward, the fastest of several
    extra_mb: float  # highest memory of one forward + backward, beyond inputs and libraries
    flow: list[list[float]]  # (L, 2), so that the results can be compared


@dataclass(frozen=True)
class Row:
    """One line of the table; the last three compare ours with the written-out flow."""

    tokens: int
    implementation: str
    seconds: float
    extra_mb: float
    time_ratio: float | None = None
    memory_ratio: float | None = None
    largest_difference: float | None = None  # of a flow in [-1, 1]


def measure(job: Job) -> Measurement:
    """One implementation at one size; to be called in a fresh process."""
    compute = IMPLEMENTATIONS[job.implementation]
    run_once(compute, *make_inputs(64, job))  # libraries and kernels load before the measurement
    query, key, gradient = make_inputs(job.tokens, job)
    before = peak_memory(job.device)
    flow = run_once(compute, query, key, gradient)
    extra = peak_memory(job.device) - before
    seconds = best_time(lambda: run_once(compute, query, key, gradient), job.device)
    return Measurement(seconds, extra / 1e6, flow[0].tolist())


def make_inputs(tokens: int, job: Job) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys (1, N, L, D), and the gradient of the flow (1, L, 2).

    The heads are a view of what a linear projection would return, as they are inside a UNet.
    """
    torch.manual_seed(0)
    dtype = getattr(torch, job.dtype)

    def heads() -> Tensor:
        projected = torch.randn(1, tokens, HEADS * WIDTH).to(job.device, dtype)
        return projected.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2).requires_grad_()

    return heads(), heads(), torch.randn(1, tokens, 2).to(job.device)


def run_once(compute: FlowField, query: Tensor, key: Tensor, gradient: Tensor) -> Tensor:
    """Forward and backward; returns the flow (1, L, 2)."""
    flow = compute(query, key, GRIDS[key.shape[2]], TEMPERATURE)
    torch.autograd.grad(flow, (query, key), gradient)
    return flow.detach()


def best_time(run: Callable[[], object], device: str, budget: float = 3.0, most: int = 10) -> float:
    """Seconds of the fastest run within the budget: the one that others disturbed least."""
    times: list[float] = []
    while not times or (sum(times) < budget and len(times) < most):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_memory(device: str) -> float:
    """Highest memory so far in bytes: of this process on the CPU, of the allocator on a GPU."""
    if device == "cuda":
        return float(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def measure_in_new_process(job: Job) -> Measurement:
    """`measure`, where nothing else has used memory before."""
    print(f"{job.implementation}, {job.tokens} tokens ...", file=sys.stderr)
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(measure, job).result()


def compare(measurements: dict[tuple[int, str], Measurement]) -> list[Row]:
    """One row per size and implementation, in that order."""
    rows = []
    for (tokens, implementation), own in sorted(measurements.items()):
        row = Row(tokens, implementation, own.seconds, own.extra_mb)
        other = measurements.get((tokens, "written out"))
        if implementation == "ours" and other is not None:
            difference = (torch.tensor(own.flow) - torch.tensor(other.flow)).abs().max().item()
            ratios = own.seconds / other.seconds, own.extra_mb / other.extra_mb
            row = Row(tokens, implementation, own.seconds, own.extra_mb, *ratios, difference)
        rows.append(row)
    return rows


def check_goals(rows: list[Row]) -> dict[str, bool]:
    """The goals that these rows can answer, and whether each is met."""
    ours = {row.tokens: row for row in rows if row.implementation == "ours"}
    middle, largest = ours[3072], ours[12288]
    goals = {"12,288 tokens: under 1 GB extra": largest.extra_mb < LARGEST_GOAL_MB}
    if middle.time_ratio is not None and middle.memory_ratio is not None:
        goals[f"3,072 tokens: at most {TIME_GOAL} of the time"] = middle.time_ratio <= TIME_GOAL
        goals[f"3,072 tokens: at most {MEMORY_GOAL} of the extra memory"] = (
            middle.memory_ratio <= MEMORY_GOAL
        )
    return goals


def describe_machine(device: str, dtype: str) -> dict[str, str | int | float]:
    """What the figures depend on."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load before": round(os.getloadavg()[0], 1),
        "dtype": dtype,
        "torch": torch.__version__,
    }


def cpu_name() -> str:
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def as_markdown(
    machine: dict[str, str | int | float], rows: list[Row], goals: dict[str, bool]
) -> str:
    """The report: the machine, the table, the goals."""
    header = ("tokens", "", "seconds", "extra MB", "of its time", "of its memory", "difference")
    lines = ["# flow_field: forward + backward, 8 heads of 40", ""]
    lines += [", ".join(f"{key}: {value}" for key, value in machine.items()), ""]
    lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for row in rows:
        ratios = (row.time_ratio, row.memory_ratio, row.largest_difference)
        cells = [f"{row.tokens:,}", row.implementation, f"{row.seconds:.3f}", f"{row.extra_mb:.0f}"]
        cells += ["" if ratio is None else f"{ratio:.2g}" for ratio in ratios]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {goal}: {'met' if met else 'missed'}" for goal, met in goals.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table and write it as .json and .md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="written out at 12,288 tokens too")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()

    machine = describe_machine(arguments.device, arguments.dtype)
    wanted = [(tokens, name) for tokens in SIZES for name in IMPLEMENTATIONS]
    if not arguments.all:
        wanted.remove((max(SIZES), "written out"))
    rows = compare(
        {
            (tokens, name): measure_in_new_process(
                Job(name, tokens, arguments.device, arguments.dtype)
            )
            for tokens, name in wanted
        }
    )
    goals = check_goals(rows)
    report = as_markdown(machine, rows, goals)
    print(report)
    name = "flow_field" if arguments.device == "cpu" else f"flow_field_{arguments.device}"
    results = {"machine": machine, "rows": [asdict(row) for row in rows], "goals": goals}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    (arguments.out / f"{name}.md").write_text(report)


if __name__ == "__main__":
    main()
