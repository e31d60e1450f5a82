"""Results as tables."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Literal

# Column titles say which way is better.
TITLES = {
    "ssim": "SSIM ↑",
    "ssim_256": "SSIM 256 ↑",
    "ssim_full": "SSIM (whole map) ↑",
    "ssim_cropped": "SSIM (cropped) ↑",
    "psnr": "PSNR (dB) ↑",
    "masked_psnr": "masked PSNR (dB) ↑",
    "mse": "MSE ↓",
    "lpips": "LPIPS ↓",
    "fid": "FID ↓",
    "fid_pytorch": "FID (pytorch-fid) ↓",
    "kid": "KID ↓",
    "kid_std": "KID std",
    "epe_px": "EPE (px) ↓",
    "pck_3": "PCK 3 % ↑",
    "spread": "flow spread",
}


def results_table(
    rows: Mapping[str, Mapping[str, float]],
    columns: Sequence[str],
    style: Literal["markdown", "csv"] = "markdown",
    decimals: int = 4,
) -> str:
    """One row per result, one column per metric; what a row lacks stays a dash, or empty in CSV.

    Args:
        rows: the name of a result -> metric -> value.
        columns: metrics in order; CSV prints their names and all digits.
        decimals: digits after the point in Markdown.
    """
    if style == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["name", *columns])
        writer.writerows(
            [name, *(row.get(key, "") for key in columns)] for name, row in rows.items()
        )
        return text.getvalue()
    lines = [["", *(TITLES.get(key, key) for key in columns)], ["---", *("---:" for _ in columns)]]
    for name, row in rows.items():
        cells = (f"{row[key]:.{decimals}f}" if key in row else "-" for key in columns)
        lines.append([name, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
