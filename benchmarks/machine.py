"""What all benchmarks share: the machine, processor time, and the cells of their tables."""

import os
import platform
import time
from pathlib import Path

import psutil
import torch

GOAL = 1.05  # of a time's ratio by the arithmetic's


def describe_machine(device: str = "cpu") -> dict[str, str | int | float]:
    """What times depend on."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load before": round(psutil.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu() -> str:
    """The processor's name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def processor_time() -> float:
    """Seconds of this process and of those that it started and that have ended."""
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system


def time_by_arithmetic(ratio: float, arithmetic: float | None) -> list[str]:
    """Cells of a table: the arithmetic's ratio, the time's ratio by it, and the goal, which what
    is compared with has none of."""
    if arithmetic is None:
        return ["", "", ""]
    share = ratio / arithmetic
    goal = verdict(GOAL, share <= GOAL) if (ratio, arithmetic) != (1, 1) else ""
    return [f"{arithmetic:.2f}", f"{share:.2f}", goal]


def verdict(goal: float, met: bool) -> str:
    """A goal, and whether it is met."""
    return f"{goal}, {'met' if met else 'missed'}"


def line(cells: list[str]) -> str:
    """Of a table in Markdown."""
    return f"| {' | '.join(cells)} |"
