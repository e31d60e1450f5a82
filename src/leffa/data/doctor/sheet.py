"""The contact sheet: one HTML file with the findings and small images of some samples."""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from leffa.data.doctor.contents import Inspection
from leffa.data.doctor.ready import ready_lines
from leffa.data.doctor.report import Finding, Report, Row, printable
from leffa.data.doctor.survey import Present, Survey
from leffa.data.keypoints import Joints, read_keypoints
from leffa.io.atomic import write_text
from leffa.io.pages import data_address, render
from leffa.io.pictures import decode, read_header

_COLUMNS = ("source", "reference", "mask", "densepose", "parse", "keypoints")
_MOST = 24  # rows with findings, and as many without
_HEIGHT = 160  # of a small image

Subject = tuple[str, str, str]  # group, role, key


def pick_rows(
    survey: Survey, inspected: Sequence[tuple[Present, Inspection]], findings: Iterable[Finding]
) -> list[Row]:
    """Samples for the sheet: with findings first, then sound ones spread evenly."""
    remarks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for kind, where, name, detail in findings:
        remarks[where, name].append(f"{where}: {kind}" + (f" ({detail})" if detail else ""))
    files: dict[Subject, list[Present]] = defaultdict(list)
    for present, _ in inspected:
        files[present.group, present.files.role, present.key].append(present)
    rows = []
    for source, reference in _samples(survey, files):
        others = files.get(reference, []) if reference != source else []
        shown = _pictures(files[source])
        if photo := _pictures(others).get("source"):
            shown["reference"] = photo
        if "source" in shown or "reference" in shown:
            both = [*files[source], *others]
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
        for pair in (pair for listed in lists for pair in listed.keys.get("pair", ())):
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
        if column in _COLUMNS:
            shown.setdefault(column, entry.path)
    return shown


def write_sheet(report: Report, path: Path) -> None:
    """Write the report, atomically, as a page that needs no other file."""
    page = render(
        "data/doctor/sheet.html",
        report=report,
        ready="\n".join(ready_lines(report.ready)),
        columns=_COLUMNS,
        rows=[(row, [_cell(column, row) for column in _COLUMNS]) for row in report.samples],
    )
    write_text(path, printable(page))


def _cell(column: str, row: Row) -> dict[str, str]:
    if column not in row.files:
        return {"lacks": "none"}
    try:
        picture = _picture(column, row)
    except (OSError, ValueError, SyntaxError):  # a finding says why
        return {"lacks": "cannot be shown"}
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return {"name": row.files[column].name, "address": data_address(file.getvalue(), "jpeg")}


def _picture(column: str, row: Row) -> Image.Image:
    """What a cell shows: overlays on the source where that helps."""
    path = row.files[column]
    if column in ("source", "reference"):
        return _small(decode(path))
    source = _small(decode(row.files["source"])) if "source" in row.files else None
    if column == "mask":
        image = decode(path)
        mask = image.convert("L").resize(source.size if source else _size(image))
        ground = source or Image.new("RGB", mask.size)
        red = Image.blend(ground, Image.new("RGB", mask.size, "red"), 0.5)
        return Image.composite(red, ground, mask)
    if column == "keypoints":
        parse = row.files.get("parse")
        body = None if parse is None else lambda: np.asarray(decode(parse)) > 0
        joints = read_keypoints(path, read_header(row.files["source"]).size, body)
        return _draw_joints(source or Image.new("RGB", (120, _HEIGHT)), joints)
    image = decode(path)
    return _labels(image) if image.mode in ("L", "P") else _small(image)


def _draw_joints(ground: Image.Image, joints: Joints) -> Image.Image:
    pen = ImageDraw.Draw(ground)
    for x, y, seen in joints.tolist():
        if seen:
            at = x * ground.width, y * ground.height
            pen.circle(at, 3, fill="#ff2d2d", outline="white")
    return ground


def _labels(image: Image.Image) -> Image.Image:
    """Label ids as hues, 0 black; the palette of a file says nothing."""
    ids = np.asarray(image.resize(_size(image), Image.Resampling.NEAREST))
    hue = (ids.astype(int) * 97 % 256).astype(np.uint8)
    full = np.where(ids > 0, np.uint8(220), np.uint8(0))
    picture = np.stack([hue, np.full_like(hue, 160), full], axis=-1)
    return Image.frombytes("HSV", (ids.shape[1], ids.shape[0]), picture.tobytes()).convert("RGB")


def _small(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize(_size(image), Image.Resampling.BICUBIC)


def _size(image: Image.Image) -> tuple[int, int]:
    return max(1, round(image.width * _HEIGHT / image.height)), _HEIGHT
