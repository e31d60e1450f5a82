"""Examines a dataset's folder: names, lists, each file, and what several files show together."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from leffa.data.catalog import CATALOG, DATASETS, FOLDER
from leffa.data.catalog.spec import MATCHES, SYNTHETIC, DatasetSpec, FileSpec
from leffa.data.doctor.contents import Inspection, inspect_file
from leffa.data.doctor.cross_checks import compare
from leffa.data.doctor.lists import check_overlap
from leffa.data.doctor.ready import readiness
from leffa.data.doctor.recognise import recognise, recognise_below
from leffa.data.doctor.report import Count, Finding, Report, gather
from leffa.data.doctor.sheet import pick_rows
from leffa.data.doctor.survey import Present, Survey, Surveyor
from leffa.data.folder import is_custom_folder, pairs_by_table
from leffa.data.layout import check_choice
from leffa.io.folders import SUFFIXES, scan
from leffa.io.processes import map_items

Progress = Callable[[int, int], None]  # (files done, files in all)

_CHUNK = 16
# Of a user's own folder, whose names and suffixes are free.
_OWN_FILES = (
    *(replace(files, pattern="{}") for files in FOLDER.groups[0].files),
    FileSpec(MATCHES, "{}", MATCHES, field="matches"),
)
_OWN_FOLDERS = "pairs"  # the group of samples that no table lists


def examine(
    root: str | Path,
    dataset: str = "auto",
    workers: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Examine the folder of a dataset; every listed file is opened and decoded.

    Args:
        root: the folder that holds the dataset's lists.
        dataset: a key of `CATALOG`, or "auto" to recognise it.
        workers: processes that decode.
        progress: called with (files done, files in all).

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is no such dataset, or nothing of it is in the folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the folder that holds the dataset")
    check_choice("dataset", dataset, ("auto", *CATALOG))
    began = time.perf_counter()
    name, spec, survey = _survey(root, dataset)
    tasks = [(entry.path, entry.files.content) for entry in survey.present]
    results = map_items(inspect_file, tasks, workers, progress, chunk=_CHUNK)
    inspected = list(zip(survey.present, results, strict=True))
    synthetic = (root / SYNTHETIC).is_file()
    counts = [listed.count for group in survey.lists.values() for listed in group]
    if synthetic:  # official numbers do not bind it
        spec, counts = replace(spec, size=None), [replace(count, official=None) for count in counts]
    findings = list(_findings(spec, survey, inspected, counts))
    problems = gather(findings)
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
        [readiness(table, records) for table, records in survey.own.items()],
    )


def _findings(
    spec: DatasetSpec,
    survey: Survey,
    inspected: Sequence[tuple[Present, Inspection]],
    counts: Sequence[Count],
) -> Iterator[Finding]:
    """Of names, of single files, of lists, and of several files together."""
    yield from survey.findings
    for present, result in inspected:
        for kind, detail in result.findings:
            yield Finding(kind, present.where, present.path.name, detail)
    if spec.disjoint:
        yield from check_overlap(listed for group in survey.lists.values() for listed in group)
    for count in counts:
        if count.official is not None and count.found > count.official:
            yield Finding("list-longer", count.what, "", f"{count.found:,}")
    yield from compare(inspected, spec, survey.splits)


def _survey(root: Path, dataset: str) -> tuple[str, DatasetSpec, Survey]:
    """The dataset's name, its spec and what is there of it."""
    if dataset == "folder" or (dataset == "auto" and is_custom_folder(root)):
        return "folder", FOLDER, _survey_custom_folder(root)
    name = recognise(root) if dataset == "auto" else dataset
    survey = Surveyor(root, DATASETS[name]).run() if name is not None else Survey()
    if not survey.present and not any(survey.lists.values()):
        deeper = recognise_below(root)
        if deeper is None:
            wanted = f"the dataset {name}" if name else f"a dataset ({', '.join(CATALOG)})"
            raise ValueError(
                f"{root}: does not hold {wanted}; give the folder that holds its lists"
            )
        name, survey = name or recognise(deeper), Survey()
        survey.add("nested", str(root), str(deeper))
    assert name is not None
    return name, DATASETS[name], survey


def _survey_custom_folder(root: Path) -> Survey:
    """The files of every pair of every table; without a table, of the folders.

    Raises:
        FileNotFoundError, ValueError: as `FolderPairs`, whose message says what to do.
    """
    survey = Survey()
    seen: set[Path] = set()
    owners: dict[Path, tuple[str, str]] = {}
    for table, records in pairs_by_table(root).items():
        group = table or _OWN_FOLDERS
        survey.lists[group], survey.own[table] = [], records
        for record in records:
            # Two tables may name one photograph: what they give it belongs together.
            subjects = {
                "person": owners.setdefault(record.source, (group, record.name)),
                "garment": owners.setdefault(record.reference, (group, record.name)),
            }
            for files in _OWN_FILES:
                path = getattr(record, files.field or "")
                if path is None or path in seen:
                    continue
                seen.add(path)
                inside = path.parent.is_relative_to(root)
                where = path.parent.relative_to(root) if inside else path.parent
                survey.present.append(Present(path, where.as_posix(), files, *subjects[files.role]))
    for files in _OWN_FILES if survey.own.keys() == {None} else ():
        (where,) = files.spellings
        found = scan(root / where, (".json",) if files.content in ("pose", MATCHES) else SUFFIXES)
        for path in found.files.values():
            if path not in seen:
                survey.add("extra-file", where, path.name)
        for path in found.excluded:
            survey.add("left-out", where, path.name)
    return survey
