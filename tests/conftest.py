"""What every test shares: few threads, reproducible examples, and where real material lies."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Tiny networks gain nothing from threads, and tests may run side by side.
torch.set_num_threads(1)

# The same examples on every run, whatever the load of the machine.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded outputs and real photographs beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(
            f"needs the reference material in {folder}, which is not part of the repository"
        )
    return folder
