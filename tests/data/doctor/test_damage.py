"""Every kind of damage is found and named."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damages import DAMAGE, LIST, OTHERS, A, B, Damage, kinds, problem
from PIL import Image

from leffa.data.doctor.examine import examine
from leffa.data.doctor.report import KINDS


@pytest.mark.parametrize(
    ("kind", "named", "damage"),
    DAMAGE,
    ids=[f"{kind}-{n}" for n, (kind, _, _) in enumerate(DAMAGE)],
)
def test_finds_and_names_the_damage(
    broken: Callable[[str], Path], kind: str, named: str, damage: Damage
) -> None:
    root = broken("viton_hd")
    damage(root)
    report = examine(root)
    found = problem(report, kind)
    assert any(named in name for name in found.names)
    assert report.clean == KINDS[kind].harmless or kind in ("same-picture", "train-in-test")
    assert kind in report.to_text()


@pytest.mark.parametrize(
    ("layout", "kind", "named", "damage"), OTHERS, ids=[f"{x[0]}-{x[1]}" for x in OTHERS]
)
def test_finds_what_other_layouts_suffer_from(
    broken: Callable[[str], Path], layout: str, kind: str, named: str, damage: Damage
) -> None:
    root = broken(layout)
    damage(root)
    report = examine(root)
    assert any(named in name for name in problem(report, kind).names)
    assert not report.clean


def test_tells_swapped_folders_by_the_white_around_garments(tmp_path: Path) -> None:
    lines = []
    for number in range(24):
        stem = f"{number:05}_00"
        lines.append(f"{stem}.jpg {(number + 1) % 24:05}_00.jpg\n")
        for folder, ground in (("cloth", 150), ("image", 255)):
            (tmp_path / "test" / folder).mkdir(parents=True, exist_ok=True)
            pixels = np.full((64, 48, 3), ground, np.uint8)
            pixels[20:50, 8:40] = number, 0, 100
            Image.fromarray(pixels).save(tmp_path / "test" / folder / f"{stem}.jpg")
    (tmp_path / LIST).write_text("".join(lines))
    assert "folders-swapped" in kinds(examine(tmp_path))


def test_a_list_longer_than_the_official_one_is_no_official_list(
    broken: Callable[[str], Path],
) -> None:
    root = broken("viton_hd")
    (root / "synthetic.json").unlink()  # no longer a synthetic copy
    report = examine(root)
    assert "subset: 3 of 2,032" in report.to_text()
    assert problem(report, "size-unofficial").names == ("72x96, officially 768x1024",)
    lines = [f"{n:05}_00.jpg {n + 1:05}_00.jpg" for n in range(2_033)]
    (root / LIST).write_text("\n".join(lines))
    assert "2,033" in problem(examine(root), "list-longer").names[0]


def test_ten_thousand_equal_problems_are_one_line(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    with (root / LIST).open("a") as file:
        file.writelines(f"{n:05}_00.jpg {A}.jpg\n" for n in range(10_000))
    lines = [line for line in examine(root).to_text().splitlines() if "list-absent" in line]
    assert len(lines) == 1
    assert "10,000, first 00000_00.jpg, 00001_00.jpg, 00002_00.jpg; add the files" in lines[0]


def test_a_damaged_archive_is_no_crash(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    with zipfile.ZipFile(root / f"test/flow/{A}.npz", "w") as archive:
        archive.writestr("flow.npy", b"not an array")
    assert "array-unreadable" in kinds(examine(root))


def test_a_colour_profile_is_told_and_does_no_harm(
    broken: Callable[[str], Path], display_p3: bytes
) -> None:
    root = broken("viton_hd")
    photo = root / f"test/image/{A}.jpg"
    Image.open(photo).save(photo, icc_profile=display_p3)
    report = examine(root)
    assert problem(report, "colour-profile").names == (f"{A}.jpg (Display P3)",)
    assert report.clean


def test_stored_matches_are_opened(broken: Callable[[str], Path]) -> None:
    root = broken("viton_hd")
    folder = root / "test/matches"
    folder.mkdir()
    picture = {"file": f"{A}.jpg", "size": [72, 96]}
    content = {"recipe": "r", "person": picture, "garment": picture, "matches": [[0, 0.5, 1, 1]]}
    (folder / f"{A}.json").write_text(json.dumps(content))
    sound = examine(root)
    assert sound.clean and problem(sound, "partly").names == ("1 of 3 {}.json",)
    for key, value, said in (
        ("matches", [[0, 0.5, 1, 1.5]], "holds no matches"),
        ("matches", [[0, 0.5, 1]], "holds no matches"),
        ("person", {**picture, "file": f"{B}.jpg"}, f"of {B}.jpg and {A}.jpg"),
    ):
        (folder / f"{A}.json").write_text(json.dumps(content | {key: value}))
        assert said in problem(examine(root), "matches-content").names[0]
    resized = content | {"person": {**picture, "size": [36, 48]}}
    (folder / f"{A}.json").write_text(json.dumps(resized))
    assert f"{A}.json" in problem(examine(root), "size-mismatch").names[0]


def test_every_kind_of_damage_has_a_test() -> None:
    tested = {entry[0] for entry in DAMAGE} | {entry[1] for entry in OTHERS}
    elsewhere = {
        *("folders-swapped", "list-longer", "files-only", "size-unofficial"),
        *("colour-profile", "left-out", "matches-content"),
    }
    assert tested | elsewhere == set(KINDS)
