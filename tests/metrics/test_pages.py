"""`leffa report`: our results beside the published numbers, and what does not compare."""

import csv
import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from leffa.cli import main
from leffa.metrics.benchmarks import Comparison, compare
from leffa.metrics.finished import read_results
from leffa.metrics.pages import latex, markdown, provenance, tidy_csv, write_report
from leffa.metrics.protocols import PROTOCOLS
from leffa.metrics.published import Line, Table, read_published
from leffa.metrics.report import COLUMNS

from .finished import PAIRED, UNPAIRED, evaluation


@cache
def published() -> list[Table]:
    return read_published()


def comparison_of(*folders: Path) -> Comparison:
    results = [result for folder in folders for result in read_results([folder])]
    (comparison,) = compare(results, published())
    return comparison


def line(comparison: Comparison, method: str) -> Line:
    return next(line for line in comparison.lines if line.method == method)


OURS = "virtual_tryon_1024 (ours)"


def test_paired_and_unpaired_share_a_line(tmp_path: Path) -> None:
    paired = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED)
    unpaired = evaluation(tmp_path / "u", "vitonhd_unpaired", UNPAIRED)
    comparison = comparison_of(paired, unpaired)
    assert comparison.title == "VITON-HD"
    ours = line(comparison, OURS)
    assert ours.values == pytest.approx(
        {
            "ssim": 0.9,
            "psnr": 21.0,
            "lpips": 0.05,
            "fid_paired": 5.0,
            "kid_paired": 0.4,
            "fid_unpaired": 9.0,
            "kid_unpaired": 1.0,
        }
    )
    assert ours.marks == {}
    assert line(comparison, "Leffa").values["fid_paired"] == 4.54


def test_the_same_evaluation_of_two_checkpoints_gives_two_lines(tmp_path: Path) -> None:
    first = evaluation(tmp_path / "first", "vitonhd_paired", PAIRED)
    other = evaluation(tmp_path / "other", "vitonhd_paired", PAIRED, ckpt="other.ckpt")
    ours = [each.method for each in comparison_of(first, other).lines if each.ours]
    assert ours == [f"{OURS}, first", f"{OURS}, other"]


def test_a_kid_that_is_already_in_thousandths_stays(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "p", "vitonhd_paired", {"kid": 0.4})
    path = folder / "metrics.json"
    content = json.loads(path.read_text())
    content["scores"]["protocol"]["sets"] = {"kid": {"metric": "kid", "factor": 1000}}
    path.write_text(json.dumps(content))
    assert line(comparison_of(folder), OURS).values["kid_paired"] == pytest.approx(0.4)


def test_numbers_of_our_protocol_and_size_compare_and_others_are_marked(tmp_path: Path) -> None:
    comparison = comparison_of(evaluation(tmp_path / "p", "vitonhd_paired", PAIRED))
    assert line(comparison, "Leffa").marks == {}
    assert set(line(comparison, "GP-VTON").marks.values()) == {"†"}
    assert set(line(comparison, "FitDiT").marks.values()) == {"†‡"}


def test_protocol_and_size_must_agree_in_one_and_the_same_result(tmp_path: Path) -> None:
    ours = [
        evaluation(tmp_path / "a", "vitonhd_paired", PAIRED, protocol="leffa"),
        evaluation(tmp_path / "b", "vitonhd_paired", PAIRED, size=(512, 384), ckpt="other.ckpt"),
    ]
    assert set(line(comparison_of(*ours), "Leffa").marks.values()) == {"‡"}


def test_where_masks_come_from_and_what_is_pasted_back_is_told(tmp_path: Path) -> None:
    maker = {"_target_": "hydra.utils.get_method", "path": "leffa.preprocess.agnostic.hr_viton"}
    changes = {
        "transform": {"task": "tryon", "agnostic": maker},
        "sampler": {"steps": 20, "paste_back": True},
    }
    folder = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED, **changes)
    facts = provenance(read_results([folder])[0])
    assert facts["masks"] == "made by leffa.preprocess.agnostic.hr_viton"
    assert facts["outside the mask"] == "copied from the photograph"


