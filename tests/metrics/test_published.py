"""The published numbers: spot values against the papers, and a loader that names what is wrong."""

from pathlib import Path

import pytest
import yaml

from leffa.metrics.published import Row, Table, read_published


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    return {table.id: table for table in read_published()}


def row(tables: dict[str, Table], table: str, method: str) -> Row:
    return next(row for row in tables[table].rows if row.method == method)


def test_every_table_of_the_paper_is_there(tables: dict[str, Table]) -> None:
    counts = {
        "leffa_table_1": 11,
        "leffa_table_2": 6,
        "leffa_table_3_256": 13,
        "leffa_table_3_512": 7,
        "leffa_table_4": 6,
        "leffa_table_5_upper": 8,
        "leffa_table_5_lower": 6,
        "leffa_table_5_dresses": 6,
        "leffa_table_6": 2,
        "leffa_table_7": 2,
        "leffa_table_8": 3,
        "leffa_table_9": 4,
        "market_1501": 7,
    }
    assert {name: len(tables[name].rows) for name in counts} == counts


@pytest.mark.parametrize(
    ("table", "method", "values"),
    [
        ("leffa_table_1", "Leffa", [4.54, 0.05, 0.899, 0.048, 8.52, 0.32]),
        ("leffa_table_1", "CatVTON", [5.42, 0.41, 0.870, 0.057, 9.02, 1.09]),
        ("leffa_table_2", "Leffa", [2.06, 0.07, 0.924, 0.031, 4.48, 0.62]),
        ("leffa_table_5_lower", "Leffa", [4.79, 0.05, 0.941, 0.024, 12.25, 1.66]),
        ("leffa_table_3_512", "Leffa", [4.23, 0.755, 0.119]),
        (
            "leffa_table_8",
            "Leffa without the mean over heads",
            [6.02, 0.74, 0.863, 0.072, 9.78, 0.98],
        ),
        ("cfld_512", "CFLD", [7.149, 0.1819, 0.7478, 17.645]),
        ("later_vitonhd", "RealFit", [0.907, 0.049, 4.29, 0.15, 7.74, 0.25]),
        ("market_1501", "IMAGPose", [0.3282, 0.2104, 12.659]),
        ("pro_pose_wpose", "Leffa", [16.47, 16.71]),
    ],
)
def test_spot_values(
    tables: dict[str, Table], table: str, method: str, values: list[float]
) -> None:
    found = row(tables, table, method).values
    assert [found[column] for column in tables[table].columns] == values


def test_the_same_number_in_two_tables_of_a_paper_is_the_same(tables: dict[str, Table]) -> None:
    leffa = row(tables, "leffa_table_1", "Leffa").values
    assert row(tables, "leffa_table_4", "Leffa with the loss").values == leffa
    assert row(tables, "leffa_table_8", "Leffa in full").values == leffa
    plain = row(tables, "leffa_table_4", "Leffa without the loss").values
    assert row(tables, "leffa_table_9", "Baseline").values == plain


def test_a_copying_error_of_a_paper_is_told(tables: dict[str, Table]) -> None:
    copied = row(tables, "leffa_table_3_512", "CFLD")
    assert copied.values["lpips"] == row(tables, "leffa_table_3_256", "CFLD").values["lpips"]
    assert "0.1819" in copied.remark


def test_what_a_source_does_not_give_is_absent(tables: dict[str, Table]) -> None:
    assert "fid_unpaired" not in row(tables, "leffa_table_1", "StableVITON").values


def test_every_row_says_where_it_is_from(tables: dict[str, Table]) -> None:
    for table in tables.values():
        for each in table.rows:
            assert each.source
            assert each.where
            assert each.values, f"{table.id}: {each.method} has no number"


GOOD = """
sources: {paper: {title: A paper, where: arXiv}}
tables:
  - id: one
    title: One
    source: paper
    place: Table 1
    benchmark: vitonhd
    size: [4, 3]
    evidence: read
    protocols: []
    remarks: []
    columns: [ssim, lpips]
    rows:
      - [A, 0.5, null]
      - [B, 0.6, 0.1, {size: null, remark: of B}]
"""


def test_a_row_can_differ_from_its_table(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_text(GOOD)
    (table,) = read_published(path)
    a, b = table.rows
    assert (a.size, a.remark, a.values) == ((4, 3), "", {"ssim": 0.5})
    assert (b.size, b.remark, b.values) == (None, "of B", {"ssim": 0.6, "lpips": 0.1})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[A, 0.5, null]", "[A, 0.5]", "table one, row 1: 1 values for 2 columns"),
        ("[A, 0.5, null]", "[A, 0.5, high]", "table one, row 1: lpips is 'high', not a number"),
        ("[A, 0.5, null]", "{A: 0.5}", r"table one, row 1: expected \[method, value"),
        ("remark: of B", "remarks: of B", "table one, row 2: unknown key remarks"),
        ("size: null", "size: [4]", r"table one, row 2: size is \[height, width\] or null"),
        ("source: paper", "source: papers", "table one, row 1: no source papers"),
        ("evidence: read", "evidence: sure", "evidence is one of read, secondary, memory"),
        ("[ssim, lpips]", "[ssim, lpipps]", "table one: no column lpipps; choose from"),
        ("    place: Table 1\n", "", "table one: place is missing"),
        ("{title: A paper, where: arXiv}", "{title: A}", "sources.paper: where is missing"),
        ("tables:", "tabels:", "numbers.yaml: tables is missing"),
        ("title: One", "title: {", "is not YAML"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = tmp_path / "numbers.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_published(path)


def test_two_tables_of_one_id_are_an_error(tmp_path: Path) -> None:
    content = yaml.safe_load(GOOD)
    content["tables"] *= 2
    path = tmp_path / "numbers.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="two tables have the id one"):
        read_published(path)
