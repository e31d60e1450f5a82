"""Reuse finished parts of an earlier demo.

A part (one training, one evaluation) is reused when its folder says that it was finished with the
same fingerprint, a hash of

- the settings that the part was given, and the fingerprints of the parts that it builds on;
- every file of the package and of `conf/`, the demo's own pages aside, whatever the version says.

Anything else in the folder, such as half of an interrupted training, is removed first.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from leffa.io.atomic import write_json, write_text
from leffa.io.outputs import MARK

PACKAGE = Path(__file__).parents[1]
NO_RESULT = {"demo", "app", "cli.py", "__main__.py", "__pycache__"}  # no number depends on them
STAMP, BEGUN = "finished.json", "begun.txt"  # each says that the folder is the demo's


def fingerprint(settings: Iterable[str], *builds_on: str) -> str:
    """A short hash of settings, of other fingerprints and of the code."""
    facts = json.dumps([list(settings), builds_on, _code()])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def claim(folder: Path, mark: str, fresh: bool = False) -> bool:
    """Whether the part in `folder` has to be done; if so, what an earlier start left is removed.

    Raises:
        ValueError: the folder is somebody else's.
    """
    stamp, begun = folder / STAMP, folder / BEGUN
    before = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}
    if before.get("fingerprint") == mark and not fresh:
        return False
    if folder.exists():
        if any(folder.iterdir()) and not (stamp.is_file() or begun.is_file()):
            raise ValueError(
                f"{folder}: was not made by this version of the demo; rename it, or give another "
                "--out"
            )
        shutil.rmtree(folder)
    write_text(begun, f"{MARK}\n")
    return True


def finish(folder: Path, mark: str) -> None:
    write_json(folder / STAMP, {"fingerprint": mark})


@cache
def _code() -> str:
    """A hash of the files that decide results: code, configuration, shipped weights."""
    digest = hashlib.sha256()
    for root in (PACKAGE, PACKAGE.parents[1] / "conf"):
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            if path.is_file() and NO_RESULT.isdisjoint(name.parts):
                digest.update(f"{name.as_posix()}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
