"""The command line: quick help, plain errors, and the small commands end to end."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from leffa.cli import COMMANDS, function, main
from leffa.commands import options
from leffa.data.densepose import ENCODINGS
from leffa.inference.generate import PRECISIONS
from leffa.models.export import OFFICIAL
from leffa.models.placement import DTYPES
from leffa.models.schedulers import SCHEDULERS
from leffa.performance import Precision

SCORE = ["score", ".", ".", "--protocol", "leffa"]


def folder_of_images(folder: Path, brightness: int) -> Path:
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 128, (3, 64, 48, 3))
    for number, pixels in enumerate(noise):
        image = Image.fromarray((pixels + brightness).astype(np.uint8))
        image.save(folder / f"{number}.png")
    return folder


def test_help_names_every_command_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert {"demo", "draw", "score"} <= COMMANDS.keys()
    for command in COMMANDS:
        sentence = (function(command).__doc__ or "").split("\n")[0]
        assert re.search(rf"^ +{command} +{re.escape(sentence)}$", printed, re.MULTILINE)
        assert sentence.endswith(".")


def test_the_help_of_a_command_has_each_option_with_its_purpose_and_default(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"usage: leffa {command} [-h] ")
        assert "(default: None)" not in printed
        for option in re.findall(r"^[│ ]{,2}(-.*\n(?:[│ ] {5,}\S.*\n)*)", printed, re.MULTILINE):
            name, *purpose = re.split(r"\s{2,}", option.strip(" │\n"), maxsplit=1)
            told = name.startswith("---") or (purpose and not purpose[0].startswith("("))
            assert told, (command, name)
    with pytest.raises(SystemExit):
        main(["draw", "--help"])
    assert re.search(r"--workers INT +number of processes \(default: 1\)", capsys.readouterr().out)


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import contextlib, sys\n"
        "from leffa.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['demo', '--help'])\n"
        "sys.exit(bool({'torch', 'numpy', 'rich', 'hydra'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_missing_photo_is_told_before_the_heavy_libraries_are_loaded(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("anna.jpg", "coat.jpg")]
    words = ["tryon", *files, "--out", str(tmp_path / "out")]
    code = (
        "import sys\n"
        "from leffa.cli import main\n"
        f"code = main({words})\n"
        "sys.exit(code if not {'torch', 'numpy'} & set(sys.modules) else 3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == f"error: {files[0]}: no such file or folder\n"
    assert done.returncode == 1


@pytest.mark.posix
def test_output_that_nobody_reads_any_more_ends_a_command_without_a_trace() -> None:
    for words in (["--help"], ["tryon", "--help"], ["weights", "list"]):
        reader, writer = os.pipe()
        os.close(reader)
        program = [sys.executable, "-m", "leffa", *words]
        done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, "")


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "leffa"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: leffa" in done.stderr


def test_draws_a_data_set_and_completes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--height", "64", "--width", "48"]
    root = tmp_path / "synthetic"
    assert main(["draw", "viton_hd", str(root), "--train", "1", "--test", "2", *size]) == 0
    assert len(list((root / "test" / "image").iterdir())) == 2
    assert str(root) in capsys.readouterr().out
    assert main(["draw", "viton_hd", str(root), "--train", "2", "--test", "2", *size]) == 0
    assert len(list((root / "train" / "image").iterdir())) == 2


def test_scores_two_folders_as_markdown_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, true = (
        folder_of_images(tmp_path / name, shade) for name, shade in (("p", 0), ("t", 100))
    )
    file = tmp_path / "scores.json"
    asked = ["--protocol", "leffa", "--metrics", "ssim", "--metrics", "psnr"]
    assert main(["score", str(pred), str(true), *asked, "--json", str(file)]) == 0
    assert "SSIM ↑" in capsys.readouterr().out
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    assert main(["score", str(pred), str(true), *asked, "--json", str(file)]) == 0  # replaced
    sys.stdout.flush()
    assert b"SSIM ?" in written.getvalue()
    assert json.loads(file.read_text())["values"]["psnr"] == pytest.approx(8.13, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "nowhere", "nowhere", "--protocol", "leffa"], "nowhere"),
        (["score", ".", ".", "--protocol", "best"], "no protocol 'best'; choose from: catvton, "),
        ([*SCORE, "--device", "cuda:99"], "device=cuda:99: this machine has "),
        ([*SCORE, "--batch-size", "0"], "batch_size=0: give a number from 1"),
        (["draw", "viton_hd", "new", "--train", "1", "--test", "1"], "test=1"),
        (["demo", "--steps", "0"], "--steps must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


@pytest.mark.parametrize(
    "command",
    [
        [*SCORE, "--json", "mine.txt"],
        ["doctor", "folder", ".", "--json", "mine.txt"],
        ["doctor", "folder", ".", "--html", "mine.txt"],
    ],
)
def test_a_file_of_the_users_is_refused_before_the_work(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("mine")
    assert main(command) == 1
    told = "mine.txt: exists and was not written by this version of leffa; rename it, or give "
    assert capsys.readouterr().err == f"error: {told}another {command[-2]}\n"
    assert Path("mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("size", "remedy"), [("16", "give a smaller --batch-size"), ("1", "use --device cpu")]
)
def test_a_full_gpu_is_one_line_and_another_fault_of_the_program_is_not(
    size: str, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("a fault")]

    def score_folders(*_: object, **__: object) -> None:
        raise faults.pop(0)

    monkeypatch.setattr("leffa.metrics.score.score_folders", score_folders)
    assert main([*SCORE, "--batch-size", size]) == 1
    expected = f"error: the GPU has too little free memory: {remedy}, or stop other jobs on it\n"
    assert capsys.readouterr().err == expected
    with pytest.raises(RuntimeError, match="a fault"):
        main([*SCORE, "--batch-size", size])


def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, meant in (
        (["predict", "--persn", "a.jpg", "--out", "y"], "--person PATH"),
        (["score", ".", ".", "--protocl", "leffa"], "--protocol NAME"),  # a required one
        (["weights", "lst"], "'list'"),
        (["prdict"], "did you mean predict?"),
        ([], "usage: leffa "),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 2
        assert meant in capsys.readouterr().err


def test_choices_in_help_are_those_that_are_read() -> None:
    for choices, known in (
        (options.Encoding, (*ENCODINGS, "skeleton", "none")),
        (Precision, (*PRECISIONS, *DTYPES)),
        (options.Preset, OFFICIAL),
        (options.Scheduler, SCHEDULERS),
    ):
        assert set(get_args(choices)) == set(known)


def test_shows_the_trace_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="--steps"):
        main(["demo", "--steps", "0"])
