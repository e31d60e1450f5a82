"""The notebooks run from top to bottom, and are stored without outputs but for the first.

To store that one anew:  jupyter execute --inplace notebooks/00_diffusion_in_pictures.ipynb
"""

import re
import socket
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
EXECUTED = NOTEBOOKS / "00_diffusion_in_pictures.ipynb"  # is read without being run, too


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEFFA_DEMO", str(tmp_path / "none"))  # not what a user's own demo left
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def test_the_first_one_is_stored_as_it_ran() -> None:
    cells = [cell for cell in nbformat.read(EXECUTED, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} == {"display_data", "stream"}
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/jpeg") + kinds.count("image/png") == 6
    streams = [output for output in outputs if output.output_type == "stream"]
    assert {stream.name for stream in streams} == {"stdout"}
    told = "".join(stream.text for stream in streams)
    assert not re.search(r"[\w.-]*(/[\w.-]+){2,}", told)  # no paths
    assert socket.gethostname() not in told
    assert EXECUTED.stat().st_size < 600_000


@pytest.mark.parametrize(
    "path",
    sorted(path for path in NOTEBOOKS.glob("*.ipynb") if path != EXECUTED),
    ids=lambda path: path.stem,
)
def test_stores_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert path.stat().st_size < 20_000
