"""Tables of results."""

from leffa.metrics.report import results_table

ROWS = {"with the loss": {"ssim": 0.91234567, "epe_px": 1.2}, "without": {"ssim": 0.9}}


def test_a_markdown_table_rounds_and_marks_what_is_missing() -> None:
    assert results_table(ROWS, ["ssim", "epe_px"]) == (
        "|  | SSIM ↑ | EPE (px) ↓ |\n"
        "| --- | ---: | ---: |\n"
        "| with the loss | 0.9123 | 1.2000 |\n"
        "| without | 0.9000 | - |\n"
    )
