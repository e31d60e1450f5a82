"""What users of such evaluators stumble over, each by its name; see docs/reference/protocols.md."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from leffa.cli import main
from leffa.metrics.distribution import FID
from leffa.metrics.protocols import PROTOCOLS, KIDSettings
from leffa.metrics.score import score_folders
from leffa.metrics.scorer import NO_REAL_SET, Scorer

from .noise import draw

VTONEVAL = replace(
    PROTOCOLS["vtoneval"], sets={}, paired={"psnr": PROTOCOLS["vtoneval"].paired["psnr"]}
)


@pytest.mark.usefixtures("without_networks")
def test_e1_two_results_on_other_images_or_libraries_can_be_told_apart(tmp_path: Path) -> None:
    """ "I run your weights and do not get your numbers": the result says on what it rests."""
    pred, true = draw(tmp_path / "p", "a.png", "b.png"), draw(tmp_path / "t", "a.png", "b.png")
    fast = replace(PROTOCOLS["leffa"], sets={})
    first = score_folders(pred, true, fast)
    assert {"leffa", "torch", "torchmetrics", "lpips", "pillow"} <= first.versions.keys()
    draw(pred, "c.png"), draw(true, "c.png")
    assert score_folders(pred, true, fast).names_sha256 != first.names_sha256


@pytest.mark.usefixtures("without_networks")
def test_e2_anyones_folders_are_scored_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred = draw(tmp_path / "p", "00001_00_00007_00.png", "00002_00_00008_00.png", seed=1)
    true = draw(tmp_path / "t", "00001_00.jpg", "00002_00.jpg", size=(48, 64))
    file = tmp_path / "new" / "scores.json"
    output = ["--protocol", "vtoneval", "--json", str(file)]
    assert main(["score", str(pred), str(true), *output]) == 0
    printed = capsys.readouterr().out
    assert json.loads(file.read_text())["protocol"]["name"] == "vtoneval"
    command = "not found: type `leffa weights fetch metrics`"
    assert f"fid is missing: pt_inception-2015-12-05-6726825d.pth {command}" in printed
    assert f"lpips is missing: squeezenet1_1-b8a52dc0.pth {command}" in printed


@pytest.mark.usefixtures("thumbnails", "without_networks")
def test_e3_pose_transfer_wants_all_training_images_as_the_real_set(tmp_path: Path) -> None:
    pred = draw(tmp_path / "p", "a.png", "b.png", size=(176, 256), seed=1)
    true = draw(tmp_path / "t", "a.png", "b.png", size=(176, 256))
    train = draw(tmp_path / "train", "x.jpg", "y.jpg", "z.jpg", size=(30, 44))
    scores = score_folders(pred, true, "cfld_256")
    assert scores.missing["fid"] == NO_REAL_SET
    assert scores.values.keys() == {"ssim", "ssim_256", "psnr"}
    scores = score_folders(pred, true, "cfld_256", real=train)
    assert scores.values["fid"] > 0
    assert scores.images == {"pred": 2, "real": 3}


def test_e3_pose_transfer_refuses_predictions_of_another_size(tmp_path: Path) -> None:
    pred, true = draw(tmp_path / "p", "a.png"), draw(tmp_path / "t", "a.png")
    with pytest.raises(ValueError, match=r"pidm takes predictions of 256x256 \(1\): a.png 32x24"):
        score_folders(pred, true, "pidm")


def test_e4_a_count_that_is_no_published_test_set_is_told(tmp_path: Path) -> None:
    pred, true = draw(tmp_path / "p", "00001_00.png"), draw(tmp_path / "t", "00001_00.png")
    notes = " ".join(score_folders(pred, true, VTONEVAL).notes)
    assert "1 predictions are not a published test set" in notes
    assert "VITON-HD test 2,032" in notes


@pytest.mark.usefixtures("thumbnails")
def test_e5_the_pair_list_decides_the_real_set_not_the_folder(tmp_path: Path) -> None:
    """DressCode's images/ holds garments and training persons: FID 57 (CatVTON #131)."""
    pred = draw(tmp_path / "p", "a.png", "b.png")
    true = draw(tmp_path / "t", "a_0.png", "b_0.png", "a_1.png", "trained_0.png")
    protocol = replace(PROTOCOLS["leffa"], paired={})
    scores = score_folders(pred, true, protocol, names={"a": "a_0", "b": "b_0"})
    assert scores.images["real"] == 2
    with pytest.raises(ValueError, match="predictions missing"):
        score_folders(pred, true, protocol)


@pytest.mark.usefixtures("without_networks")
def test_e6_and_e7_the_source_of_masks_and_repaint_stand_in_the_result(tmp_path: Path) -> None:
    pred, true = draw(tmp_path / "p", "1.png"), draw(tmp_path / "t", "1.png")
    arguments = ["score", str(pred), str(true), "--protocol", "wpose", "--json"]
    said = ["masks from the dataset", "no repaint"]
    file = tmp_path / "scores.json"
    assert main([*arguments, str(file), "--remark", said[0], "--remark", said[1]]) == 0
    assert json.loads(file.read_text())["notes"][:2] == said


def test_e8_covariances_survive_a_large_mean() -> None:
    """In float32 the difference of sums has no digit left here."""
    features = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) + 3000
    fid = FID(16)
    for part in features.split(7):
        fid.update(part, real=False)
    fid.update(features + 1, real=True)
    assert fid.compute().item() == pytest.approx(16, rel=1e-5)


