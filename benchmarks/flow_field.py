"""Speed and memory of `flow_field` against the same flow with the softmax written out.

    python benchmarks/flow_field.py         768 and 3,072 tokens; 12,288 for ours alone
    python benchmarks/flow_field.py --all   the written-out one at 12,288 too: takes 14 GB

The written-out flow stores an L x L map for every head; ours is an attention whose values are
coordinates, so the fused kernels apply and no map is stored. Both run forward and backward on the
same queries and keys. Memory is measured in one process each, because the highest memory of a
process never falls; time in turns within one process, so that both meet the same load.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import torch
from machine import describe_machine, line, verdict
from torch import Tensor

from leffa.io.atomic import write_json, write_text
from leffa.losses.flow import coordinates, flow_field
from leffa.training.callbacks.throughput import peak_memory

HEADS, WIDTH, TEMPERATURE = 8, 40, 2.0  # the attention of SD1.5 at its finest layers
SIZES = (768, 3072, 12288)  # tokens of the latents of 256x192, 512x384 and 1024x768
GRIDS = {64: (8, 8), 768: (32, 24), 3072: (64, 48), 12288: (128, 96)}  # 64: to warm up
ROUNDS = {768: 20, 3072: 5, 12288: 1}  # the fastest of so many counts

# The project's goals, forward + backward, float32 on the CPU.
TIME_GOAL, MEMORY_GOAL = 0.2, 0.3  # shares of the written-out flow at 3,072 tokens
LARGEST_GOAL_MB = 1000.0  # extra memory at 12,288 tokens

Result = TypeVar("Result")
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
class Setting:
    """Where, in what and at which size everything is computed."""

    tokens: int
    device: str
    dtype: str
    threads: int


@dataclass(frozen=True)
class MemoryUse:
    """What one forward + backward needs, and what it returns."""

    extra_mb: float  # highest memory beyond inputs and libraries
    flow: list[list[float]]  # (L, 2), so that the results can be compared


@dataclass(frozen=True)
class Row:
    """One line of the table; the last ones compare ours with the written-out flow."""

    tokens: int
    implementation: str
    seconds: float
    extra_mb: float
    time_ratio: float | None = None
    memory_ratio: float | None = None
    operations_ratio: float | None = None
    bytes_ratio: float | None = None  # that operators read and write (`arithmetic.py`)
    largest_difference: float | None = None  # of a flow in [-1, 1]


def measure_memory(implementation: str, setting: Setting) -> MemoryUse:
    """One forward + backward; to be called in a fresh process."""
    compute = IMPLEMENTATIONS[implementation]
    run_once(compute, *make_inputs(replace(setting, tokens=64)))  # libraries load before
    inputs = make_inputs(setting)
    before = peak_memory(torch.device(setting.device))
    flow = run_once(compute, *inputs)
    extra = peak_memory(torch.device(setting.device)) - before
    return MemoryUse(extra / 1e6, flow[0].tolist())


def measure_seconds(implementations: list[str], setting: Setting) -> dict[str, float]:
    """The fastest forward + backward of each: the one that other programs disturbed least."""
    inputs = make_inputs(setting)
    times: dict[str, list[float]] = {name: [] for name in implementations}
    for name in implementations:
        run_once(IMPLEMENTATIONS[name], *make_inputs(replace(setting, tokens=64)))  # kernels load
    for _ in range(ROUNDS[setting.tokens]):
        for name, measured in times.items():
            start = time.perf_counter()
            run_once(IMPLEMENTATIONS[name], *inputs)
            if setting.device == "cuda":
                torch.cuda.synchronize()
            measured.append(time.perf_counter() - start)
    return {name: min(measured) for name, measured in times.items()}


def count_ratios(setting: Setting) -> tuple[float, float]:
    """Of operations and of bytes, ours by those of the written-out flow."""
    from arithmetic import count  # what it imports would count as memory

    inputs = make_inputs(setting)
    ours, other = (count(partial(run_once, IMPLEMENTATIONS[n], *inputs)) for n in IMPLEMENTATIONS)
    return ours[0] / other[0], ours[1] / other[1]


def make_inputs(setting: Setting) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys (1, N, L, D), and the gradient of the flow (1, L, 2).

    The heads are a view of what a linear projection would return, as they are inside a UNet.
    """
    torch.manual_seed(0)
    torch.set_num_threads(setting.threads)
    dtype = getattr(torch, setting.dtype)

    def heads() -> Tensor:
        projected = torch.randn(1, setting.tokens, HEADS * WIDTH).to(setting.device, dtype)
        return projected.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2).requires_grad_()

    return heads(), heads(), torch.randn(1, setting.tokens, 2).to(setting.device)


