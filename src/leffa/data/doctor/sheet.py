"""The contact sheet: one HTML file with the findings and small pictures of some samples."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from leffa.data.doctor.ready import ready_lines
from leffa.data.doctor.report import Report, Row, printable
from leffa.data.doctor.rows import COLUMNS
from leffa.data.keypoints import read_keypoints
from leffa.io.atomic import write_text
from leffa.io.pages import data_address, render
from leffa.io.pictures import decode, read_header

_HEIGHT = 160  # of a small picture


def write_sheet(report: Report, path: Path) -> None:
    """Write the report as a page that needs no other file; it is whole or not there."""
    page = render(
        "data/doctor/sheet.html",
        report=report,
        ready="\n".join(ready_lines(report.ready)),
        columns=COLUMNS,
        rows=[(row, [_cell(column, row) for column in COLUMNS]) for row in report.samples],
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
        return Image.composite(
            Image.blend(ground, Image.new("RGB", mask.size, "red"), 0.5), ground, mask
        )
    if column == "keypoints":
        parse = row.files.get("parse")
        body = None if parse is None else lambda: np.asarray(decode(parse)) > 0
        joints = read_keypoints(path, read_header(row.files["source"]).size, body)
        return _joints(source or Image.new("RGB", (120, _HEIGHT)), joints)
    image = decode(path)
    return _labels(image) if image.mode in ("L", "P") else _small(image)


def _joints(ground: Image.Image, joints: np.ndarray) -> Image.Image:
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


def write_json(report: Report, path: Path) -> None:
    """Write the report as JSON; it is whole or not there."""
    write_text(path, report.to_json())
