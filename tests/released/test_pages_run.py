"""The commands of README and of the tutorials, page by page, in the order in which a reader types
them: `make test-docs`.

They run as they stand, in a copy of the repository; those of README's table with its placeholders
filled in, as far as they need neither a GPU nor a real dataset (`tests/test_docs.py` parses all).
Weights come from a hub on this machine that serves tiny ones. A server is started, asked for its
page, and stopped.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub

pytestmark = [pytest.mark.pages, pytest.mark.posix]
ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/tutorials/first-run.md", "docs/tutorials/own-photo.md")
COMMAND = re.compile(r"    (make|leffa|python|source|cp|[A-Z]=)")
ELSEWHERE = ("make setup", "make test")  # what has made this environment, and the other tests
SERVERS = ("make app", "leffa app")
TRAINED, DATA = "outputs/demo/runs/leffa", "data/synthetic_tryon_96x72"
SCORED = "outputs/demo/evaluations/{}/images"
TABLE = {  # the beginning of a command -> what replaces words of it
    "python train.py experiment=tryon_synthetic": {
        "experiment=tryon_synthetic": "experiment=tryon_synthetic debug=tiny"
    },
    "leffa score": {"PREDICTED": SCORED.format("leffa"), "TRUE": SCORED.format("control")},
    "leffa predict": {"RUN": TRAINED, "DIR": "outputs/predict"},
    "leffa explain": {"RUN": TRAINED},
    "leffa app": {"WEIGHTS": TRAINED},
    "leffa doctor": {"DIR": DATA},
}
PAIRS = f"""person,garment,mask,densepose
{DATA}/test/image/50000_00.jpg,{DATA}/test/cloth/50019_00.jpg,\
{DATA}/test/agnostic-mask/50000_00_mask.png,{DATA}/test/image-iuv/50000_00.png
"""
# `serve COMMAND` starts it, asks for the page it names, and ends it with all that it has started.
PRELUDE = """
set -e
serve() {
    setsid "$@" > served.log 2>&1 & local server=$!
    for _ in $(seq 600); do
        sleep 1
        kill -0 $server || { cat served.log; exit 1; }
        local address=$(grep -o 'http://127.0.0.1:[0-9]*' served.log | head -n 1)
        if test -n "$address" && curl -sf "$address" > page.html; then
            kill -TERM -- -$server; wait $server || true; return 0
        fi
    done
    exit 1
}
"""


def commands(page: Path) -> Iterator[str]:
    """The lines of a page that a reader types, one command each."""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if COMMAND.match(line):
            while line.endswith("\\"):
                line = line[:-1] + next(lines).strip()
            command = line.strip()
            if not command.startswith(ELSEWHERE):
                yield served(command)
        elif line.startswith("|"):
            yield from map(served, filled(line))


def served(command: str) -> str:
    return f"serve {command}" if command.startswith(SERVERS) else command


def filled(row: str) -> Iterator[str]:
    """The commands of a row that `TABLE` has, ready to be typed."""
    for command in re.findall(r"`([^`]+)`", row):
        for beginning, words in TABLE.items():
            if command.startswith(beginning):
                yield " ".join(words.get(word, word) for word in command.split(" "))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows, with the environment of these tests, and photos. The pages share
    it, as a reader's clone, so what one has made the next need not make again."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    folder = tmp_path_factory.mktemp("clone")
    for name in listed.stdout.decode().split("\0")[:-1]:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place)
    environment = folder / ".venv"
    environment.mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (environment / part.name).symlink_to(part)
    (environment / ".ready").touch()  # newer than the lock: make must not install the copy there
    for name in ("anna", "coat", "standing"):
        published.photo().save(folder / f"{name}.jpg", quality=100, subsampling=0)
    (folder / "pairs.csv").write_text(PAIRS)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(
    page: str, repository: Path, everything: dict[str, bytes]
) -> None:
    typed = list(commands(ROOT / page))
    assert len(typed) > 3
    hub = FakeHub({published.LEFFA: everything})
    with hub.serving() as address:
        settings = os.environ | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(repository / "home"),  # one reader, one cache
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(repository / "src"),
        }
        shown = (f"echo '>>' {each!r}\n{each}" for each in typed)
        script = "\n".join([PRELUDE, *shown])
        done = subprocess.run(["bash", "-c", script], cwd=repository, env=settings)
    assert done.returncode == 0, "the last command after >> failed"
