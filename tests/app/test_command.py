"""`leffa app`: what it shows without options, and what it says where it cannot."""

import importlib.util
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leffa.app import server
from leffa.cli import main
from leffa.inference import LoadedModel
from leffa.models.export import save_exported

from .visitor import OF_GRADIO

pytestmark = OF_GRADIO


@pytest.fixture
def exported(trained: LoadedModel, tmp_path: Path) -> Path:
    save_exported(trained.model, tmp_path / "exported", trained.settings, "card")
    return tmp_path / "exported"


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> list[str]:
    """What a visitor of the page gets, who comes as soon as the command prints its address."""
    pages: list[str] = []

    def visit() -> None:
        address = capsys.readouterr().out.splitlines()[-1].split()[0]
        with urllib.request.urlopen(address) as page:
            pages.append(page.read().decode())

    monkeypatch.setattr(server, "wait_for_the_end", visit)
    return pages


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_a_proxy_is_not_asked_for_the_page_itself(
    exported: Path, visited: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens where the proxy should be."""
    monkeypatch.setattr("urllib.request.getproxies", urllib.request.getproxies_environment)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert main(["app", "--tryon", str(exported), "--device", "cpu"]) == 0
    assert len(visited) == 1


def test_a_gradio_that_cannot_be_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As behind a SOCKS proxy, for which it wants a package more."""

    def refuse(name: str) -> None:
        raise ImportError("Using SOCKS proxy, but the 'socksio' package is not installed.")

    monkeypatch.setattr(importlib, "import_module", refuse)
    assert main(["app"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: the web page cannot be served: Using SOCKS proxy, but the ")
    assert told.count("\n") == 1


def test_without_a_model_the_page_shows_the_shipped_baselines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visited: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["app", "--device", "cpu"]) == 0
    assert "Dress the person" in visited[0] and "Take the pose" in visited[0]


def test_without_gradio_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["app"]) == 1
    assert capsys.readouterr().err == (
        "error: the web page needs the package gradio: pip install -e '.[app]'\n"
    )


def test_without_mcp_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mcp" else find(name)
    )
    assert main(["app", "--mcp", "--device", "cpu"]) == 1
    assert capsys.readouterr().err == (
        "error: --mcp needs the package mcp: pip install 'gradio[mcp]'\n"
    )


def test_weights_for_the_other_task_are_told(exported: Path, capsys: Any) -> None:
    assert main(["app", "--pose", str(exported), "--device", "cpu"]) == 1
    assert "is for try-on; give it as --tryon" in capsys.readouterr().err


def test_a_released_file_without_its_base_is_told_in_options_of_this_command(
    tmp_path: Path, capsys: Any
) -> None:
    weights = tmp_path / "virtual_tryon.pth"
    weights.touch()
    assert main(["app", "--tryon", str(weights), "--device", "cpu"]) == 1
    assert "add --tryon-base with the diffusers folder" in capsys.readouterr().err


def test_a_limit_of_nothing_is_told(exported: Path, capsys: Any) -> None:
    assert main(["app", "--tryon", str(exported), "--timeout", "0"]) == 1
    assert "seconds=0.0: give a number above 0" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("visited")
@pytest.mark.parametrize("port", ["taken", "99999999"])
def test_a_port_that_cannot_be_had_is_told_before_anything_is_fetched(
    port: str, taken: int, capsys: Any
) -> None:
    number = str(taken) if port == "taken" else port
    assert main(["app", "--released", "--port", number, "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert f"--port {number}: cannot listen there" in printed.err
    assert printed.out == ""


def test_a_taken_port_is_one_line(exported: Path, taken: int, capsys: Any) -> None:
    arguments = ["app", "--tryon", str(exported), "--device", "cpu", "--port", str(taken)]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"--port {taken}: cannot listen there" in told
