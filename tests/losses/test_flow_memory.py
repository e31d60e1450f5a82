"""The flow field in little memory: no L x L map is stored, forward or backward."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leffa.losses.flow import coordinates, flow_field

from .memory import LargestTensor

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "flow_field.py"


def test_stores_no_map_of_all_queries_by_all_keys() -> None:
    query, key = (torch.randn(1, 2, 32 * 24, 8, requires_grad=True) for _ in range(2))
    with LargestTensor() as ours:
        flow_field(query, key, (32, 24), temperature=2.0).sum().backward()
    assert ours.elements <= query.numel()


def test_the_written_out_softmax_does_store_it() -> None:
    query, key = (torch.randn(1, 2, 32 * 24, 8) for _ in range(2))
    places = coordinates((32, 24), device=query.device, dtype=query.dtype)
    with LargestTensor() as written_out:
        (query @ key.transpose(-1, -2)).softmax(dim=-1).mean(dim=1) @ places
    assert written_out.elements == 2 * (32 * 24) ** 2


@pytest.mark.slow
def test_the_benchmark_meets_its_memory_goals(tmp_path: Path) -> None:
    subprocess.run([sys.executable, BENCHMARK, "--out", tmp_path], check=True)
    results = json.loads((tmp_path / "flow_field.json").read_text())
    memory = {goal: met for goal, met in results["goals"].items() if "time" not in goal}
    assert len(memory) == 2
    assert all(memory.values())
    differences = [row["largest_difference"] for row in results["rows"]]
    assert max(value for value in differences if value is not None) < 1e-5
