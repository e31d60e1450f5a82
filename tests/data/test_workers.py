"""A worker that keeps its freed memory asks the system for fewer pages."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from leffa.data.dataset import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    sample = [np.ones(9 << 20, np.uint8) for _ in range(4)]  # four pictures of 9 MB
    del sample
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
@pytest.mark.slow
def test_samples_after_the_first_cause_hardly_any_page_faults() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert faults("keep") < 0.5 * faults("leave")
