"""`leffa report`: comparisons as one HTML page that needs nothing but itself, and as text files."""

import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from leffa.io.atomic import write_text
from leffa.io.outputs import check_writable, marked_text
from leffa.io.pages import data_address, render
from leffa.io.pictures import open_picture
from leffa.metrics.benchmarks import (
    MARKS,
    TITLES,
    Comparison,
    Line,
    Result,
    compare,
    finished_runs,
)
from leffa.metrics.published import read_published
from leffa.metrics.texts import (
    all_notes,
    cell_text,
    circumstances,
    column_title,
    latex,
    markdown,
    size_text,
    source_text,
    tidy_csv,
)

log = logging.getLogger(__name__)

GROUPS = ("best", "median", "worst")
FORMATS = ("html", "md", "tex", "csv")
JPEG_QUALITY = 88  # of the sheets inside the page


def write_report(runs: Sequence[Path], out: Path) -> list[Path]:
    """Read finished evaluations and write report.html, .md, .tex and .csv below `out`.

    Args:
        runs: folders of evaluations, or folders that hold several.

    Raises:
        FileNotFoundError: none of the runs holds a finished evaluation.
        ValueError: a result file is damaged, or a file of somebody else is in the way.
    """
    paths = [out / f"report.{suffix}" for suffix in FORMATS]
    check_writable(paths)
    results, begun = finished_runs(runs)
    for run in begun:
        log.warning("%s: left out, since its evaluation is not finished", run)
    comparisons = compare(results, read_published())
    evaluations = list({result.folder: result for result in results}.values())
    texts = {
        "html": html(comparisons, evaluations),
        "md": marked_text(markdown(comparisons, evaluations), ".md"),
        "tex": marked_text(latex(comparisons), ".tex"),
        "csv": tidy_csv(comparisons),
    }
    for path, suffix in zip(paths, FORMATS, strict=True):
        write_text(path, texts[suffix])
    return paths


def html(comparisons: Sequence[Comparison], results: Sequence[Result]) -> str:
    """The page: tables that sort at a click, sheets of samples, circumstances."""
    return render(
        "metrics/report.html",
        comparisons=comparisons,
        samples=[sheets for result in results if (sheets := _samples(result))[1]],
        circumstances=[
            (f"{result.content['dataset']}, {result.folder}", circumstances(result))
            for result in results
        ],
        higher_is_better=lambda column: TITLES.get(column, (column, 4, None))[2],
        hint=lambda line: "; ".join(filter(None, (line.source, line.remark))),
        cells=_cells,
        column_title=column_title,
        all_notes=all_notes,
        size_text=size_text,
        source_text=source_text,
    )


def _cells(line: Line, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for column in columns:
        mark = line.marks.get(column, "")
        yield {
            "value": repr(line.values[column]) if column in line.values else None,
            "text": cell_text(line, column).removesuffix(mark),
            "mark": mark,
            "why": "; ".join(MARKS[each] for each in mark),
        }


def _samples(result: Result) -> tuple[str, list[tuple[str, str]]]:
    """A heading, and captions and addresses of the sheets: best, median and worst where there is a
    ranking, else the first samples."""
    ranking = result.content.get("ranking")
    if ranking is None:
        captions = {"samples": "The first samples, not chosen"}
    else:
        title, digits, _ = TITLES[ranking["metric"]]
        captions = {
            group: f"{group.capitalize()} by {title}: "
            + ", ".join(f"{name} ({value:.{digits}f})" for name, value in ranking[group].items())
            for group in GROUPS
        }
    sheets = [
        (caption, _sheet(path))
        for name, caption in captions.items()
        if (path := result.folder / f"{name}.png").is_file()
    ]
    return f"{result.content['dataset']}, {result.folder}", sheets


def _sheet(path: Path) -> str:
    buffer = io.BytesIO()
    open_picture(path).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return data_address(buffer.getvalue(), "jpeg")
