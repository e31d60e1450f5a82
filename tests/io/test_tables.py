"""Reading lists and tables in whatever way a program saved them."""

import codecs
from pathlib import Path

import pytest

from leffa.data.folder import FolderPairs
from leffa.data.keypoints import listed_names
from leffa.data.layout import read_csv_pairs, read_lines
from leffa.io.tables import read_table
from leffa.metrics.folders import read_pairs as read_score_pairs

ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16, big end first": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}
NEEDED = ("prediction", "true")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_is_read_however_it_was_saved(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    rows = [["prediction", "true"], ["a.png", "x y.png"], ["b", "z"]]
    text = "".join(separator.join(row) + "\r\n" for row in rows)
    path = tmp_path / "pairs.csv"
    path.write_bytes(ENCODINGS[encoding](text))
    assert read_score_pairs(path) == {"a": "x y", "b": "z"}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_of_data_sets_are_read_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list"
    path.write_bytes(ENCODINGS[encoding]("a.jpg b.jpg\n\nc.jpg\td.jpg\n"))
    assert [line.split() for line in read_lines(path)] == [["a.jpg", "b.jpg"], ["c.jpg", "d.jpg"]]
    path.write_bytes(ENCODINGS[encoding](",from,to\n0,a.jpg,b.jpg\n"))
    assert read_csv_pairs(path) == [("a.jpg", "b.jpg")]
    path.write_bytes(ENCODINGS[encoding]("name:keypoints_y:keypoints_x\na.jpg:[1]:[2]\n"))
    listed_names.__globals__["_read_list"].cache_clear()
    assert listed_names(path) == {"a.jpg"}


def test_what_excel_and_pandas_add_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text('sep=;\n;prediction;true;\n0;"a;b.png";x;\n;;;\n1;c;y;\n')
    assert [row for _, row in read_table(path, NEEDED)] == [
        {"prediction": "a;b.png", "true": "x"},
        {"prediction": "c", "true": "y"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04\x14\0", "is an Excel workbook or another archive, not text; save it as CSV"),
        (b"<!DOCTYPE html><html>", "is a web page, not the file behind it"),
        ("prediction,true\né,b\n".encode("latin-1"), r"is not UTF-8 text \(byte 0xe9 in line 2\)"),
        (b"prediction,true\na,b\0\n", "is not a text file"),
        (b"prediction|true\n", "has no column 'prediction', its first line is 'prediction|true'"),
        (b"prediction,true,true\n", "has the column 'true' twice"),
        (b"prediction;true\na,b\n", r"line 2 has not as many columns as the header \(1, not 2\)"),
    ],
)
def test_what_a_file_is_instead_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: {message.replace('|', '[|]')}"):
        read_score_pairs(path)


def test_a_users_table_may_have_semicolons_and_empty_cells(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "m.png"):
        (tmp_path / name).write_bytes(b"?")
    text = "person;garment;mask;densepose\na.jpg;b.jpg;m.png;\n"
    (tmp_path / "pairs.csv").write_bytes(text.encode("utf-16"))
    record = FolderPairs(tmp_path)[0]
    assert record.mask == tmp_path / "m.png"
    assert record.densepose is None
