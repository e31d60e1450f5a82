"""`leffa report`: comparisons as one self-contained HTML page, and as text files."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leffa.io.atomic import write_text
from leffa.io.outputs import check_writable, marked_text
from leffa.io.pages import data_address, render
from leffa.io.pictures import open_picture
from leffa.metrics.benchmarks import Comparison, compare
from leffa.metrics.finished import Result, read_results
from leffa.metrics.published import read_published
from leffa.metrics.report import column
from leffa.metrics.result import excluded_remark
from leffa.metrics.views import as_text

GROUPS = ("best", "median", "worst")
FORMATS = ("html", "md", "tex", "csv")
JPEG_QUALITY = 88  # of the sheets inside the page
CSV_COLUMNS = (
    *("benchmark", "method", "ours", "metric", "value", "marks"),
    *("height", "width", "protocol", "source", "remark"),
)
TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "§": r"$^\S$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
    }
)


def write_report(runs: Sequence[Path], out: Path) -> list[Path]:
    """Read finished evaluations in or below `runs`; write report.html, .md, .tex, .csv to `out`."""
    paths = [out / f"report.{suffix}" for suffix in FORMATS]
    check_writable(paths)
    results = read_results(runs)
    comparisons = compare(results, read_published())
    evaluations = list({result.folder: result for result in results}.values())
    texts = (
        html(comparisons, evaluations),
        marked_text(markdown(comparisons, evaluations), ".md"),
        marked_text(latex(comparisons), ".tex"),
        tidy_csv(comparisons),
    )
    for path, text in zip(paths, texts, strict=True):
        write_text(path, text)
    return paths


def html(comparisons: Sequence[Comparison], results: Sequence[Result]) -> str:
    """The page: tables that sort at a click, sheets of samples, provenance."""
    return render(
        "metrics/report.html",
        comparisons=comparisons,
        samples=[(_title(result), sheets) for result in results if (sheets := _samples(result))],
        provenance=[(_title(result), provenance(result)) for result in results],
        column=column,
    )


def markdown(comparisons: Sequence[Comparison], results: Sequence[Result]) -> str:
    """Tables, their notes, and the provenance of each of our results."""
    facts = [(_title(result), provenance(result)) for result in results]
    return render("metrics/report.md", comparisons=comparisons, provenance=facts, column=column)


def latex(comparisons: Sequence[Comparison]) -> str:
    """Tables for a paper; they need the package booktabs."""
    tables = {"comparisons": comparisons, "column": column}
    return render("metrics/report.tex", **tables, tex=lambda text: text.translate(TEX))


def tidy_csv(comparisons: Sequence[Comparison]) -> str:
    """A line per number, with all digits and what it depends on: for scripts and plots."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for comparison in comparisons:
        for line in comparison.lines:
            what = [comparison.benchmark, line.method, int(line.ours)]
            facts = [*(line.size or ("", "")), line.protocol, line.source, line.remark]
            for name in comparison.columns:
                if name in line.values:
                    number = [name, line.values[name], line.marks.get(name, "")]
                    writer.writerow([*what, *number, *facts])
    return text.getvalue()


def provenance(result: Result) -> dict[str, str]:
    """Everything a result's numbers depend on, in words."""
    content, scores = result.content, result.content["scores"]
    protocol = scores["protocol"]
    subset = content.get("subset_of")
    facts = {
        "protocol": f"{protocol['name']} v{protocol['version']}: {protocol['description']}",
        "images": f"{content['samples']:,}" + (f" of {subset:,}" if subset else ""),
        "real set": content.get("real") or f"{scores['images'].get('real', '-')} true images",
        "size": as_text(result.size),
        "checkpoint": content.get("ckpt", "-"),
        "trained as": content.get("trained_as", "-"),
        "sampler": _words(content.get("sampler", {})),
        "precision": content.get("precision", "-"),
        "file formats": _words(scores.get("formats", {})),
        "networks": _words(scores.get("weights", {})),
        "versions": _words(scores.get("versions", {})),
    }
    if content.get("transform", {}).get("task") == "tryon":
        recipe = content["transform"].get("agnostic")
        pasted = content.get("sampler", {}).get("paste_back")
        maker = recipe and (recipe.get("path") or recipe["_target_"])
        facts["masks"] = f"made by {maker}" if maker else "from the dataset"
        facts["outside the mask"] = "copied from the photograph" if pasted else "as generated"
    if coverage := scores.get("coverage"):
        counted = (f"{name} {count:,}" for name, count in coverage.items())
        facts["images judged"] = ", ".join(counted)
    if scores.get("intervals"):
        facts["95 % intervals"] = ", ".join(
            f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in scores["intervals"].items()
        )
    excluded = scores.get("excluded", scores.get("left_out", {}))  # its earlier name
    if excluded:
        facts["excluded"] = "; ".join(excluded_remark(*each) for each in excluded.items())
    facts |= {f"missing: {metric}": why for metric, why in scores.get("missing", {}).items()}
    if scores.get("notes"):
        facts["notes"] = "; ".join(scores["notes"])
    return {key: str(fact) for key, fact in facts.items()}


def _words(facts: dict[str, Any]) -> str:
    """Settings as "key value, key value"; what is nested stands in brackets."""

    def shown(value: Any) -> str:
        if isinstance(value, dict):
            return f"({_words(value)})"
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    return ", ".join(
        f"{key} {shown(value)}"
        for key, value in facts.items()
        if key != "_target_" and value is not None
    )


def _title(result: Result) -> str:
    return f"{result.content['dataset']}, {result.folder}"


def _samples(result: Result) -> list[tuple[str, str]]:
    """Captions and addresses of the sheets: those of the ranking, else the first samples."""
    ranking = result.content.get("ranking")
    captions = {"samples": "The first samples, not cherry-picked"}
    if ranking is not None:
        title, digits, _ = column(ranking["metric"])
        captions = {
            group: f"{group.capitalize()} by {title}: "
            + ", ".join(f"{name} ({value:.{digits}f})" for name, value in ranking[group].items())
            for group in GROUPS
        }
    return [
        (caption, _sheet(path))
        for name, caption in captions.items()
        if (path := result.folder / f"{name}.png").is_file()
    ]


def _sheet(path: Path) -> str:
    buffer = io.BytesIO()
    open_picture(path).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return data_address(buffer.getvalue(), "jpeg")
