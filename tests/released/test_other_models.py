"""CatVTON and IDM-VTON by name in `leffa tryon`, against a hub that serves tiny ones of them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.released.bring import store
from leffa.released.catalogue import named

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub
from pairs_table import LEFFA, SIZE, make, settings


@pytest.fixture(scope="session")
def catvton(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """CatVTON's repositories."""
    return published.publish_catvton(tmp_path_factory.mktemp("catvton"))


def test_catvton_is_built_of_its_published_parts_and_sampled_as_published(
    serve: Callable[..., FakeHub],
    catvton: dict[str, dict[str, bytes]],
    pairs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub = serve(catvton)
    assert make("tryon", pairs, "--weights", "catvton") == 0
    told = capsys.readouterr().out
    assert told.index("sampling will take about") < told.index("CC BY-NC-SA 4.0: not for commerc")
    assert told.index("catvton: fetched; all hashes match") < told.index("picture0.png")
    asked = {line.split()[1].split("/resolve/")[0][1:] for line in hub.asked if "resolve" in line}
    assert asked == set(catvton)
    with Image.open(pairs.parent / "out" / "picture0.png") as picture:
        assert picture.size == SIZE
        made = np.asarray(picture)
    used = settings(pairs)
    assert (used["inputs"]["height"], used["inputs"]["width"]) == (512, 384)
    assert used["weights"]["path"].endswith("vitonhd-16k-512/attention/model.safetensors")
    sampler = used["sampler"]
    assert (sampler["scheduler"], sampler["eta"], sampler["steps"]) == ("ddim", 1.0, 2)
    hub.asked.clear()
    assert make("tryon", pairs, "--weights", "catvton") == 0
    assert hub.asked == []

    parts = named("catvton")  # the same as `leffa convert` and its checkpoint make it
    folders = store(parts).where(parts)
    changes = [f"{key}='{folders[repository]}'" for key, repository in parts.bases.items()]
    file = ["--weights", used["weights"]["path"], "--out", str(pairs.parent / "catvton.ckpt")]
    assert main(["convert", *file, "--experiment", "catvton_vitonhd", *changes]) == 0
    again = ["--weights", file[-1], "--out", str(pairs.parent / "again")]
    monkeypatch.setattr("leffa.estimate.count.count_sampling", lambda *_: (1, 1))  # takes seconds
    assert make("tryon", pairs, *again) == 0
    with Image.open(pairs.parent / "again" / "picture0.png") as picture:
        assert np.array_equal(np.asarray(picture), made)


def test_a_package_that_published_weights_need_is_told_before_anything_is_fetched(
    hub: FakeHub,
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("leffa.photo_to_picture.request.find_spec", lambda _: None)
    assert make("tryon", pairs, "--weights", "idm_vton") == 1
    assert "needs the package transformers: pip install" in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["catvton", "catvton_dc"])
def test_from_nothing_to_a_picture_of_catvton_in_one_command(
    weights: str,
    everything: dict[str, bytes],
    catvton: dict[str, dict[str, bytes]],
    tmp_path: Path,
) -> None:
    for name in ("anna", "coat"):
        published.photo(size=SIZE).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / "anna.png"), str(tmp_path / "coat.png")]
    usual = ["--out", str(tmp_path / "out"), "--steps", "2", "--device", "cpu"]
    command = [sys.executable, "-m", "leffa", "tryon", *files, "--weights", weights, *usual]
    hub = FakeHub({LEFFA: everything, **catvton})
    with hub.serving() as address:
        settings = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
        subprocess.run(command, env=settings, check=True)
    assert "virtual_tryon.pth" not in hub.downloads()  # DensePose is for catvton_dc's masks alone
    assert ("model_final_162be9.pkl" in hub.downloads()) == (weights == "catvton_dc")
    with Image.open(tmp_path / "out" / "anna.png") as picture:
        assert picture.size == SIZE
    assert list((tmp_path / "out" / "maps").rglob("masks/anna.png"))
