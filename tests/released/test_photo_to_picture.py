"""`leffa tryon` and `leffa pose` against a hub on this machine that serves tiny released models."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leffa.cli import main
from leffa.photo_to_picture.maps import MapMaker, remove_all_but_masks

sys.path.append(str(Path(__file__).parent))
import published
from fake_hub import FakeHub
from pairs_table import LEFFA, SIZE, make, settings, table


def test_a_photo_and_a_garment_become_a_picture_as_the_released_pipeline_makes_it(
    hub: FakeHub, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make("tryon", pairs) == 0
    told = capsys.readouterr().out
    assert told.index("VITON-HD, which is for non-commercial") < told.index("leffa_tryon: fetched")
    assert "sampling will take about" in told
    assert set(hub.downloads()) == {"virtual_tryon.pth", "config.json", "scheduler_config.json"}
    with Image.open(pairs.parent / "out" / "picture0.png") as picture:
        assert picture.size == SIZE
    used = settings(pairs)
    assert used["weights"]["path"].endswith("virtual_tryon.pth")
    assert (used["inputs"]["fit"], used["inputs"]["densepose"]) == ("pad", "colour")
    sampler = used["sampler"]
    assert (sampler["noise"], sampler["guidance_rescale"], sampler["seed"]) == ("global", 2.5, 42)


def test_a_second_call_fetches_nothing_and_makes_what_is_missing(
    hub: FakeHub, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = table(pairs.parent, [{"mask": "mask.png"}] * 2)
    assert make("tryon", both) == 0
    first, second = (pairs.parent / "out" / f"picture{number}.png" for number in (0, 1))
    before, content = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    second.with_suffix(".json").unlink()
    hub.asked.clear()
    assert make("tryon", both) == 0
    assert hub.asked == []
    assert first.stat().st_mtime_ns == before
    assert second.read_bytes() == content
    capsys.readouterr()
    assert make("tryon", both) == 0
    assert capsys.readouterr().out.splitlines() == [str(first), str(second)]
    assert make("tryon", both, "--seed", "1") == 1
    assert "was made with other settings (sampler)" in capsys.readouterr().err


def test_lower_garments_and_dresses_take_the_weights_that_know_them(
    hub: FakeHub, pairs: Path
) -> None:
    dress = table(pairs.parent, [{"mask": "mask.png", "category": "dresses"}], "labels")
    assert make("tryon", dress) == 0
    assert settings(pairs)["weights"]["path"].endswith("virtual_tryon_dc.pth")
    assert settings(pairs)["inputs"]["part_range"] == 255


def test_pose_transfer_needs_no_mask(hub: FakeHub, pairs: Path) -> None:
    assert make("pose", table(pairs.parent, [{}], "iuv")) == 0
    assert settings(pairs)["weights"]["path"].endswith("pose_transfer.pth")
    assert settings(pairs)["inputs"]["task"] == "pose"


def test_what_cannot_be_prepared_is_one_line_and_the_others_go_on(
    hub: FakeHub, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pairs.parent
    Image.new("RGB", (100, 300)).save(folder / "narrow.png")
    (folder / "broken.png").write_bytes(b"no picture")
    rows = [{"person": "narrow.png"}, {"garment": "broken.png"}, {"mask": "colour.png"}, {}]
    mixed = table(folder, [{"mask": "mask.png", "garment": "coat.png"} | row for row in rows])
    assert make("tryon", mixed) == 1
    *lines, made = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("not made: ", str(folder)))
    ]
    assert made == str(folder / "out" / "picture3.png")  # the others are told before it is made
    assert len(lines) == 3
    assert "narrow.png: is 100x300, too small" in lines[0]
    assert "broken.png: is not a readable image" in lines[1]
    assert "colour.png" in lines[2]
    assert [path.stem for path in (folder / "out").glob("*.png")] == ["picture3"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ({"person": "text.jpg"}, "text.jpg: is not a readable image"),
        ({"person": "iphone.HEIC"}, "image file); save it as JPEG or PNG"),
        ({"garment": "small.png"}, "small.png: is 10x10, too small"),
        ({"mask": "text.jpg"}, "text.jpg: is not a readable image"),
    ],
)
def test_a_picture_that_is_none_or_too_small_is_told_before_anything_is_fetched(
    row: dict[str, str], line: str, hub: FakeHub, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("text.jpg", "iphone.HEIC"):
        (pairs.parent / name).write_text("hello")
    Image.new("RGB", (10, 10), "red").save(pairs.parent / "small.png")
    assert make("tryon", table(pairs.parent, [{"mask": "mask.png"} | row])) == 1
    told = capsys.readouterr().out
    assert told.startswith("not made: ")
    assert line in told
    assert hub.asked == []


def test_a_picture_that_would_replace_the_photo_is_told_before_anything_is_fetched(
    hub: FakeHub, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"mask": "mask.png", "name": "anna"}]
    assert make("tryon", table(pairs.parent, rows), "--out", str(pairs.parent)) == 1
    assert "anna.png: is an input, which is never replaced" in capsys.readouterr().err
    assert hub.asked == []


def test_a_garment_that_was_cut_out_is_taken_on_white_and_that_is_said_once(
    hub: FakeHub, pairs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    garment = Image.open(pairs.parent / "coat.png")
    garment.putalpha(255)
    garment.paste((9, 9, 9, 0), (0, 0, 100, 300))
    garment.save(pairs.parent / "cut_out.png")
    garment.paste((255, 255, 255, 255), (0, 0, 100, 300))
    garment.convert("RGB").save(pairs.parent / "on_white.png")
    rows = [{"mask": "mask.png", "garment": f"{name}.png"} for name in ("cut_out", "on_white")]
    with caplog.at_level("INFO"):
        assert make("tryon", table(pairs.parent, rows)) == 0
    assert caplog.text.count("cut_out.png: has transparent areas, which become white") == 1
    first, second = (Image.open(pairs.parent / "out" / f"picture{n}.png") for n in (0, 1))
    assert first.tobytes() == second.tobytes()


def test_keeps_the_photo_outside_the_mask_where_asked(hub: FakeHub, pairs: Path) -> None:
    assert make("tryon", pairs, "--paste-back") == 0
    made, photo, mask = (
        np.asarray(Image.open(pairs.parent / name).convert("RGB"))
        for name in ("out/picture0.png", "anna.png", "mask.png")
    )
    far = np.ones(made.shape[:2], np.bool_)
    far[50:160, 70:170] = False
    assert (made[far] == photo[far]).all()
    assert (made[mask[..., 0] > 0] != photo[mask[..., 0] > 0]).any()


def test_a_released_file_from_elsewhere_finds_its_configs_beside_it(
    tmp_path: Path, released: dict[str, bytes], pairs: Path, serve: Callable[..., FakeHub]
) -> None:
    hub = serve({})
    copied = tmp_path / "copied"
    for name, content in released.items():
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(content)
    assert make("tryon", pairs, "--weights", str(copied / "virtual_tryon.pth")) == 0
    assert hub.asked == []


def test_own_weights_say_how_long_they_will_take_and_fetch_nothing(
    tmp_path: Path,
    released: dict[str, bytes],
    pairs: Path,
    serve: Callable[..., FakeHub],
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub = serve({})
    for name, content in released.items():
        (tmp_path / "copied" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copied" / name).write_bytes(content)
    file, base = (
        tmp_path / "copied/virtual_tryon.pth",
        tmp_path / "copied" / published.BASES["virtual_tryon.pth"],
    )
    folder = str(tmp_path / "exported")
    assert main(["convert", "--weights", str(file), "--base", str(base), "--out", folder]) == 0
    assert make("tryon", pairs, "--weights", folder) == 0
    told = capsys.readouterr().out
    assert told.index("sampling will take about 1 s on cpu") < told.index("picture0.png")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--weights", "leffa_pose"], "leffa_pose: is for pose transfer: `leffa pose`"),
        (["--weights", "openpose"], "openpose: makes no images"),
        (["--weights", "cfld"], "cfld: get it by hand: Google Drive"),
        (["--weights", "lefa"], "lefa: no such file, nor a name of `leffa weights list`"),
        (["--mask", "mask.png"], "mask.png: and --table exclude each other"),
        (["--steps", "2000"], "--steps 2000: give 1000 at most"),
        (["--offload", "model"], "this runs on the CPU; leave it out"),
        (["--attention", "fast"], "--attention fast: "),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_fetched(
    hub: FakeHub,
    pairs: Path,
    arguments: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert make("tryon", pairs, *arguments) == 1
    assert line in capsys.readouterr().err
    assert hub.asked == []


def test_a_worn_garment_is_cut_out_of_its_photo(
    serve: Callable[..., FakeHub],
    released: dict[str, bytes],
    parsers: dict[str, bytes],
    pairs: Path,
) -> None:
    hub = serve({LEFFA: released | parsers})
    published.photo(size=SIZE).save(pairs.parent / "worn.png")
    rows = [{"mask": "mask.png", "garment": "worn.png"}]
    assert make("tryon", table(pairs.parent, rows), "--worn") == 0
    assert not {"body_pose_model.pth", "model_final_162be9.pkl"} & set(hub.downloads())
    (place,) = (pairs.parent / "out" / "maps").rglob("garment.png")
    with Image.open(place) as garment:
        assert garment.getpixel((0, 0)) == (255, 255, 255)
        width, height = garment.size
        assert 0.9 < (width / height) / (0.28 * SIZE[0] / (0.32 * SIZE[1])) < 1.1


@pytest.mark.slow
def test_from_nothing_to_a_picture_in_one_command_killed_and_without_a_network(
    everything: dict[str, bytes], tmp_path: Path
) -> None:
    """In processes of their own, which read the hub's settings when they start."""
    for name in ("anna", "coat"):
        published.photo(size=SIZE).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / "anna.png"), str(tmp_path / "coat.png")]
    usual = ["--out", str(tmp_path / "out"), "--steps", "2", "--device", "cpu"]
    command = [sys.executable, "-m", "leffa", "tryon", *files, *usual]
    hub = FakeHub({LEFFA: everything})
    last = "densepose/model_final_162be9.pkl"
    with hub.serving() as address:
        settings = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home")}
        hub.held.add(last)
        with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL) as process:
            while Path(last).name not in hub.downloads():
                time.sleep(0.05)
                assert process.poll() is None
            process.kill()
        assert not (tmp_path / "out" / "anna.png").exists()
        hub.held.clear()
        hub.asked.clear()
        subprocess.run(command, env=settings, check=True, stdout=subprocess.DEVNULL)
        assert hub.downloads() == [Path(last).name]
    assert not list((tmp_path / "home").rglob("*.incomplete"))
    with Image.open(tmp_path / "out" / "anna.png") as picture:
        assert picture.size == SIZE
    (maps,) = (tmp_path / "out" / "maps").iterdir()
    kinds = {"parse": ".png", "keypoints": ".json", "densepose": ".png", "masks": ".png"}
    assert all((maps / kind / f"anna{suffix}").is_file() for kind, suffix in kinds.items())
    with Image.open(maps / "masks" / "anna.png") as mask:
        covered = np.asarray(mask) > 0
    assert covered[100:150, 100:140].all()  # the garment
    assert not covered[20:45, 108:132].any()  # the face
    offline = settings | {"HF_HUB_OFFLINE": "1"}
    (tmp_path / "out" / "anna.json").unlink()
    (tmp_path / "out" / "anna.png").unlink()
    subprocess.run([*command, "--no-keep-maps"], env=offline, check=True)
    assert [path.parent.name for path in maps.rglob("anna.*")] == ["masks"]


def test_maps_of_other_photos_stay(tmp_path: Path) -> None:
    published.photo(size=SIZE).save(tmp_path / "anna.png")
    maker = MapMaker(tmp_path, "cpu")
    ours = maker._root(tmp_path / "anna.png", [], {}) / "parse"
    theirs = tmp_path / "maps" / "my-holiday" / "parse"
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
    remove_all_but_masks(maker.roots)
    assert not ours.exists()
    assert theirs.is_dir()
