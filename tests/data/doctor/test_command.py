"""The quick check before a training, and the command."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damages import (
    MASK,
    B,
    edit,
    fill,
)
from PIL import Image

from leffa.cli import main
from leffa.data.doctor.examine import examine
from leffa.data.doctor.quick import quick_check
from leffa.data.published import VitonHD


@pytest.mark.slow
def test_processes_find_the_same(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    fill(MASK, 0)(root)
    alone, together = (examine(root, workers=workers) for workers in (1, 2))
    assert alone.problems == together.problems
    assert alone.files == together.files


def test_the_quick_check_passes_sound_records_and_names_damage(
    broken: Callable[[str], Path],
) -> None:
    root = broken("viton_hd")
    records = VitonHD(root, "test")
    assert quick_check(records, densepose="colour") == []
    edit(root / MASK, lambda pixels: np.full_like(pixels, 128))
    Image.open(root / f"test/image/{B}.jpg").resize((30, 40)).save(root / f"test/image/{B}.jpg")
    (root / f"test/cloth/{B}.jpg").unlink()
    found = {entry.kind: entry.line for entry in quick_check(records, densepose="colour")}
    assert set(found) >= {"mask-grey", "size-mismatch", "file-missing"}
    assert str(root / "test/cloth") in found["file-missing"]
    assert "use the mask files" in found["mask-grey"]


def test_the_quick_check_warns_of_flat_pictures(
    broken: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    records = VitonHD(broken("viton_hd"), "test")
    edit(records[0].source, lambda p: np.where(np.indices(p.shape)[0] // 8 % 2, 8, 240))
    assert quick_check(records, densepose="colour") == []
    assert "[few-colours]" in caplog.text


def test_the_quick_check_reads_what_phones_write_and_warns_of_a_wrong_suffix(
    broken: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = broken("viton_hd")
    records = VitonHD(root, "test")
    person, garment = records[0].source, records[0].reference
    with Image.open(person) as image:
        image.save(person, format="MPO", save_all=True, append_images=[image.copy()])
    with Image.open(person) as image:
        assert image.format == "MPO"
    assert quick_check(records, densepose="colour") == []
    assert not caplog.messages
    assert examine(root).clean
    Image.open(garment).save(garment, format="PNG")
    assert quick_check(records, densepose="colour") == []
    assert "[format-differs]" in caplog.text
    assert garment.name in caplog.text


def test_a_name_that_is_no_text_does_not_lose_the_report(
    broken: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken("viton_hd")
    (root / "test/image" / os.fsdecode(b"50009_\xff.jpg")).write_bytes(b"")
    page = tmp_path / "sheet.html"
    assert main(["doctor", "auto", str(root), "--workers", "1", "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "50009_\\udcff.jpg" in printed
    assert "50009_\\udcff.jpg" in page.read_text()
    printed.encode()


def test_the_command_writes_json_and_a_sheet_and_says_the_rate(
    broken: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = broken("viton_hd")
    json_file, page = tmp_path / "out/found.json", tmp_path / "out/sheet.html"
    command = ["doctor", "auto", str(root), "--workers", "1"]
    assert main([*command, "--json", str(json_file), "--html", str(page)]) == 0
    assert "files/s" in capsys.readouterr().out
    fill(MASK, 0)(root)
    assert main([*command, "--json", str(json_file), "--html", str(page)]) == 1
    content = json.loads(json_file.read_text())
    assert not content["clean"]
    assert [entry["kind"] for entry in content["problems"]] == ["mask-empty"]
    html = page.read_text()
    assert html.count("<tr>") == 1 + 5
    assert html.count("data:image/jpeg;base64,") == 5 * 6
    assert "mask-empty" in html
    assert 'src="http' not in html
    assert {path.name for path in page.parent.iterdir()} == {"found.json", "sheet.html"}


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("auto", "does not hold a dataset"), ("viton_hd", "does not hold the dataset viton_hd")],
)
def test_a_wrong_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str, message: str
) -> None:
    assert main(["doctor", dataset, str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert main(["doctor", dataset, str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
