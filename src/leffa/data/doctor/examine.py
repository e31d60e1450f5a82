"""Examines a data set's folder: names, lists, each file, and what several files show together."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from leffa.data.catalog import CATALOG, DATASETS
from leffa.data.catalog.spec import SYNTHETIC, DatasetSpec, FileSpec
from leffa.data.doctor.contents import look_at
from leffa.data.doctor.cross_checks import compare
from leffa.data.doctor.custom_folder import is_custom_folder, survey_custom_folder
from leffa.data.doctor.lists import check_together, check_totals
from leffa.data.doctor.look import Look
from leffa.data.doctor.ready import readiness
from leffa.data.doctor.recognise import recognise, recognise_below
from leffa.data.doctor.report import Count, Finding, Report, gather
from leffa.data.doctor.rows import pick_rows
from leffa.data.doctor.survey import Present, Survey, Surveyor
from leffa.data.layout import check_choice
from leffa.io.folders import SUFFIXES, is_hidden
from leffa.io.processes import ProcessPool

Progress = Callable[[int, int], None]  # (files done, files in all)

_NO_LAYOUT = DatasetSpec("pictures of no known data set", "", ".*", (), same_size=False)
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
    name, declared, survey = _survey(root, dataset)
    looked = list(_look(survey.present, workers, progress))
    synthetic = (root / SYNTHETIC).is_file()
    counts = _counts(survey, synthetic)
    findings = [
        *survey.findings,
        *_of_files(looked),
        *_of_lists(root, declared, survey, counts),
        *compare(looked, declared),
    ]
    if synthetic:
        findings = [found for found in findings if found.kind != "size-unofficial"]
    folders = Counter(
        f"{present.where}/{present.files.pattern.replace('{}', '*')}" for present, _ in looked
    )
    problems = gather(findings)
    mends = {problem.kind for problem in problems if not problem.harmless}
    return Report(
        name,
        declared.title,
        root,
        synthetic,
        counts,
        dict(folders),
        problems,
        len(looked),
        time.perf_counter() - began,
        pick_rows(survey, looked, findings),
        [readiness(table, records, mends) for table, records in survey.own.items()],
    )


def _counts(survey: Survey, synthetic: bool) -> list[Count]:
    """The length of every list; official numbers do not bind a synthetic copy."""
    counts = [listed.count for group in survey.lists.values() for listed in group]
    return [replace(count, official=None) for count in counts] if synthetic else counts


def _of_lists(
    root: Path, declared: DatasetSpec, survey: Survey, counts: Iterable[Count]
) -> Iterator[Finding]:
    """What several lists show, and lists that are too long."""
    lists = [listed for group in survey.lists.values() for listed in group]
    yield from check_together(lists, declared.disjoint)
    yield from check_totals(root, declared.totals, survey.lists)
    for count in counts:
        if count.official is not None and count.found > count.official:
            yield Finding("list-longer", count.what, "", f"{count.found:,}")


def _survey(root: Path, dataset: str) -> tuple[str, DatasetSpec, Survey]:
    """The data set's name, its declaration and what is there of it."""
    name: str | None = dataset
    if dataset == "auto":
        name = "folder" if is_custom_folder(root) else recognise(root)
    if name == "folder":
        return "folder", CATALOG["folder"], survey_custom_folder(root)
    survey = Surveyor(root, DATASETS[name]).run() if name is not None else Survey()
    nothing = not survey.present and not any(survey.lists.values())
    if nothing and (deeper := recognise_below(root)):
        survey = Survey()
        survey.add("nested", str(root), str(deeper))
    elif nothing:
        survey = _survey_pictures(root, name)
    return name or "unknown", DATASETS[name] if name is not None else _NO_LAYOUT, survey


def _survey_pictures(root: Path, name: str | None) -> Survey:
    """Every picture below a folder without a known layout."""
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


def _look(
    present: Sequence[Present], workers: int, progress: Progress | None
) -> Iterator[tuple[Present, Look]]:
    tasks = [(entry.path, entry.files.content) for entry in present]
    for done, pair in enumerate(zip(present, _run(tasks, workers), strict=True), start=1):
        if progress is not None:
            progress(done, len(tasks))
        yield pair


def _run(tasks: Sequence[tuple[Path, str]], workers: int) -> Iterable[Look]:
    if workers <= 1 or len(tasks) < 2 * _CHUNK:
        yield from map(look_at, tasks)
        return
    with ProcessPool(workers) as pool:
        yield from pool.map(look_at, tasks, chunksize=_CHUNK)


def _of_files(looked: Iterable[tuple[Present, Look]]) -> Iterator[Finding]:
    for present, look in looked:
        for kind, detail in look.findings:
            yield Finding(kind, present.where, present.path.name, detail)
