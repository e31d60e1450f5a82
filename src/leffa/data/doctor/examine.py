"""Examines a data set's folder: names, lists, each file, and what several files show together."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from leffa.data.catalog import CATALOG, DATASETS, FOLDER
from leffa.data.catalog.spec import SYNTHETIC, DatasetSpec, FileSpec
from leffa.data.doctor.contents import Inspection, inspect_file
from leffa.data.doctor.cross_checks import compare
from leffa.data.doctor.custom_folder import survey_custom_folder
from leffa.data.doctor.lists import check_overlap, check_totals
from leffa.data.doctor.ready import readiness
from leffa.data.doctor.recognise import recognise, recognise_below
from leffa.data.doctor.report import Finding, Report, gather
from leffa.data.doctor.sheet import pick_rows
from leffa.data.doctor.survey import Present, Survey, Surveyor
from leffa.data.folder import is_custom_folder
from leffa.data.layout import check_choice
from leffa.io.folders import SUFFIXES, is_hidden
from leffa.io.processes import ProcessPool

Progress = Callable[[int, int], None]  # (files done, files in all)

_UNKNOWN = DatasetSpec("pictures of no known data set", "", ".*", (), same_size=False)
_CHUNK = 16


def examine(
    root: str | Path,
    dataset: str = "auto",
    workers: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Examine the folder of a data set; every listed file is opened and decoded.

    Args:
        root: the folder that holds the data set's lists.
        dataset: a key of `CATALOG`, or "auto" to recognise it.
        workers: processes that decode.
        progress: called with (files done, files in all).

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no such data set, or nothing of it is in the folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the folder that holds the data set")
    check_choice("dataset", dataset, ("auto", *CATALOG))
    began = time.perf_counter()
    name, spec, survey = _survey(root, dataset)
    inspected = list(_inspect(survey.present, workers, progress))
    synthetic = (root / SYNTHETIC).is_file()
    lists = [listed for group in survey.lists.values() for listed in group]
    counts = [listed.count for listed in lists]
    if synthetic:  # official numbers do not bind it
        spec, counts = replace(spec, size=None), [replace(count, official=None) for count in counts]
    findings = [
        *survey.findings,
        *(
            Finding(kind, present.where, present.path.name, detail)
            for present, result in inspected
            for kind, detail in result.findings
        ),
        *(check_overlap(lists) if spec.disjoint else ()),
        *check_totals(root, spec.totals, survey.lists),
        *(
            Finding("list-longer", count.what, "", f"{count.found:,}")
            for count in counts
            if count.official is not None and count.found > count.official
        ),
        *compare(inspected, spec),
    ]
    problems = gather(findings)
    mends = {problem.kind for problem in problems if not problem.harmless}
    patterns = (f"{one.where}/{one.files.pattern.replace('{}', '*')}" for one, _ in inspected)
    return Report(
        name,
        spec.title,
        root,
        synthetic,
        counts,
        dict(Counter(patterns)),
        problems,
        len(inspected),
        time.perf_counter() - began,
        pick_rows(survey, inspected, findings),
        [readiness(table, records, mends) for table, records in survey.own.items()],
    )


def _survey(root: Path, dataset: str) -> tuple[str, DatasetSpec, Survey]:
    """The data set's name, its spec and what is there of it."""
    if dataset == "folder" or (dataset == "auto" and is_custom_folder(root)):
        return "folder", FOLDER, survey_custom_folder(root)
    name = recognise(root) if dataset == "auto" else dataset
    survey = Surveyor(root, DATASETS[name]).run() if name is not None else Survey()
    if not survey.present and not any(survey.lists.values()):
        if deeper := recognise_below(root):
            survey = Survey()
            survey.add("nested", str(root), str(deeper))
        else:
            survey = _survey_pictures(root, name)
    return name or "unknown", DATASETS[name] if name is not None else _UNKNOWN, survey


def _survey_pictures(root: Path, name: str | None) -> Survey:
    """Every picture below a folder of no known data set."""
    survey = Survey()
    files = FileSpec("", "{}", "photo", "picture", main=True)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES and not is_hidden(path.name):
            where = path.parent.relative_to(root).as_posix()
            survey.present.append(Present(path, where, files, "", path.name))
    if name is not None or not survey.present:
        wanted = f"the data set {name}" if name else f"a data set ({', '.join(CATALOG)})"
        raise ValueError(f"{root}: does not hold {wanted}; give the folder that holds its lists")
    survey.add("unknown-layout", str(root))
    return survey


def _inspect(
    present: Sequence[Present], workers: int, progress: Progress | None
) -> Iterator[tuple[Present, Inspection]]:
    tasks = [(entry.path, entry.files.content) for entry in present]
    for done, pair in enumerate(zip(present, _run(tasks, workers), strict=True), start=1):
        if progress is not None:
            progress(done, len(tasks))
        yield pair


def _run(tasks: Sequence[tuple[Path, str]], workers: int) -> Iterator[Inspection]:
    if workers <= 1 or len(tasks) < 2 * _CHUNK:
        yield from map(inspect_file, tasks)
        return
    with ProcessPool(workers) as pool:
        yield from pool.map(inspect_file, tasks, chunksize=_CHUNK)
