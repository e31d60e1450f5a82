"""The published numbers: spot values against the papers, and where each is from."""

import pytest

from leffa.metrics.published import Line, Table, read_published
from leffa.metrics.report import COLUMNS


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    found = read_published()
    assert len({table.id for table in found}) == len(found)
    return {table.id: table for table in found}


def row(tables: dict[str, Table], table: str, method: str) -> Line:
    return next(row for row in tables[table].rows if row.method == method)


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
            assert all(each.source.split(", ", 1))
            assert each.values, f"{table.id}: {each.method} has no number"


def test_every_column_has_a_title(tables: dict[str, Table]) -> None:
    assert {column for table in tables.values() for column in table.columns} <= COLUMNS.keys()
