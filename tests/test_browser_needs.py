"""`make test-browser` where something is missing: one line that says what installs it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from . import conftest

ROOT = Path(__file__).parents[1]


def test_missing_things_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "CHROMIUM", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    lines = conftest.missing()
    assert [line.split(" (")[0] for line in lines] == [
        "the package gradio",
        "the package playwright",
        "the browser chromium",
    ]
    assert all("install" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["app/test_browser.py", "metrics/test_page_in_browser.py"])
def test_asking_for_the_browser_tests_without_a_browser_ends_with_one_line(file: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "browser", f"tests/{file}"]
    ended = subprocess.run(command, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    told = ended.stderr.strip()
    assert told.splitlines() == [
        "ERROR: the browser tests need the browser chromium (apt-get install chromium)"
    ]
