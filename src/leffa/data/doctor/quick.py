"""The part of the doctor that is quick enough to run before each training."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from leffa.data.batch import Record
from leffa.data.doctor.contents import look_at
from leffa.data.doctor.kinds import TRAINED_ALL_THE_SAME
from leffa.data.doctor.report import Finding, Problem, gather
from leffa.data.fit import same_shape
from leffa.data.layout import missing_files
from leffa.io.pictures import read_header

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
DensePoseFile = Literal["colour", "iuv", "labels"]

_CONTENTS = {  # of a record's fields
    "source": "photo",
    "reference": "photo",
    "mask": "mask",
    "parse": "parse_20",
    "reference_mask": "garment_mask",
    "flow": "flow",
}
_DENSEPOSE = {"colour": "colour", "iuv": "iuv", "labels": "part_labels"}
_BESIDE_SOURCE = ("mask", "densepose", "parse")


def quick_check(
    records: Sequence[Record],
    densepose: DensePoseFile | None = None,
    headers: int = 64,
    decoded: int = 2,
) -> list[Problem]:
    """Check records without decoding every file; takes about a second.

    All files must exist; `headers` records, spread evenly, are compared in size; `decoded` files of
    each field, spread evenly, are opened in full. A picture in another format than its suffix says
    is a warning in the log.

    Args:
        records: a layout class, or part of one.
        densepose: the encoding of the DensePose files; None leaves them unopened.
        headers: records whose sizes are compared.
        decoded: files of each field that are decoded.

    Returns:
        The problems, of which none is harmless; `problem.line` is the message.
    """
    missing, _ = missing_files(records)
    absent = {Path(path) for path in missing}
    findings = [Finding("file-missing", *os.path.split(path)) for path in missing]
    for record in _spread(records, headers):
        findings += _sizes(record, absent)
    contents = _CONTENTS | ({"densepose": _DENSEPOSE[densepose]} if densepose else {})
    for field, content in contents.items():
        paths = [path for record in records if isinstance(path := getattr(record, field), Path)]
        for path in _spread(paths, decoded):
            if path not in absent:
                looked = look_at((path, content))
                findings += [
                    Finding(kind, str(path.parent), path.name, detail)
                    for kind, detail in looked.findings
                ]
    problems = [problem for problem in gather(findings) if not problem.harmless]
    for problem in problems:
        if problem.kind in TRAINED_ALL_THE_SAME:
            log.warning(problem.line)
    return [problem for problem in problems if problem.kind not in TRAINED_ALL_THE_SAME]


def _sizes(record: Record, absent: set[Path]) -> list[Finding]:
    source = _header_size(record.source, absent)
    findings = []
    for field in _BESIDE_SOURCE:
        path = getattr(record, field)
        size = _header_size(path, absent) if isinstance(path, Path) else None
        if source is None or size is None or size == source:
            continue
        if field != "densepose" or not same_shape(size, source):
            detail = f"{size[0]}x{size[1]}, photograph {source[0]}x{source[1]}"
            findings.append(Finding("size-mismatch", str(path.parent), path.name, detail))
    return findings


def _header_size(path: Path, absent: set[Path]) -> tuple[int, int] | None:
    if path in absent or path.suffix == ".npz":
        return None
    try:
        return read_header(path).size
    except (FileNotFoundError, ValueError):
        return None  # the file is opened in full, or its first step says what it is


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` items, evenly spread."""
    step = max(1, -(-len(items) // count))
    return list(items[::step])
