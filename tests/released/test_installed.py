"""The package away from its repository: the commands of the Dockerfile in an empty environment.

No image is built. The commands run as they stand but for what needs a network or root, on paths
below a temporary folder; installed packages come from the environment of the tests.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub

hatchling = pytest.importorskip("hatchling", reason="builds wheels; hatchling is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.posix]
ROOT = Path(__file__).parents[2]
ELSEWHERE = ("apt-get", "rm -rf /var/lib/apt", "useradd", "chown")  # a network, or root's rights
SMALLEST_DEMO = """
from pathlib import Path
from rich.console import Console
from leffa.demo.run import run_demo
from leffa.demo.settings import DemoSettings

least = {"train_samples": 4, "test_samples": 2, "evaluated": 2, "sampler_steps": 1}
run_demo(DemoSettings(Path("demo"), steps=1, processes=0, **least), Console())
"""
DOWNLOADS = "pip install --no-cache-dir --requirement requirements.lock"


@dataclass
class Container:
    """What the instructions of the Dockerfile have made below a folder."""

    root: Path
    folder: Path = field(init=False)
    env: dict[str, str] = field(init=False)
    user: str = "root"
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.root
        keep = ("LANG", "TMPDIR", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.env = {name: os.environ[name] for name in keep if name in os.environ}
        self.env |= {"PATH": os.environ["PATH"], "HOME": str(self.root)}

    def place(self, text: str) -> str:
        """The container's own paths, below the folder."""
        return re.sub(r"(?<![\w./])/(opt|weights|build|home)\b", rf"{self.root}/\1", text)

    def obey(self, word: str, rest: str) -> None:
        """Follow one instruction."""
        match word:
            case "WORKDIR":
                self.folder = Path(self.place(rest))
                self.folder.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = rest.split()
                for source in map(ROOT.joinpath, sources):
                    assert f"!{source.name}" in (ROOT / ".dockerignore").read_text().split()
                    if source.is_dir():
                        ignore = shutil.ignore_patterns("__pycache__")
                        shutil.copytree(source, self.folder / target, ignore=ignore)
                    else:
                        shutil.copy(source, self.folder / target)
            case "ENV":
                for name, value in (each.split("=", 1) for each in shlex.split(rest)):
                    self.env[name] = self.place(value).replace("$PATH", self.env["PATH"])
            case "USER":
                self.user = rest
            case "RUN":
                for command in rest.split(" && "):
                    self.run(command)

    def run(self, command: str) -> None:
        if command.startswith(ELSEWHERE):
            self.skipped.append(command)
        elif command.endswith(DOWNLOADS):
            self.skipped.append(command)
            found = sysconfig.get_paths()["purelib"], str(Path(hatchling.__file__).parents[1])
            (site,) = (self.root / "opt").glob("*/lib/python*/site-packages")
            (site / "others.pth").write_text("\n".join(found))
        else:
            command = self.place(command).replace("python3 ", f"{sys._base_executable} ")
            subprocess.run(command, shell=True, cwd=self.folder, env=self.env, check=True)


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = re.sub(r"\s*\\\n\s*", " ", lines).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined if line.strip()]


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Container:
    made = Container(tmp_path_factory.mktemp("container"))
    for word, rest in instructions():
        made.obey(word, rest)
    return made


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_what_cannot_run_here_is_what_needs_a_network_or_root(container: Container) -> None:
    assert len(container.skipped) == 6
    assert container.user == "leffa"


def test_the_container_serves_the_released_model_and_is_healthy(
    container: Container, port: int, everything: dict[str, bytes]
) -> None:
    given = dict(instructions())
    command = json.loads(given["CMD"].replace("7860", str(port)))
    check = json.loads(given["HEALTHCHECK"].partition("CMD ")[2].replace("7860", str(port)))
    hub = FakeHub({published.LEFFA: everything})
    with hub.serving() as address:
        env = container.env | {"HF_ENDPOINT": address}
        assert subprocess.run(check, env=env, stderr=subprocess.DEVNULL).returncode != 0
        with subprocess.Popen(command, env=env, cwd=container.folder) as page:
            try:
                end = time.monotonic() + 600
                while subprocess.run(check, env=env, stderr=subprocess.DEVNULL).returncode != 0:
                    assert page.poll() is None
                    assert time.monotonic() < end
                    time.sleep(1)
            finally:
                page.terminate()
        assert page.returncode == 0
    assert (container.root / "weights" / "hub").is_dir()


@pytest.fixture(scope="module")
def elsewhere(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder outside the repository."""
    folder = tmp_path_factory.mktemp("elsewhere")
    found = subprocess.check_output(
        ["python", "-c", "import leffa; print(leffa.__file__)"],
        env=container.env,
        cwd=folder,
        text=True,
    )
    assert found.startswith(str(container.root))
    yield folder


def test_the_wheel_draws_trains_predicts_and_scores_away_from_the_repository(
    container: Container, elsewhere: Path
) -> None:
    def leffa(line: str) -> None:
        subprocess.run(
            ["leffa", *line.split()], env=container.env, cwd=elsewhere, check=True, timeout=600
        )

    leffa("draw viton_hd drawn --test 2 --height 64 --width 48")
    assert (elsewhere / "drawn" / "test" / "image").is_dir()
    # `leffa demo` with fewer samples than its options allow.
    python = ["python", "-c", SMALLEST_DEMO]
    subprocess.run(python, env=container.env, cwd=elsewhere, check=True, timeout=600)
    assert (elsewhere / "demo" / "report.html").is_file()
    test = Path("data/synthetic_tryon_96x72/test")
    person, garment = (
        min((elsewhere / test / kind).iterdir()).relative_to(elsewhere)
        for kind in ("image", "cloth")
    )
    mask, body = (
        f"{test}/agnostic-mask/{person.stem}_mask.png",
        f"{test}/image-iuv/{person.stem}.png",
    )
    leffa(
        f"predict --ckpt demo/runs/leffa --person {person} --garment {garment} --mask {mask} "
        f"--densepose {body} --out predicted --steps 1 --device cpu"
    )
    (elsewhere / "true").mkdir()
    with Image.open(elsewhere / person) as image:
        image.save(elsewhere / "true" / f"{person.stem}.png")
    leffa("score predicted true --protocol leffa --json score.json")
    assert (elsewhere / "score.json").is_file()