def test_intervals_are_told(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED)
    content = json.loads((folder / "metrics.json").read_text())
    content["scores"]["intervals"] = {"ssim": [0.85, 0.95]}
    (folder / "metrics.json").write_text(json.dumps(content))
    assert provenance(read_results([folder])[0])["95 % intervals"] == "ssim 0.85 to 0.95"


def test_samples_that_a_metric_excludes_are_counted_and_named(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED)
    content = json.loads((folder / "metrics.json").read_text())
    for key in ("excluded", "left_out"):  # as it is, and as it was called before
        content["scores"] = {**content["scores"], key: {"masked_psnr": ["a", "b"]}}
        (folder / "metrics.json").write_text(json.dumps(content))
        (result,) = read_results([folder])
        facts = provenance(result)
        assert facts["excluded"].startswith("masked_psnr: 2 samples excluded")
        assert facts["excluded"].endswith(": a, b")
        assert facts["excluded"] in markdown(compare([result], published()), [result])
        del content["scores"][key]


def test_a_subset_marks_what_depends_on_the_number_of_images(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED, images=64, subset_of=2032)
    ours = line(comparison_of(folder), OURS)
    assert ours.marks == {"fid_paired": "§", "kid_paired": "§"}
    assert ours.remark == "64 of 2,032 images"


def test_a_short_data_set_is_a_subset_too(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED, images=64)
    assert line(comparison_of(folder), OURS).remark == "64 of 2,032 images"


def test_dress_code_has_a_table_per_category(tmp_path: Path) -> None:
    parts = {
        category: {"images": 1800, "values": {"ssim": ssim, "fid": 6.0}}
        for category, ssim in (("upper_body", 0.91), ("lower_body", 0.92), ("dresses", 0.93))
    }
    folder = evaluation(
        tmp_path / "d", "dresscode_all_paired", PAIRED, images=5400, categories=parts
    )
    comparisons = compare(read_results([folder]), published())
    assert [each.benchmark for each in comparisons] == [
        "dresscode_all",
        "dresscode_upper",
        "dresscode_lower",
        "dresscode_dresses",
    ]
    dresses = line(comparisons[-1], OURS)
    assert dresses.values == {"ssim": 0.93, "fid_paired": 6.0}
    assert dresses.marks == {}
    assert line(comparisons[-1], "DCI-VTON").values["fid_paired"] == 8.48


def test_a_row_that_a_paper_repeats_stands_once(tmp_path: Path) -> None:
    comparison = comparison_of(evaluation(tmp_path / "p", "vitonhd_paired", PAIRED))
    methods = [each.method for each in comparison.lines]
    assert "Leffa" in methods
    assert not {"Leffa in full", "Leffa with the loss", "Baseline"} & set(methods)


def test_a_data_set_without_published_numbers_has_ours_alone(tmp_path: Path) -> None:
    folder = evaluation(
        tmp_path / "s", "synthetic_tryon", {"ssim": 0.5}, metrics={"flow/epe_px": 3.25}
    )
    comparison = comparison_of(folder)
    (ours,) = comparison.lines
    assert ours.values == {"ssim": 0.5, "epe_px": 3.25}


def test_every_heading_says_which_way_is_better() -> None:
    """The page sorts by that, the best first."""
    for name in {name for each in PROTOCOLS.values() for name in (*each.paired, *each.sets)}:
        assert COLUMNS[name].higher == name.startswith(("ssim", "psnr", "masked_psnr"))
        assert COLUMNS[name].heading == COLUMNS[name].title + (
            " ↑" if COLUMNS[name].higher else " ↓"
        )


