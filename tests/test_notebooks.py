"""The notebooks run from top to bottom, and are stored with their outputs.

To store them anew:  make demo; python notebooks/store.py
"""

import re
import socket
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PICTURES = {"00": 6, "01": 3, "02": 7, "03": 4}  # stored, at least, by the number of a notebook


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_as_it_ran(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [each for each in outputs if each.output_type == "error"]
    pictures = [o for o in outputs if {"image/jpeg", "image/png"} & o.get("data", {}).keys()]
    assert len(pictures) >= PICTURES[path.stem[:2]]
    streams = [output for output in outputs if output.output_type == "stream"]
    assert {stream.name for stream in streams} <= {"stdout"}
    told = "".join(stream.text for stream in streams)
    assert not re.search(r"(?<![\w.])(/[\w.-]+){2,}", told), "a path of this machine"
    assert socket.gethostname() not in told


def test_all_of_them_are_small() -> None:
    assert sum(path.stat().st_size for path in NOTEBOOKS) < 5_000_000
