"""Who may import whom: the order that keeps each package usable on its own, e.g. in a notebook."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "leffa"

# What a room may import of ours, beside itself and `leffa` (the version); drawn in
# docs/explanation/architecture.md.
PARTS = (
    *("io", "losses", "data", "models", "inference", "metrics", "pictures", "preprocess"),
    *("synthetic", "released", "performance", "conf_folder", "cli_errors"),
)
OURS: dict[str, tuple[str, ...]] = {
    "losses": (),
    "io": (),
    "performance": (),
    "conf_folder": (),
    "lazy": (),
    "cli_errors": ("io",),
    "data": ("io", "lazy"),
    "synthetic": (
        "io",
        "data.batch",
        "data.catalog",
        "data.inshop",
        "data.keypoints",
        "data.labels",
        "data.part_colours",
    ),
    "metrics": ("io", "lazy", "losses", "data.batch", "data.matching", "conf_folder"),
    "models": ("io", "lazy", "losses", "data.batch", "performance"),
    "inference": ("io", "models", "losses", "data", "conf_folder"),
    "preprocess": ("io", "data", "synthetic"),
    "released": ("io",),
    "pictures": ("io", "losses", "data.batch"),
    "training": ("io", "inference", "models", "losses", "metrics", "data", "pictures"),
    "evaluation": PARTS,
    "predict": PARTS,
    "explain": PARTS,
    "photo_to_picture": (*PARTS, "predict", "estimate", "convert"),
    "estimate": (*PARTS, "training"),
    "sweeps": (*PARTS, "training"),
    "app": (*PARTS, "predict", "photo_to_picture"),
    "run": (*PARTS, "lazy", "training", "evaluation", "sweeps"),
    "demo": (*PARTS, "training", "evaluation", "run"),
    "convert": (*PARTS, "training", "run"),
    "cli": ("io", "cli_errors"),
    "commands": ("",),  # all: nobody imports them, `cli` finds them by name
    "__main__": ("cli",),
    "__init__": (),
}

# Where a third-party package may appear; one that is not listed may appear outside `losses`.
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "PIL": (
        "io",
        "data",
        "synthetic",
        "metrics",
        "preprocess",
        "pictures",
        "training",
        "evaluation",
        "predict",
        "photo_to_picture",
        "app",
    ),
    "torchvision": ("data", "synthetic", "models", "preprocess", "metrics.inception"),
    "torchmetrics": ("metrics",),
    "lpips": ("metrics",),
    "diffusers": ("models",),
    "onnxruntime": ("preprocess",),
    "cv2": ("data.matching",),
    "rapidocr": ("metrics.text",),
    "lightning": ("training", "data.datamodule", "run"),
    "hydra": ("run",),
    "omegaconf": ("run",),
    "gradio": ("app",),
    "jinja2": ("io",),
    "tyro": ("cli", "commands", "demo.settings", "app.settings", "performance"),
    "huggingface_hub": ("released",),
}
LOSSES_MAY_IMPORT = {"torch", "math", "collections", "dataclasses", "fnmatch", "typing"}


def imported_names(source: str, module: str) -> list[str]:
    """Every absolute dotted name that a module's source imports, wherever in the file."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = f"leffa.{module}".split(".")[: -node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def violations(source: str, module: str) -> list[str]:
    """One line for every import that `module` (dotted, below leffa) must not make."""
    package = module.split(".")[0]
    found = []
    for name in imported_names(source, module):
        root, _, rest = name.partition(".")
        if root == "leffa":
            allowed = within(rest, (package, "__version__", *OURS[package])) or not rest
        elif package == "losses":
            allowed = root in LOSSES_MAY_IMPORT
        else:
            allowed = root not in THIRD_PARTY or within(module, THIRD_PARTY[root])
        if not allowed:
            found.append(f"leffa.{module} imports {name}")
    return found


def within(name: str, places: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the places or lies below one; "" is above everything."""
    return any(place in ("", name) or name.startswith(f"{place}.") for place in places)


def module_name(path: Path) -> str:
    """`models.leffa` for src/leffa/models/leffa.py; a package goes by its __init__."""
    return ".".join(path.relative_to(SRC).with_suffix("").parts)


def test_every_file_imports_only_what_its_room_allows() -> None:
    modules = {module_name(path): path for path in sorted(SRC.rglob("*.py"))}
    assert len(modules) > 100
    sources = {module: path.read_text(encoding="utf-8") for module, path in modules.items()}
    assert [line for module, source in sources.items() for line in violations(source, module)] == []


def test_every_room_has_its_place() -> None:
    rooms = {path.stem for path in SRC.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert rooms == set(OURS)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("losses.flow", "from leffa.data.batch import Batch"),
        ("losses.flow", "import numpy"),
        ("io.atomic", "from leffa.data.batch import Batch"),
        ("io.atomic", "import diffusers"),
        ("models.leffa", "from leffa.training import module"),
        ("models.leffa", "from leffa.data.transforms import resize"),
        ("models.leffa", "from leffa import training"),
        ("training.module", "from leffa.run import Run"),
        ("models.leffa", "from ..training import module"),
        ("metrics.paired", "import diffusers.models"),
        ("data.dataset", "from lightning import LightningDataModule"),
        ("training.module", "def setup():\n    from omegaconf import DictConfig"),
        ("inference.loaded", "from leffa.predict.job import predict"),
        ("released.hub", "from leffa.models.leffa import LeffaModel"),
        ("photo_to_picture.run", "from leffa.app.page import build"),
        ("predict.job", "from leffa.run import train"),
    ],
)
def test_catches_a_planted_violation(module: str, source: str) -> None:
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.leffa", "from leffa.losses.flow import FlowRequest"),
        ("models.leffa", "from leffa.data.batch import Batch"),
        ("data.latent_cache", "from leffa.io.atomic import replacing"),
        ("models.cfld.blocks", "from .attention import Mixer"),
        ("data.datamodule", "from lightning import LightningDataModule"),
        ("metrics.result", "import leffa"),
        ("run", "from leffa.training.module import PersonGenerationModule"),
        ("photo_to_picture.maps", "from leffa.released.catalogue import load_catalogue"),
    ],
)
def test_lets_an_allowed_import_pass(module: str, source: str) -> None:
    assert violations(source, module) == []
