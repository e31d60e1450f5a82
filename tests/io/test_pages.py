"""Pages escape what they are given, miss nothing silently, and draw what the numbers say."""

import re
from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError

from leffa.io.charts import Line, line_chart
from leffa.io.pages import render

SHEET = "data/doctor/sheet.html"
REPORT = SimpleNamespace(
    title="<b>bold</b>", root=".", clean=True, files=1, counts=[], ready=None, problems=[]
)


def test_a_page_escapes_its_values_and_has_the_shared_style() -> None:
    page = render(SHEET, report=REPORT, columns=["<1>"], rows=[])
    assert "&lt;b&gt;bold" in page
    assert "<th>&lt;1&gt;</th>" in page
    assert "prefers-color-scheme" in page


def test_a_page_without_one_of_its_values_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="rows"):
        render(SHEET, report=REPORT, columns=[])


def test_a_chart_draws_each_line_from_its_first_point_to_its_last() -> None:
    chart = line_chart("loss <1>", [Line("a & b", [(0, 10.0), (100, 0.0)], "#0b6bcb")])
    assert "loss &lt;1&gt;" in chart
    assert "a &amp; b" in chart
    (drawn,) = re.findall(r'<path d="([^"]+)"[^>]*style="[^"]*stroke: #0b6bcb[^"]*"', chart)[:1]
    start, end = (
        tuple(map(float, point.split())) for point in re.findall(r"[ML] ([\d. ]+)", drawn)
    )
    assert start[0] < end[0]
    assert start[1] < end[1], "SVG counts downwards, so the larger value has the smaller y"


def test_a_chart_without_points_is_no_chart() -> None:
    assert line_chart("empty", [Line("a", [], "#000000")]) == ""


def test_charts_on_one_page_share_no_id() -> None:
    charts = [line_chart(title, [Line("a", [(0, 1.0), (1, 2.0)], "#000000")]) for title in "ab"]
    ids = [set(re.findall(r"url\(#([^)]+)\)", chart)) for chart in charts]
    assert ids[0]
    assert not ids[0] & ids[1]
