"""Reads lists and tables that people write, in whatever way their program saved them.

Text is UTF-8, or UTF-16 as Excel's "Unicode text"; commas, semicolons or tabs separate columns.
"""

import codecs
import csv
import difflib
import io
from collections.abc import Sequence
from pathlib import Path

_NO_TEXT = {  # by the first bytes
    b"PK\x03\x04": "an Excel workbook or another archive, not text; save it as CSV (UTF-8)",
    b"<html": "a web page, not the file behind it; download the file itself",
    b"<!doc": "a web page, not the file behind it; download the file itself",
}
_SEPARATORS = ",;\t"


def read_text(path: Path) -> str:
    """A text file, whichever Unicode encoding it has; without a byte-order mark.

    Raises:
        ValueError: it is no text, or in an unknown encoding.
    """
    return _decode(path.read_bytes(), path)


def _decode(data: bytes, path: Path) -> str:
    for beginning, kind in _NO_TEXT.items():
        if data[:5].lower().startswith(beginning.lower()):
            raise ValueError(f"{path}: is {kind}")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}: is not UTF-8 text (byte {data[error.start]:#04x} in line {line}); save it as "
            "UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError(f"{path}: is not a text file; use a good copy, saved as UTF-8")
    return text


def read_table(
    path: Path, needed: Sequence[str], known: Sequence[str] = ()
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table whose first line names its columns: (line number, cell by column),
    without blank rows, and without unnamed columns such as pandas' index.

    Args:
        needed: columns that must be there.
        known: all others that may be; empty for any.

    Raises:
        ValueError: as `read_text`; or a column is missing, unknown or there twice, or a line has
            more or fewer cells than the header.
    """
    text = read_text(path)
    if text[:4].lower() == "sep=":  # a hint for Excel
        text = text.partition("\n")[2]
    first, wanted = _first_line(text), {*needed, *known}
    separator = max(_SEPARATORS, key=lambda each: len(wanted & set(_cells(first, each))))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    filled = [(reader.line_num, cells) for row in reader if any(cells := [c.strip() for c in row])]
    header = filled[0][1] if filled else []
    columns = [column for column in header if column]
    if known and wanted & set(columns):
        _refuse_unknown(columns, [*needed, *known], path)
    for column in needed:
        if column not in header:
            raise ValueError(
                f"{path}: has no column '{column}', its first line is '{first.strip()[:80]}'; "
                f"begin with a line such as {','.join(needed)}"
            )
    if repeated := [column for column in columns if columns.count(column) > 1]:
        raise ValueError(f"{path}: has the column '{repeated[0]}' twice; remove one")
    rows = []
    for number, row in filled[1:]:
        if len(row) != len(header):
            raise ValueError(
                f"{path}: line {number} has not as many columns as the header ({len(row)}, not "
                f"{len(header)})"
            )
        rows.append((number, {c: cell for c, cell in zip(header, row, strict=True) if c}))
    return rows


def header_cells(path: Path) -> set[str]:
    """All that the first line of any file may name as columns, whatever the separator."""
    with path.open("rb") as file:
        beginning = file.read(4096)
    try:
        text = _decode(beginning, path)
    except ValueError:
        text = beginning.decode("latin-1")  # enough for the names of columns
    first = _first_line(text)
    return {cell for separator in _SEPARATORS for cell in _cells(first, separator)}


def _refuse_unknown(columns: Sequence[str], known: Sequence[str], path: Path) -> None:
    for column in columns:
        if column not in known:
            close = difflib.get_close_matches(column, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}"
            raise ValueError(f"{path}: unknown column '{column}'; {hint}")


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "")


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
