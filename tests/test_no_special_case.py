"""What serves every model knows none of them: a model is its own files in models/, and conf/."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "leffa"
NAMED = re.compile(r"cat_?vton|idm[-_ ]?vton|cfld|fit_?dit|flux", re.IGNORECASE)

# What every model goes through; none of it has a word about one of them.
SHARED = (
    "models/interface.py",
    "models/latent.py",
    "models/sampler.py",
    "models/memory.py",
    "models/attention.py",
    "data",
    "training",
    "run",
    "predict",
    "evaluation",
    "explain",
)
# Their comments may say who found a formula; their code may not.
CODE = (*SHARED, "losses", "commands")


def files(places: tuple[str, ...]) -> list[Path]:
    """The Python files of files and folders below src/leffa."""
    return sorted(
        path
        for place in places
        for path in ((SRC / place).rglob("*.py") if (SRC / place).is_dir() else [SRC / place])
    )


def relative(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def words(tree: ast.AST) -> Iterator[str]:
    """Every name of a program, and every text that can be one: of several words are messages and
    documentation."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, str) and len(each.split()) == 1:
                    yield each


def named(source: str) -> set[str]:
    """The words of a program that name a model."""
    return {word for word in words(ast.parse(source)) if NAMED.search(word)}


def test_no_model_is_named_where_all_pass_through() -> None:
    assert len(files(SHARED)) > 50
    assert [
        f"{relative(path)}: {line}"
        for path in files(SHARED)
        for line in path.read_text(encoding="utf-8").splitlines()
        if NAMED.search(line)
    ] == []


def test_no_code_asks_which_model_it_has() -> None:
    found = {relative(path): named(path.read_text(encoding="utf-8")) for path in files(CODE)}
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "source",
    [
        "from leffa.models.catvton import stack",
        "import leffa.models.idm_vton as other",
        "half = isinstance(model, CatVTON)",
        "if type(model).__name__ == 'IDMVTON':\n    pass",
        "def step(cfld_loss):\n    pass",
        "known = {'model': f'{name}_idm-vton'}",
        "try:\n    pass\nexcept models.CFLDError:\n    pass",
    ],
)
def test_catches_a_planted_special_case(source: str) -> None:
    assert len(named(source)) == 1


def test_lets_documentation_and_messages_name_a_paper() -> None:
    assert (
        named('def read():\n    """The lists of CFLD."""\n    fail("copy CFLD\'s lists")') == set()
    )
