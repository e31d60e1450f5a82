"""Picks the samples for the contact sheet: some with findings, and sound ones for comparison."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from leffa.data.doctor.look import Look
from leffa.data.doctor.report import Finding, Row
from leffa.data.doctor.survey import Present, Survey

COLUMNS = ("source", "reference", "mask", "densepose", "parse", "keypoints")
_MOST = 24  # rows with findings, and as many without

Subject = tuple[str, str, str]  # group, role, key


def pick_rows(
    survey: Survey, looked: Sequence[tuple[Present, Look]], findings: Iterable[Finding]
) -> list[Row]:
    """Rows with findings first, then sound ones spread evenly over the data set."""
    remarks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, where, name, detail in findings:
        remarks[where, name].append(f"{where}: {kind}" + (f" ({detail})" if detail else ""))
    files: dict[Subject, list[Present]] = defaultdict(list)
    for present, _ in looked:
        files[present.group, present.files.role, present.key].append(present)
    rows = []
    for source, reference in _samples(survey, files):
        shown = _pictures(files[source])
        if (photo := _pictures(files.get(reference, ())).get("source")) and reference != source:
            shown["reference"] = photo
        if "source" in shown or "reference" in shown:
            both = [*files[source], *(files.get(reference, ()) if reference != source else ())]
            said = [text for p in both for text in remarks.get((p.where, p.path.name), ())]
            rows.append(Row(f"{source[0]} {source[2]}".strip(), shown, tuple(said)))
    damaged = [row for row in rows if row.remarks][:_MOST]
    sound = [row for row in rows if not row.remarks]
    return damaged + sound[:: max(1, -(-len(sound) // _MOST))]


def _samples(
    survey: Survey, files: dict[Subject, list[Present]]
) -> Iterator[tuple[Subject, Subject]]:
    """(source, reference) of every sample: by the lists, or every person with their garment."""
    seen: set[Subject] = set()
    for group, lists in survey.lists.items():
        for listed in lists:
            if listed.listing.columns == ("picture", "picture"):
                for pair in listed.keys.get("pair", ()):
                    reference, source = pair.split("_2_", maxsplit=1)
                    if (subject := (group, "picture", source)) in files and subject not in seen:
                        seen.add(subject)
                        yield subject, (group, "picture", reference)
    for subject in list(files):
        group, role, key = subject
        if role in ("person", "picture") and subject not in seen:
            yield subject, (group, "garment", key)


def _pictures(present: Iterable[Present]) -> dict[str, Path]:
    """The files that the sheet has a column for."""
    shown: dict[str, Path] = {}
    for entry in present:
        column = "source" if entry.files.main else entry.files.field
        if column in COLUMNS:
            shown.setdefault(column, entry.path)
    return shown
