"""Run notebooks and store them with their outputs:  python notebooks/store.py [NAME.ipynb ...]

Pictures become JPEGs, so that the repository stays small. 03 shows `make demo`: run that first.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

LARGE = 100_000  # characters of a PNG in base64; smaller ones stay


def store(path: Path) -> None:
    """Execute a notebook and write it back with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell ran
        for output in cell.get("outputs", []):
            shrink(output.get("data", {}))
    nbformat.write(notebook, path)


def shrink(data: dict[str, str]) -> None:
    """Keep one JPEG of a displayed picture, in place."""
    png = data.get("image/png", "")
    if "image/jpeg" not in data and len(png) < LARGE:
        return
    data.pop("image/png", None)
    if "image/jpeg" not in data:
        file = io.BytesIO()
        Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").save(file, "JPEG", quality=80)
        data["image/jpeg"] = base64.b64encode(file.getvalue()).decode()


if __name__ == "__main__":
    named = [Path(name) for name in sys.argv[1:]]
    for each in named or sorted(Path(__file__).parent.glob("*.ipynb")):
        store(each)
