"""`leffa report`: comparisons as one HTML page that needs nothing but itself, and as text files."""

import io
import logging
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from PIL import Image

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
from leffa.page import data_address, description_list, fill

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
        ValueError: a result file is damaged.
    """
    results, begun = finished_runs(runs)
    for run in begun:
        log.warning("%s: left out, since its evaluation is not finished", run)
    comparisons = compare(results, read_published())
    evaluations = list({result.folder: result for result in results}.values())
    texts = {
        "html": html(comparisons, evaluations),
        "md": markdown(comparisons, evaluations),
        "tex": latex(comparisons),
        "csv": tidy_csv(comparisons),
    }
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / f"report.{suffix}" for suffix in FORMATS]
    for path, suffix in zip(paths, FORMATS, strict=True):
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(texts[suffix], encoding="utf-8")
        unfinished.replace(path)
    return paths


def html(comparisons: Sequence[Comparison], results: Sequence[Result]) -> str:
    """The page: tables that sort at a click, sheets of samples, circumstances."""
    return fill(
        "leffa.metrics",
        contents="".join(
            f'<li><a href="#{escape(each.benchmark)}">{escape(each.title)}</a></li>'
            for each in comparisons
        ),
        tables="".join(_html_comparison(each) for each in comparisons),
        samples="".join(_html_samples(result) for result in results) or "<p>None.</p>",
        circumstances="".join(_html_circumstances(result) for result in results),
    )


def _html_comparison(comparison: Comparison) -> str:
    heads = "".join(_html_heading(column, comparison) for column in comparison.columns)
    rows = "".join(_html_row(line, comparison.columns) for line in comparison.lines)
    notes = "".join(f"<li>{escape(note)}</li>" for note in all_notes(comparison))
    text_heads = ("Size", "Protocol", "Source")
    others = "".join(
        f'<th aria-sort="none" class="text"><button type="button">{head}</button></th>'
        for head in text_heads
    )
    return (
        f'<section><h2 id="{escape(comparison.benchmark)}">{escape(comparison.title)}</h2>'
        '<div class="wide"><table class="sortable"><thead><tr>'
        f'<th aria-sort="none" class="text"><button type="button">Method</button></th>{heads}'
        f"{others}</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<details class="note"><summary>Notes on this table</summary><ul>{notes}</ul></details>'
        "</section>"
    )


def _html_heading(column: str, comparison: Comparison) -> str:
    higher_is_better = TITLES.get(column, (column, 4, None))[2]
    first = ' data-first="descending"' if higher_is_better else ""
    title = escape(column_title(column, comparison))
    return f'<th aria-sort="none"{first}><button type="button">{title}</button></th>'


def _html_row(line: Line, columns: Iterable[str]) -> str:
    cells = []
    for column in columns:
        if column not in line.values:
            cells.append('<td>-<span class="mark"></span></td>')
            continue
        mark = line.marks.get(column, "")
        why = "; ".join(MARKS[each] for each in mark)
        apart = f' class="apart" title="{escape(why)}"' if mark else ""
        value, text = line.values[column], escape(cell_text(line, column).removesuffix(mark))
        cells.append(
            f'<td data-value="{value!r}"{apart}>{text}<span class="mark">{mark}</span></td>'
        )
    facts = (size_text(line), line.protocol, source_text(line))
    others = "".join(f'<td class="text">{escape(fact)}</td>' for fact in facts)
    hint = escape("; ".join(filter(None, (line.source, line.remark))))
    return (
        f'<tr{" class=ours" if line.ours else ""}><th scope="row" title="{hint}">'
        f"{escape(line.method)}</th>{''.join(cells)}{others}</tr>"
    )


def _html_samples(result: Result) -> str:
    """Best, median and worst where there is a ranking, else the first samples."""
    heading = f"<h3>{escape(result.content['dataset'])}, {escape(str(result.folder))}</h3>"
    ranking = result.content.get("ranking")
    if ranking is None:
        sheet = _html_sheet(result.folder / "samples.png", "The first samples, not chosen")
        return heading + sheet if sheet else ""
    metric = TITLES[ranking["metric"]][0]
    digits = TITLES[ranking["metric"]][1]
    sheets = []
    for group in GROUPS:
        listed = ", ".join(f"{n} ({v:.{digits}f})" for n, v in ranking[group].items())
        sheets.append(
            _html_sheet(
                result.folder / f"{group}.png", f"{group.capitalize()} by {metric}: {listed}"
            )
        )
    return heading + "".join(sheets)


def _html_sheet(path: Path, caption: str) -> str:
    if not path.is_file():
        return ""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    uri = data_address(buffer.getvalue(), "jpeg")
    text = escape(caption)
    return (
        f'<figure><figcaption>{text}</figcaption><div class="wide">'
        f'<img class="sheet" src="{uri}" alt="{text}"></div></figure>'
    )


def _html_circumstances(result: Result) -> str:
    facts = description_list(circumstances(result))
    title = f"{result.content['dataset']}, {result.folder}"
    return f"<details><summary>{escape(title)}</summary>{facts}</details>"