def test_e9_the_result_says_which_lpips_and_which_ssim(tmp_path: Path) -> None:
    pred, true = draw(tmp_path / "p", "1.png"), draw(tmp_path / "t", "1.png")
    protocol = score_folders(pred, true, VTONEVAL).as_dict()["protocol"]
    assert protocol["paired"]["psnr"] == {"metric": "psnr", "pool": 16, "view": None}
    nets = {
        name: each.paired["lpips"].net for name, each in PROTOCOLS.items() if "lpips" in each.paired
    }
    assert {name for name, net in nets.items() if net == "squeeze"} == {"vtoneval", "catvton"}
    assert {name for name, net in nets.items() if net == "alex"} == nets.keys() - {
        "vtoneval",
        "catvton",
    }


def test_deepfashion_names_collide_under_vtonevals_rule_and_are_refused(tmp_path: Path) -> None:
    """The rule gives the item's number to all its views, and VtonEval overwrites silently."""
    views = ("WOMENDressesid0000002901_1front.png", "WOMENDressesid0000002901_2side.png")
    pred = draw(tmp_path / "p", *(f"gen_{name}" for name in views))
    true = draw(tmp_path / "t", *views)
    with pytest.raises(ValueError, match=r"eight_characters\) cannot tell apart.*both 00000029"):
        score_folders(pred, true, VTONEVAL)
    same = draw(tmp_path / "same", *views)
    assert score_folders(same, true, VTONEVAL).images["pred"] == 2  # equal names need no rule


def test_predictions_of_two_sizes_are_refused_where_truth_follows_them(tmp_path: Path) -> None:
    """VtonEval and CatVTON look at the first file alone."""
    pred = draw(draw(tmp_path / "p", "1.png"), "2.png", size=(12, 16))
    true = draw(tmp_path / "t", "1.png", "2.png")
    with pytest.raises(ValueError, match="the predictions have several"):
        score_folders(pred, true, VTONEVAL)


@pytest.mark.usefixtures("thumbnails", "without_networks")
def test_pidm_drops_the_batch_that_is_not_full(tmp_path: Path) -> None:
    protocol = replace(PROTOCOLS["pidm"], drop_last=2, sizes=(), prepare_true=None, paired={})
    pred = draw(tmp_path / "p", "1.png", "2.png", "3.png", size=(256, 256))
    real = draw(tmp_path / "r", "1.png", "2.png", "3.png", "4.png", "5.png", size=(256, 256))
    scorer = Scorer(protocol, paired=False, sets=(3, 5))
    assert scorer.to_come == {False: 2, True: 4}
    value = score_folders(pred, real, protocol, paired=False, real=real).values["fid"]
    (pred / "3.png").unlink(), (real / "5.png").unlink()
    kept = score_folders(pred, real, protocol, paired=False, real=real).values["fid"]
    assert value == pytest.approx(kept, abs=1e-9)


@pytest.mark.usefixtures("thumbnails")
def test_kid_is_raw_or_times_a_thousand_as_the_protocol_says(tmp_path: Path) -> None:
    pred = draw(tmp_path / "p", *(f"{n}.png" for n in range(4)), seed=1)
    true = draw(tmp_path / "t", *(f"{n}.png" for n in range(4)))
    raw, times = (
        score_folders(
            pred, true, replace(PROTOCOLS["leffa"], paired={}, sets={"kid": KIDSettings(factor=f)})
        ).values
        for f in (1, 1000)
    )
    assert times["kid"] == pytest.approx(1000 * raw["kid"])
    assert PROTOCOLS["vtoneval"].sets["kid"].factor == 1000
    assert PROTOCOLS["ladi"].sets["kid"].factor == 1


def test_jpeg_data_in_a_png_name_is_found(tmp_path: Path) -> None:
    """HR-VITON's generator writes such files."""
    pred, true = draw(tmp_path / "p", "1.jpg"), draw(tmp_path / "t", "1.png")
    (pred / "1.jpg").rename(pred / "1.png")
    scores = score_folders(pred, true, VTONEVAL)
    assert scores.formats["pred"] == {"JPEG": 1}
    assert any("stored as JPEG" in note for note in scores.notes)


@pytest.mark.usefixtures("thumbnails")
def test_nothing_is_kept_between_two_scorings_that_could_go_stale(tmp_path: Path) -> None:
    """clean-fid's named statistics, PIDM's statistics.npz and VtonEval's resized truth all do."""
    names = [f"{n}.png" for n in range(4)]
    pred, true = draw(tmp_path / "p", *names, seed=1), draw(tmp_path / "t", *names, size=(48, 64))
    protocol = replace(PROTOCOLS["vtoneval"], paired={"psnr": PROTOCOLS["vtoneval"].paired["psnr"]})
    files = sorted(tmp_path.rglob("*"))
    before = score_folders(pred, true, protocol).values
    assert sorted(tmp_path.rglob("*")) == files
    draw(true, *names, size=(48, 64), seed=2)
    after = score_folders(pred, true, protocol).values
    assert all(after[key] != before[key] for key in ("psnr", "fid", "kid"))


@pytest.mark.usefixtures("thumbnails")
def test_e5_dress_codes_all_is_the_fid_of_the_joined_images_not_the_mean(tmp_path: Path) -> None:
    parts = {"dresses": ["0", "1", "2"], "lower_body": ["3", "4", "5"]}
    names = [f"{n}.png" for n in range(6)]
    pred, true = draw(tmp_path / "p", *names, seed=1), draw(tmp_path / "t", *names)
    protocol = replace(PROTOCOLS["ladi"], paired={})
    scores = score_folders(pred, true, protocol, groups=parts)
    categories = [scores.groups[part]["fid"] for part in parts]
    assert abs(scores.values["fid"] - sum(categories) / 2) > 1e-3
    assert scores.values["fid"] == score_folders(pred, true, protocol).values["fid"]