def test_csv_keeps_all_digits_and_markdown_rounds(tmp_path: Path) -> None:
    values = {"ssim": 0.8912345678}
    comparison = comparison_of(evaluation(tmp_path / "p", "vitonhd_paired", values))
    rows = [
        each
        for each in csv.DictReader(tidy_csv([comparison]).splitlines())
        if each["method"] == OURS
    ]
    assert [(each["metric"], each["value"], each["ours"]) for each in rows] == [
        ("ssim", "0.8912345678", "1")
    ]
    assert f"| **{OURS}** |" in markdown([comparison], [])
    assert "| 0.891 |" in markdown([comparison], [])


def test_latex_escapes_and_closes_what_it_opens(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "p", "vitonhd_paired", PAIRED, trained_as="100%_new & good")
    text = latex([comparison_of(folder)])
    assert r"\textbf{100\%\_new \& good (ours)}" in text
    assert r"$^\dagger$" in text
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    columns = text.split(r"\begin{tabular}{")[1].split("}")[0]
    rows = [row for row in text.splitlines() if row.endswith(r"\\")]
    assert {row.replace(r"\&", "").count("&") + 1 for row in rows} == {len(columns)}


class Page(HTMLParser):
    """What a page holds: its tags in balance, outside addresses, rows and text."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ours = 0
        self.images = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key in ("src", "href") and value:
                self.addresses.append(value[:40])
        self.ours += ("class", "ours") in attrs
        self.images += tag == "img"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    ranking = {"metric": "lpips", "best": {"a": 0.01}, "median": {"b": 0.05}, "worst": {"c": 0.2}}
    folder = evaluation(
        tmp_path / "p", "vitonhd_paired", PAIRED, ranking=ranking, trained_as="<b>bold</b>"
    )
    for group in ("best", "median", "worst"):
        Image.new("RGB", (60, 40)).save(folder / f"{group}.png")
    evaluation(tmp_path / "u", "vitonhd_unpaired", UNPAIRED, trained_as="<b>bold</b>")
    Image.new("RGB", (60, 40)).save(tmp_path / "u" / "samples.png")
    paths = write_report([tmp_path], tmp_path / "out")
    assert [path.name for path in paths] == ["report.html", "report.md", "report.tex", "report.csv"]
    text = paths[0].read_text()
    page = Page(text)
    assert page.open == []
    assert page.ours == 1
    assert page.images == 4
    assert all(each.startswith(("#", "data:image/jpeg;base64,")) for each in page.addresses)
    assert "Worst by LPIPS: c (0.200)" in text
    assert "<b>bold" not in text
    assert "no weights &lt;here&gt;" in text


def test_a_folder_of_several_evaluations_is_read_whole(tmp_path: Path) -> None:
    evaluation(tmp_path / "runs" / "a", "vitonhd_paired", PAIRED)
    evaluation(tmp_path / "runs" / "b" / "c", "vitonhd_unpaired", UNPAIRED)
    (tmp_path / "runs" / "metrics.json").write_text("{}")  # of something else, such as the demo
    assert len(read_results([tmp_path / "runs"])) == 2


def test_of_several_folders_those_without_a_finished_evaluation_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finished, begun = evaluation(tmp_path / "a", "vitonhd_paired", PAIRED), tmp_path / "b"
    begun.mkdir()
    write_report([begun, finished], tmp_path / "out")
    assert caplog.messages == [f"{begun}: left out, since its evaluation is not finished"]
    assert OURS in (tmp_path / "out" / "report.md").read_text()
    with pytest.raises(FileNotFoundError, match="no finished evaluation in"):
        write_report([begun, begun], tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_report([finished, tmp_path / "c"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_folder_without_an_evaluation_is_a_plain_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "error:" in (said := capsys.readouterr().err)
    assert "no finished evaluation" in said
    assert main(["report", str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text("{half")
    assert main(["report", str(tmp_path)]) == 1
    assert "metrics.json: is not JSON" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