def run_once(compute: FlowField, query: Tensor, key: Tensor, gradient: Tensor) -> Tensor:
    """Forward and backward; returns the flow (1, L, 2)."""
    flow = compute(query, key, GRIDS[key.shape[2]], TEMPERATURE)
    torch.autograd.grad(flow, (query, key), gradient)
    return flow.detach()


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """The function's result, computed where nothing else has used memory before."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(function, *arguments).result()


def measure(setting: Setting, implementations: list[str]) -> list[Row]:
    """The table's rows of one size."""
    print(f"{setting.tokens:,} tokens ...", file=sys.stderr)
    seconds = in_new_process(measure_seconds, implementations, setting)
    memory = {name: in_new_process(measure_memory, name, setting) for name in implementations}
    rows = [Row(setting.tokens, name, seconds[name], memory[name].extra_mb) for name in memory]
    if len(rows) == 1:
        return rows
    ours, other = rows
    difference = torch.tensor(memory["ours"].flow) - torch.tensor(memory["written out"].flow)
    operations, traffic = in_new_process(count_ratios, setting)
    compared = replace(
        ours,
        time_ratio=ours.seconds / other.seconds,
        memory_ratio=ours.extra_mb / other.extra_mb,
        operations_ratio=operations,
        bytes_ratio=traffic,
        largest_difference=difference.abs().max().item(),
    )
    return [compared, other]


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


def as_markdown(
    machine: dict[str, str | int | float], rows: list[Row], goals: dict[str, bool]
) -> str:
    """The report: the machine, the table, the goals."""
    header = ["tokens", "", "seconds", "ratio of time", "of operations", "of bytes moved"]
    header += ["goal of time", "extra MB", "ratio of memory", "goal of memory", "difference"]
    lines = ["# flow_field: forward + backward, 8 heads of 40", ""]
    lines += [", ".join(f"{key}: {value}" for key, value in machine.items()), ""]
    lines += [line(header), "|---" * len(header) + "|"]
    for row in rows:
        at_goal = row.tokens == 3072 and row.time_ratio is not None
        cells = [f"{row.tokens:,}", row.implementation, f"{row.seconds:.3f}"]
        cells += [_ratio(each) for each in (row.time_ratio, row.operations_ratio, row.bytes_ratio)]
        cells += [verdict(TIME_GOAL, (row.time_ratio or 0) <= TIME_GOAL) if at_goal else ""]
        cells += [f"{row.extra_mb:.0f}", _ratio(row.memory_ratio)]
        cells += [verdict(MEMORY_GOAL, (row.memory_ratio or 0) <= MEMORY_GOAL) if at_goal else ""]
        lines.append(line([*cells, _ratio(row.largest_difference)]))
    lines += ["", *(f"- {goal}: {'met' if met else 'missed'}" for goal, met in goals.items())]
    return "\n".join(lines) + "\n"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def main() -> None:
    """Measure, print the table and write it as .json and .md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="written out at 12,288 tokens too")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    machine = describe_machine(arguments.device) | {"dtype": arguments.dtype}
    rows = []
    for tokens in SIZES:
        both = tokens < max(SIZES) or arguments.all
        setting = Setting(tokens, arguments.device, arguments.dtype, arguments.threads)
        rows += measure(setting, list(IMPLEMENTATIONS) if both else ["ours"])
    goals = check_goals(rows)
    report = as_markdown(machine, rows, goals)
    name = "flow_field" if arguments.device == "cpu" else f"flow_field_{arguments.device}"
    results = {"machine": machine, "rows": [asdict(row) for row in rows], "goals": goals}
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / f"{name}.json", results)
    write_text(arguments.out / f"{name}.md", report)
    print(report)


if __name__ == "__main__":
    main()
