"""`leffa explain`: from weights and a sample to a page, pictures and numbers."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from leffa.cli import main
from leffa.data.batch import Batch
from leffa.explain import ExplainSettings, Model, explain
from leffa.explain.attention import layer_shapes
from leffa.explain.layers import chosen_layers
from leffa.inference import load_model
from leffa.synthetic.write import write_viton_hd

Files = dict[str, Path]
Run = Callable[..., int]


@pytest.fixture
def run(synthetic: Path) -> Run:
    """`leffa explain` of a synthetic sample at two timesteps; returns the exit code."""
    small = ["dataset.transform.height=64", "dataset.transform.width=48"]
    places = ["dataset.prepare=null", f"dataset.root={synthetic}", *small]

    def call(out: Path, *arguments: str) -> int:
        chosen = [part for place in places for part in ("--set", place)]
        usual = ["--out", str(out), "--device", "cpu", "--timesteps", "600,200"]
        return main(["explain", "--dataset", "synthetic_tryon", *chosen, *usual, *arguments])

    return call


@pytest.fixture
def pair(synthetic: Path) -> Files:
    """The files of one try-on sample, by option."""
    test = synthetic / "test"
    stem = min(path.stem for path in (test / "image").iterdir())
    return {
        "person": test / "image" / f"{stem}.jpg",
        "garment": sorted((test / "cloth").iterdir())[0],
        "mask": test / "agnostic-mask" / f"{stem}_mask.png",
        "densepose": test / "image-iuv" / f"{stem}.png",
    }


def options(files: Files) -> list[str]:
    return [part for name, path in files.items() for part in (f"--{name}", str(path))]


def made(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_models_side_by_side_on_a_sample_of_a_data_set(
    run: Run, weights: list[Path], tmp_path: Path
) -> None:
    before, after = map(str, weights)
    points = ("--point", "0.5,0.5", "--point", "0.4,0.45")
    assert run(tmp_path, "--ckpt", before, "--compare", after, "--sample", "1", *points) == 0
    (page,) = tmp_path.glob("*.html")
    name, ends = page.stem, ("", "_layers", "_heads", "_timesteps")
    pictures = [f"{name}{second}{end}.png" for second in ("", "_p2") for end in ends]
    assert made(tmp_path) == sorted([f"{name}.html", f"{name}.json", *pictures])
    assert page.stat().st_size < 10_000_000
    for picture in pictures:
        with Image.open(tmp_path / picture) as image:
            assert np.asarray(image.convert("RGB")).std() > 20
    numbers = json.loads((tmp_path / f"{name}.json").read_text())
    assert list(numbers["models"]) == ["before", "after"]
    one, other = (numbers["models"][title]["200"]["all"] for title in ("before", "after"))
    assert one["epe_px"] != other["epe_px"]
    assert one["points"][1]["point"] == pytest.approx([-0.2, -0.1])
    assert one["points"][0]["true_match"] == other["points"][0]["true_match"]
    assert numbers["temperature"] == 0.5  # that of the weights


def test_given_pictures_are_painted_first(weights: list[Path], pair: Files, tmp_path: Path) -> None:
    usual = ["explain", "--ckpt", str(weights[0]), "--out", str(tmp_path), "--timesteps", "100"]
    assert main([*usual, *options(pair), "--device", "cpu", "--temperature", "1"]) == 0
    name = pair["person"].stem
    numbers = json.loads((tmp_path / f"{name}.json").read_text())
    assert numbers["noised"] == "generated"
    assert numbers["temperature"] == 1.0
    assert numbers["models"]["before"]["100"]["all"]["epe_px"] is None  # nobody knows the truth
    data = (tmp_path / f"{name}.html").read_text()
    assert '"truth":null' in data


def test_a_layer_and_a_head_are_shown_first(run: Run, weights: list[Path], tmp_path: Path) -> None:
    wanted = ("--layer", "up 1.1", "--head", "2", "--layers", "mid 0,up 1.1")
    assert run(tmp_path, "--ckpt", str(weights[0]), *wanted) == 0
    (page,) = tmp_path.glob("*.html")
    assert '"view":{"t":1,"layer":1,"head":1}' in page.read_text()


def test_the_only_layer_that_the_loss_trains_is_shown_first(
    weights: list[Path], batch: Batch
) -> None:
    """Even where the page has no place for all layers and would leave this one out."""
    loaded = load_model(weights[0])
    found = layer_shapes(loaded.model, batch)
    left_out = next(name for name in found if name not in chosen_layers(found, ()))
    for layers, asked, first in (
        ((left_out,), None, left_out),
        ((left_out,), "all", None),
        (("up_blocks",), None, None),
        (None, None, None),
        (None, left_out, left_out),
        (None, left_out.removesuffix(".transformer_blocks.0.attn1"), left_out),
    ):
        trained = replace(loaded, settings=replace(loaded.settings, flow_layers=layers))
        model = Model("a", weights[0], lambda trained=trained: trained)
        seen = explain([model], batch, ExplainSettings(timesteps=(200,), layer=asked))
        assert seen.view.layer == first
        assert (left_out in seen.layers) == left_out.startswith((*(layers or ()), first or "none"))
    everything = ExplainSettings(timesteps=(200,), layers=["all"])
    assert explain([model], batch, everything).layers == list(found)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--layer", "up 9"], "layer 'up 9': these weights have down 0.0, down 1.0"),
        (["--layer", "mid 0", "--head", "4"], "head 4: layer mid 0 has 3, counted from 1"),
        (["--head", "1"], "a head belongs to a layer"),
        (["--layer", "up_blocks"], "layer 'up_blocks': names 6 layers; give one, or all"),
        (["--layer", "mid 0", "--layers", "up 0.0"], "layer 'mid 0': is not among the layers of"),
        (["--point", "0.5"], "--point 0.5: give X,Y"),
        (["--point", "3,0"], "point 3,0: give x and y from 0 to 1"),
        (["--timesteps", "a"], "--timesteps a: give numbers"),
        (["--timesteps", "1000"], "timestep=1000: give 0 to 999"),
        (["--temperature", "0"], "temperature must be positive"),
        (["--sample", "nobody"], "--sample nobody: the dataset synthetic_tryon has 2 samples"),
        (["--person", "x.jpg"], "--dataset and --person exclude each other"),
        (["--compare", "before"], "--compare before: are the same weights as those of --ckpt"),
        (["--encoding", "iuv"], "--encoding iuv: is for images; a dataset says itself how"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run,
    weights: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(weights[0].parent)
    assert run(tmp_path / "out", "--ckpt", weights[0].name, *arguments) == 1
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert line in told[0]
    assert not (tmp_path / "out").exists()


def test_an_inverted_mask_of_a_data_set_is_refused(
    run: Run,
    weights: list[Path],
    synthetic: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = shutil.copytree(synthetic, tmp_path / "synthetic")
    for path in (root / "test" / "agnostic-mask").iterdir():
        ImageOps.invert(Image.open(path).convert("L")).save(path)
    changed = ("--set", f"dataset.root={root}")
    assert run(tmp_path / "out", "--ckpt", str(weights[0]), *changed) == 1
    assert "are white around and black inside [mask-inverted]" in capsys.readouterr().err


def test_weights_of_one_name_are_told_apart_by_their_paths(
    run: Run, weights: list[Path], tmp_path: Path
) -> None:
    other = shutil.copytree(weights[1], tmp_path / "other" / weights[0].name)
    usual = ("--ckpt", str(weights[0]), "--compare", str(other), "--layers", "mid 0")
    assert run(tmp_path / "out", *usual) == 0
    (numbers,) = (tmp_path / "out").glob("*.json")
    assert list(json.loads(numbers.read_text())["models"]) == [str(weights[0]), str(other)]


def test_a_real_data_set_must_say_where_it_is(
    weights: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where no data set is linked
    usual = ["explain", "--ckpt", str(weights[0].absolute()), "--out", str(tmp_path)]
    assert main([*usual, "--dataset", "vitonhd_paired"]) == 1
    assert "data/viton_hd: no such folder; link the dataset there" in capsys.readouterr().err
    assert main(usual) == 1
    assert "no sample: give --dataset" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_and_checkpoints_are_looked_into(
    run: Run, train_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    root = tmp_path / "data"
    write_viton_hd(root, train=4, test=2, height=64, width=48)
    folder = train_tiny("tryon_synthetic", root, tmp_path / "a_run")
    assert run(tmp_path / "one", "--ckpt", str(folder)) == 0
    checkpoint = folder / "checkpoints" / "last.ckpt"
    assert run(tmp_path / "two", "--ckpt", str(checkpoint)) == 0
    for end in ("json", "html"):
        (first,) = (tmp_path / "one").glob(f"*.{end}")
        (second,) = (tmp_path / "two").glob(f"*.{end}")
        assert '"a_run"' in first.read_text()
        assert '"a_run"' in second.read_text()
