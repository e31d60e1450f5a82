"""What every test shares: few threads, reproducible examples, real material, and a browser.

The tests in a browser need packages and a program; nothing is installed for them. Where something
is missing they are skipped by name, and asked for (`-m browser`, which is `make test-browser`) they
end at once with one line that says what to install.
"""

import gc
import importlib
import importlib.util
import logging
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hypothesis import settings

# Tiny networks gain nothing from threads, and tests may run side by side.
torch.set_num_threads(1)

gc.disable()  # until all modules are imported: what they hold is no garbage

# The same examples on every run, whatever the load of the machine.
settings.register_profile("reproducible", derandomize=True, deadline=None, database=None)
settings.load_profile("reproducible")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# No sandbox inside a container, and no calls home.
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
STARTING = 120_000  # milliseconds: the machine may be busy

sys.path.append(str(Path(__file__).parent))
pytest_plugins = ["caches"]


def pytest_collection_finish() -> None:
    """From here on a collection is rare, and leaves out all that torch and Lightning hold."""
    gc.freeze()
    gc.set_threshold(7_000, 10, 10)  # ten times the usual
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In `make test` a process runs all tests of a folder, whose fixtures are then made once; slow
    tests make a folder too long for that."""
    if "not slow" not in config.getoption("markexpr"):
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFolder(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "/".join(nodeid.split("/")[:2])

    return ByFolder(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    if os.name == "nt":
        for item in items:
            if item.get_closest_marker("posix"):
                item.add_marker(
                    pytest.mark.skip(reason="needs signals or links that Windows lacks")
                )
    wanted = [item for item in items if item.get_closest_marker("browser")]
    if not wanted or not (lacking := missing()):
        return
    line = f"the browser tests need {' and '.join(lacking)}"
    if config.getoption("markexpr") == "browser":
        raise pytest.UsageError(line)
    for item in wanted:
        item.add_marker(pytest.mark.skip(reason=line))


def missing() -> list[str]:
    """What the browser tests lack here, each with the command that installs it."""
    lines = [
        f"the package {name} ({command})"
        for name, command in (
            ("gradio", "pip install -e '.[app]'"),
            ("playwright", "pip install playwright; its own browsers are not needed"),
        )
        if importlib.util.find_spec(name) is None
    ]
    if CHROMIUM is None:
        lines.append("the browser chromium (apt-get install chromium)")
    return lines


@pytest.fixture(scope="module")  # its event loop is in the way of other tests'
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=STARTING)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages go: $LEFFA_SCREENSHOTS, else pytest's temporary folder."""
    folder = Path(os.environ.get("LEFFA_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def fresh_hydra() -> Iterator[None]:
    """What a Hydra program sets for its whole process does not outlive the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded outputs and real photographs beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(
            f"needs the reference material in {folder}, which is not part of the repository"
        )
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A program of `benchmarks/` as a module; they import one another."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module


@pytest.fixture(scope="session")
def train_tiny() -> Callable[..., Path]:
    """train.py with an experiment, tiny, on a data set, into a folder, which is returned. What few
    tests look at takes half of the time: validation, pictures of samples and the run's page."""

    def run(experiment: str, data: Path, folder: Path, *changes: str) -> Path:
        from leffa.run import compose, train

        chosen = [f"experiment={experiment}", "debug=tiny", "+trainer.limit_val_batches=0"]
        shown = ["+trainer.enable_progress_bar=false", "+trainer.enable_model_summary=false"]
        shown += ["~callbacks.progress", "callbacks.images=null", "callbacks.report=null"]
        places = [f"data.root={data}", "data.prepare=null", f"paths.output_dir={folder}"]
        train(compose("train", [*chosen, *shown, *places, *changes]))
        return folder

    return run


@pytest.fixture(scope="module")
def no_letters() -> Iterator[None]:
    """For garments without letters: none is found, and no network looks for any."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leffa.metrics.text.rapidocr_reader", lambda: lambda picture: ())
        yield


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Finds what the official code was recorded to do: "sd15" ships with the tests, the rest is in
    `shared`."""

    def find(kind: str) -> Path:
        shipped = Path(__file__).parent / "data" / "golden" / kind
        if shipped.is_dir():
            return shipped
        folder: Path = request.getfixturevalue("shared")
        return folder / "golden" / kind

    return find


@pytest.fixture(scope="session")
def display_p3() -> bytes:
    """A colour profile with the primaries of Display P3, D50-adapted, and the curve of sRGB."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    name = b"Display P3\0"
    white = fixed(0.9642, 1, 0.8249)
    curve = fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(79),
        b"wtpt": b"XYZ \0\0\0\0" + white,
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.51512, 0.2412, -0.00105),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.29198, 0.69225, 0.04189),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1571, 0.06657, 0.78407),
        **dict.fromkeys(
            (b"rTRC", b"gTRC", b"bTRC"), b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + curve
        ),
    }
    start, table, body = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    kinds = b"\0\0\0\0\x02\x40\0\0mntrRGB XYZ "
    header = struct.pack(">I", start + len(body)) + kinds + bytes(12) + b"acsp" + bytes(28)
    return header + white + bytes(48) + struct.pack(">I", len(tags)) + table + body
