"""Checks that are quick enough to run before every command that reads data."""

import logging
import os
import random
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

from leffa.data.batch import Record
from leffa.data.doctor.contents import CONTENTS, inspect_file
from leffa.data.doctor.report import KINDS, Finding, Problem, gather
from leffa.data.fit import same_shape
from leffa.data.layout import missing_files
from leffa.data.transforms import PersonTransform
from leffa.io.pictures import open_mask, read_header

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")

_TRAINED_ALL_THE_SAME = ("format-differs", "few-colours")  # kinds of findings
_HEADERS = 64  # records whose sizes are compared, evenly spread
_DECODED = 2  # files of each field

_CONTENTS = {  # of a record's fields
    "source": "photo",
    "reference": "photo",
    "mask": "mask",
    "parse": "parse_20",
    "reference_mask": "garment_mask",
    "flow": "flow",
    "truth": "photo",
    "truth_parse": "parse_20",
}


def check_records(records: Sequence[Record], transform: PersonTransform) -> None:
    """Make one sample, and inspect some files of each kind that the transform reads.

    Raises:
        FileNotFoundError, ValueError: a file is missing, damaged, or not what it should be; one
            line, the same in every command.
    """
    transform(records[0], random.Random(0))
    unread = ("mask",) if transform.agnostic is not None or transform.task == "pose" else ()
    files = transform.densepose_files or transform.densepose
    if problems := quick_check(records, files, unread=unread):
        more = f" ({len(problems) - 1} more kinds of problem)" if problems[1:] else ""
        raise ValueError(f"{problems[0].line}{more}; `leffa doctor` checks every file")


def check_mask(path: Path) -> None:
    """Check one try-on mask: ValueError if it is not a mask, is empty or is inverted."""
    open_mask(path)
    for kind, detail in inspect_file((path, "mask")).findings:
        if kind in ("mask-empty", "mask-inverted"):
            says, remedy, _ = KINDS[kind]
            why = f" ({detail})" if detail else ""
            raise ValueError(f"{path}: {says.replace('are', 'is', 1)}{why}; {remedy}")


def quick_check(
    records: Sequence[Record], densepose: str = "none", unread: Collection[str] = ()
) -> list[Problem]:
    """What is wrong with records, without decoding every file; takes about a second.

    All files must exist; some records are compared in size, and some files of each field but the
    `unread` opened in full. What training accepts anyway is a warning in the log.

    Args:
        densepose: the encoding of the DensePose files; they are not opened where the doctor does
            not know it.
    """
    missing, _ = missing_files(records)
    absent = {Path(path) for path in missing}
    findings = [Finding("file-missing", *os.path.split(path)) for path in missing]
    for record in _spread(records, _HEADERS):
        findings += _sizes(record, absent)
    contents = dict(_CONTENTS)
    if (content := densepose.removesuffix("_uv")) in CONTENTS:
        contents["densepose"] = content
    for field in contents.keys() - set(unread):
        paths = [path for record in records if isinstance(path := getattr(record, field), Path)]
        for path in _spread(paths, _DECODED):
            if path not in absent:
                where = str(path.parent)
                for kind, detail in inspect_file((path, contents[field])).findings:
                    findings.append(Finding(kind, where, path.name, detail))
    problems = [problem for problem in gather(findings) if not problem.harmless]
    for problem in problems:
        if problem.kind in _TRAINED_ALL_THE_SAME:
            log.warning(problem.line)
    return [problem for problem in problems if problem.kind not in _TRAINED_ALL_THE_SAME]


def _sizes(record: Record, absent: set[Path]) -> list[Finding]:
    source = _header_size(record.source, absent)
    findings = []
    for field in ("mask", "densepose", "parse", "truth", "truth_parse"):
        path = getattr(record, field)
        size = _header_size(path, absent)
        if source is None or size is None or size == source:
            continue
        if field != "densepose" or not same_shape(size, source):
            detail = f"{size[0]}x{size[1]}, photograph {source[0]}x{source[1]}"
            findings.append(Finding("size-mismatch", str(path.parent), path.name, detail))
    return findings


def _header_size(path: Path | None, absent: set[Path]) -> tuple[int, int] | None:
    if path is None or path in absent:
        return None
    try:
        return read_header(path).size
    except (FileNotFoundError, ValueError):
        return None  # the file is opened in full, or its first step says what it is


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` items, evenly spread."""
    step = max(1, -(-len(items) // count))
    return list(items[::step])
