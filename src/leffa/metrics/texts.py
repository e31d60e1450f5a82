"""Comparisons as text: Markdown, LaTeX and CSV, and the wording that the page shares."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leffa.metrics.benchmarks import MARKS, TITLES, Comparison, Line, Result
from leffa.metrics.views import as_text

CSV_COLUMNS = (
    *("benchmark", "method", "ours", "metric", "value", "marks"),
    *("height", "width", "protocol", "source", "remark"),
)


def markdown(comparisons: Sequence[Comparison], results: Sequence[Result]) -> str:
    """Tables, their notes, and how each of our results came about."""
    parts = ["# Evaluation\n"]
    for comparison in comparisons:
        heads = [column_title(column, comparison) for column in comparison.columns]
        lines = [["Method", *heads, "Size", "Protocol", "Source"]]
        lines.append(["---", *("---:" for _ in heads), "---", "---", "---"])
        for line in comparison.lines:
            name = f"**{line.method}**" if line.ours else line.method
            cells = (cell_text(line, column) for column in comparison.columns)
            lines.append([name, *cells, size_text(line), line.protocol, source_text(line)])
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        notes = "".join(f"- {note}\n" for note in all_notes(comparison))
        parts.append(f"## {comparison.title}\n\n{table}\n{notes}")
    parts.append("## How our numbers came about\n")
    for result in results:
        facts = "".join(f"- {key}: {fact}\n" for key, fact in circumstances(result).items())
        parts.append(f"### {result.content['dataset']}, {result.folder}\n\n{facts}")
    return "\n".join(parts)


def all_notes(comparison: Comparison) -> list[str]:
    """The marks in use, then remarks on tables and rows."""
    used = "".join(mark for line in comparison.lines for mark in line.marks.values())
    notes = [f"{mark} {why}" for mark, why in MARKS.items() if mark in used]
    if comparison.apart:
        titles = ", ".join(TITLES.get(column, (column,))[0] for column in comparison.apart)
        notes.append(f"≠ no published value of this column compares with ours: {titles}")
    notes += comparison.notes
    notes += [
        f"{line.method}: {line.remark} ({line.source})" for line in comparison.lines if line.remark
    ]
    return notes


def latex(comparisons: Sequence[Comparison]) -> str:
    """Tables for a paper; they need the package booktabs."""
    return "\n".join(["% \\usepackage{booktabs}", *(_latex_table(each) for each in comparisons)])


def _latex_table(comparison: Comparison) -> str:
    heads = [_tex(column_title(column, comparison)) for column in comparison.columns]
    label = comparison.benchmark.replace("_", "-")
    lines = [
        r"\begin{table}",
        rf"\caption{{{_tex(comparison.title)}}}\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{l{'r' * len(heads)}l}}",
        r"\toprule",
        " & ".join(["Method", *heads, "Protocol"]) + r" \\",
        r"\midrule",
    ]
    before = True
    for line in comparison.lines:
        if before and not line.ours:
            lines.append(r"\midrule")
        before = line.ours
        name = rf"\textbf{{{_tex(line.method)}}}" if line.ours else _tex(line.method)
        cells = (_tex(cell_text(line, column)) for column in comparison.columns)
        lines.append(" & ".join([name, *cells, _tex(line.protocol)]) + r" \\")
    used = [
        mark for mark in MARKS if any(mark in m for x in comparison.lines for m in x.marks.values())
    ]
    notes = "; ".join(f"{_tex(mark)} {_tex(MARKS[mark])}" for mark in used)
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {notes}."] if notes else []
    return "\n".join([*lines, r"\end{table}", ""])


_TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "§": r"$^\S$",
    "≠": r"$\neq$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def tidy_csv(comparisons: Sequence[Comparison]) -> str:
    """A line per number, with all digits and what it depends on: for scripts and plots."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for comparison in comparisons:
        for line in comparison.lines:
            height, width = line.size or ("", "")
            for column in comparison.columns:
                if column in line.values:
                    number = [column, line.values[column], line.marks.get(column, "")]
                    facts = [height, width, line.protocol, line.source, line.remark]
                    writer.writerow(
                        [comparison.benchmark, line.method, int(line.ours), *number, *facts]
                    )
    return text.getvalue()


def circumstances(result: Result) -> dict[str, str]:
    """What a result's numbers depend on, as words."""
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
        facts["masks"] = f"made by {maker}" if maker else "of the data set"
        facts["outside the mask"] = "the photograph" if pasted else "as generated"
    if scores.get("intervals"):
        facts["95 % intervals"] = ", ".join(
            f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in scores["intervals"].items()
        )
    facts |= {f"missing: {metric}": why for metric, why in scores.get("missing", {}).items()}
    if scores.get("notes"):
        facts["to know"] = "; ".join(scores["notes"])
    return {key: str(fact) for key, fact in facts.items()}


def _words(facts: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {json.dumps(value) if isinstance(value, dict | list) else value}"
        for key, value in facts.items()
        if key != "_target_"
    )


def column_title(column: str, comparison: Comparison) -> str:
    """A heading: which way is better, and whether no published number compares."""
    title, _, higher = TITLES.get(column, (column, 4, None))
    arrow = "" if higher is None else (" ↑" if higher else " ↓")
    return f"{title}{arrow}{' ≠' if column in comparison.apart else ''}"


def cell_text(line: Line, column: str) -> str:
    """A rounded value with its marks."""
    if column not in line.values:
        return "-"
    digits = TITLES.get(column, (column, 4, None))[1]
    return f"{line.values[column]:.{digits}f}{line.marks.get(column, '')}"


def source_text(line: Line) -> str:
    """The source without its address; ours is the folder's name."""
    return Path(line.source).name if line.ours else line.source.partition(",")[0]


def size_text(line: Line) -> str:
    """Height x width; a question mark where a source does not state it."""
    return "?" if line.size is None else as_text(line.size)
