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


def test_spot_values(tables: dict[str, Table]) -> None:
    for table, method, values in (
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
    ):
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
            assert each.source.title and each.source.where
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


def test_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    for old, new, message in (
        ("[A, 0.5, null]", "[A, 0.5]", r"table one, row 1: zip\(\) argument 2 is shorter"),
        ("[A, 0.5, null]", "[A, 0.5, high]", r"table one, row 1: .*\s.*lpips\s+Input should be a"),
        ("[A, 0.5, null]", "[A, 0.5, true]", r"table one, row 1: .*\s.*lpips\s+Input should be a"),
        ("remark: of B", "remarks: of B", r"table one, row 2: .*\sremarks\s+Unexpected"),
        ("size: null", "size: [4]", r"table one, row 2: .*\ssize"),
        ("source: paper", "source: papers", "table one, row 1: 'papers'"),
        ("evidence: read", "evidence: sure", r"evidence\s+Input should be 'read', 'secondary' or"),
        ("[ssim, lpips]", "[ssim, lpipps]", "table one: no column lpipps; see columns.yaml"),
        ("    place: Table 1\n", "", "place"),
        ("{title: A paper, where: arXiv}", "{title: A}", "where"),
        ("tables:", "tabels:", "numbers.yaml: KeyError: 'tables'"),
        ("title: One", "title: {", "numbers.yaml: ParserError"),
    ):
        assert old in GOOD
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
