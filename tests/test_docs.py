"""The pages: every link leads somewhere, every page says first what it is for, none is hidden."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from leffa.cli import COMMANDS, _parse
from leffa.conf_folder import CONF
from leffa.released.catalogue import read_catalogue
from leffa.run import compose

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
INDEX = ROOT / "docs" / "README.md"
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.M)  # [a](b), and [a]: b below


def prose(page: Path) -> str:
    """A page without its code, in which brackets are no links."""
    fenced = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return "\n".join(line for line in fenced.splitlines() if not line.startswith("    "))


def links(page: Path) -> list[str]:
    return ["".join(found) for found in LINK.findall(prose(page))]


@cache
def anchors(page: Path) -> set[str]:
    """What `#...` may follow a page's address: its headings, as GitHub writes them."""
    heads = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path, link: str) -> bool:
    """Whether a link of a page leads nowhere; the network is not asked."""
    if re.match(r"[a-z]+:", link):
        return False
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or (bool(anchor) and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if broken(page, link)] == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    there, wrong = "[a](#one-two-three) [d](page.md)", "[b](#four) [c](none.md)"
    page.write_text(f"# One `two`, three\n{there}\n{wrong}\n\n[e]: out.md")
    assert [link for link in links(page) if broken(page, link)] == ["#four", "none.md", "out.md"]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_first_what_it_is_for(page: Path) -> None:
    title, blank, purpose, *_ = page.read_text(encoding="utf-8").splitlines()
    assert title.startswith("# ") and blank == ""
    assert re.match(r"[A-Z*`]", purpose), "a sentence, not a table or an example"


def test_the_index_has_every_page() -> None:
    linked = {(INDEX.parent / link).resolve() for link in links(INDEX)}
    hidden = {page for page in PAGES[1:] if page != INDEX} - linked
    assert sorted(page.name for page in hidden) == []


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The sections that the site makes from the code."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return import_module("generated")


@pytest.mark.parametrize("program", ["train", "evaluate"])
def test_every_key_of_a_program_is_on_its_page(program: str, generated: Any) -> None:
    path = CONF / f"{program}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = list(generated.keys(path))
    names = [name.strip("`") for name, _, _ in rows]
    for key in content.keys() - {"defaults", "hydra"}:
        assert any(name.split(".")[0] == key for name in names), key
    page = generated.configuration()
    assert all(f"| `{name}` |" in page for name in names)
    assert "| `leffa_loss.temperature` | `2.0` |" in page


def test_every_experiment_weight_and_command_is_on_its_page(generated: Any) -> None:
    for path in (CONF / "experiment").glob("*.yaml"):
        assert f"| `{path.stem}` |" in generated.experiments()
        assert f"experiment={path.stem}" in generated.experiments()
    assert all(f"| `{name}` |" in generated.weights() for name in read_catalogue())
    page = generated.commands()
    assert all(f"## leffa {name}\n" in page for name in COMMANDS)
    assert page.count("usage: leffa ") == len(COMMANDS)


def code(page: Path) -> str:
    """What a page has in code: blocks, and words between backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```|^(    [^\n]*)$", text, flags=re.M | re.S)
    lines = ["".join(block) for block in blocks] + re.findall(r"`([^`\n]+)`", text)
    return "\n".join(lines).replace("\\\n", " ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_options_and_choices_exist(page: Path, helps: dict[str, str]) -> None:
    text = code(page)
    for name, rest in re.findall(r"\bleffa (?!leffa)([a-z][a-z-]+)\b([^\n|#;]*)", text):
        assert name in helps, name
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", rest):
            assert f"{option}" in helps[name], f"leffa {name} {option}"
    groups = "|".join(path.name for path in CONF.iterdir() if path.is_dir())
    for group, chosen in re.findall(rf"(?<![\w.])({groups})=([a-z][\w@,]*)(?![\w.*}}{{])", text):
        for option in chosen.split(","):
            assert (CONF / group / f"{option}.yaml").is_file() or option == "null", option


def typed(page: Path) -> Iterator[list[str]]:
    """The words of each command of a page; `...` stands for the words of the one before."""
    before: list[str] = []
    for line in re.split(r"\n|;|\\?\|", code(page)):
        words = [word for word in shlex.split(line, comments=True) if not word.startswith("D=")]
        words = before[:2] + words[1:] if words[:1] == ["..."] else words
        program = words[:1] == ["make"] or " ".join(words[:2]) in (
            "python train.py",
            "python evaluate.py",
        )
        if program or (words[:1] == ["leffa"] and words[1:2] != ["--help"]):
            before = words
            if not {"...", "NAME", "dataset=..."} & set(words[1:]):
                yield words


def composed_by_make(words: list[str]) -> list[str]:
    """The command that `make` would run, without running it."""
    command = [*words, "-n", "--no-print-directory"]  # it may itself run below `make`
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    run = done.stdout.replace("\\\n", " ").partition(" evaluate.py ")[2]
    return ["python", "evaluate.py", *shlex.split(run)] if run else words


@pytest.mark.parametrize("page", ["README.md", "docs/reference/commands.md"])
def test_every_command_of_a_list_is_accepted(page: str) -> None:
    """Its options and configuration, as far as they are known without the files that it names."""
    found = list(typed(ROOT / page))
    assert len(found) > 10
    for words in found:
        if words[0] == "make":
            words = composed_by_make(words)
        if words[0] == "leffa":
            _parse(words[1], words[2:])
        elif words[0] == "python":
            compose(words[1].removesuffix(".py"), [word for word in words[2:] if word != "-m"])


@pytest.fixture(scope="session")
def helps() -> dict[str, str]:
    """The help of every command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        sections = import_module("generated").commands().split("## leffa ")[1:]
    return {name: text for name, _, text in (each.partition("\n") for each in sections)}
