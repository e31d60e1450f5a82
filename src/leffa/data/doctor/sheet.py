"""The contact sheet: one HTML file with the findings and small pictures of some samples."""

import base64
import html
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from leffa.data.doctor.report import Report, Row, printable
from leffa.data.doctor.rows import COLUMNS
from leffa.data.keypoints import read_keypoints

_HEIGHT = 160  # of a small picture
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}
table{border-collapse:collapse}th,td{padding:4px 8px;text-align:left;vertical-align:top}
td img{height:160px;display:block}tr{border-bottom:1px solid #ddd}
.bad{color:#a40000}.none{color:#999}code{background:#f3f3f3;padding:0 3px}li{margin:.2rem 0}
"""


def write_sheet(report: Report, path: Path) -> None:
    """Write the report as a page that needs no other file; it is whole or not there."""
    problems = "".join(
        f"<li{'' if problem.harmless else ' class=bad'}>{html.escape(problem.line)}</li>"
        for problem in report.problems
    )
    counts = "".join(f"<li>{html.escape(count.line)}</li>" for count in report.counts)
    heads = "".join(f"<th>{column}</th>" for column in COLUMNS)
    rows = "".join(_row(row) for row in report.samples)
    verdict = "No problems." if report.clean else "Problems were found."
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(report.title)}"
        f"</title><style>{_STYLE}</style><h1>{html.escape(report.title)}</h1>"
        f"<p><code>{html.escape(str(report.root))}</code>: {verdict} "
        f"{report.files:,} files opened.</p><ul>{counts}</ul><ul>{problems}</ul>"
        f"<table><thead><tr><th>sample</th>{heads}</tr></thead><tbody>{rows}</tbody></table></html>"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(printable(page), encoding="utf-8")
    unfinished.replace(path)


def _row(row: Row) -> str:
    cells = []
    for column in COLUMNS:
        if column not in row.files:
            cells.append("<td class=none>none</td>")
            continue
        try:
            picture = _picture(column, row)
        except (OSError, ValueError, SyntaxError):  # a finding says why
            cells.append("<td class=bad>cannot be shown</td>")
            continue
        alternative = html.escape(row.files[column].name)
        cells.append(f'<td><img alt="{alternative}" title="{alternative}" src="{_embed(picture)}">')
    remarks = "".join(f"<div class=bad>{html.escape(text)}</div>" for text in row.remarks)
    return f"<tr><td>{html.escape(row.key)}{remarks}</td>{''.join(cells)}</tr>"


def _picture(column: str, row: Row) -> Image.Image:
    """What a cell shows: overlays on the source where that helps."""
    path = row.files[column]
    if column in ("source", "reference"):
        return _small(Image.open(path))
    source = _small(Image.open(row.files["source"])) if "source" in row.files else None
    if column == "mask":
        with Image.open(path) as image:
            mask = image.convert("L").resize(source.size if source else _size(image))
        ground = source or Image.new("RGB", mask.size)
        return Image.composite(
            Image.blend(ground, Image.new("RGB", mask.size, "red"), 0.5), ground, mask
        )
    if column == "keypoints":
        with Image.open(row.files["source"]) as photo:
            joints = read_keypoints(path, photo.size)
        return _joints(source or Image.new("RGB", (120, _HEIGHT)), joints)
    with Image.open(path) as image:
        if image.mode in ("L", "P"):
            return _labels(image)
        return _small(image)


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


def _embed(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def write_json(report: Report, path: Path) -> None:
    """Write the report as JSON; it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(report.to_json(), encoding="utf-8")
    unfinished.replace(path)
