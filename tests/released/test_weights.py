"""`leffa weights` against a hub on this machine, in the published layout with random content."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from leffa.cli import main
from leffa.metrics.inception import TENSORFLOW_INCEPTION, TORCHVISION_INCEPTION
from leffa.metrics.perceptual import LPIPS_BACKBONES
from leffa.models.export import OFFICIAL
from leffa.released.bring import bring, is_here, store
from leffa.released.catalogue import Released, named, read_catalogue

sys.path.append(str(Path(__file__).parent))
from fake_hub import FakeHub

CONF = Path(__file__).parents[2] / "conf"
BASE = "stable-diffusion-inpainting"
FILES = {
    "virtual_tryon.pth": os.urandom(200_000),
    "virtual_tryon_dc.pth": os.urandom(100_000),
    "densepose/model_final_162be9.pkl": os.urandom(50_000),
    "humanparsing/parsing_lip.onnx": b"",
    **{f"{BASE}/{part}/config.json": json.dumps({"of": part}).encode() for part in ("vae", "unet")},
}


@pytest.fixture
def hub(serve: Callable[..., FakeHub]) -> FakeHub:
    """Leffa's repository."""
    return serve({"franciszzj/Leffa": dict(FILES)})


def weights(*arguments: str) -> int:
    return main(["weights", *arguments])


def test_fetches_what_is_named_after_saying_its_size_and_licence(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weights("fetch", "leffa_tryon") == 0
    told = capsys.readouterr().out
    assert "leffa_tryon: 3 files, 0.0 GB, from" in told
    assert told.index("VITON-HD, which is for non-commercial") < told.index("fetched; all hashes")
    assert set(hub.downloads()) == {"virtual_tryon.pth", "config.json"}
    assert weights("where", "leffa_tryon") == 0
    folder = Path(capsys.readouterr().out.strip())
    assert (folder / "virtual_tryon.pth").read_bytes() == FILES["virtual_tryon.pth"]
    assert (folder / BASE / "vae" / "config.json").is_file()


def test_a_second_call_asks_nobody(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights("verify") == 0
    assert "none of the listed weights are here" in capsys.readouterr().out
    assert weights("fetch", "densepose") == 0
    hub.asked.clear()
    assert weights("fetch", "densepose") == weights("verify", "densepose") == 0
    assert hub.asked == []
    assert "densepose: is here already" in capsys.readouterr().out


def test_what_two_weights_share_is_fetched_once(hub: FakeHub) -> None:
    assert weights("fetch", "leffa_tryon", "leffa_tryon_dc") == 0
    assert hub.downloads().count("config.json") == 2
    assert weights("verify", "leffa_tryon", "leffa_tryon_dc") == 0


def test_a_download_that_broke_keeps_what_is_complete_and_leaves_nothing_half(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Path(constants.HF_HUB_CACHE) / "models--franciszzj--Leffa" / "blobs"
    hub.cut.add("virtual_tryon.pth")
    monkeypatch.setattr("time.sleep", lambda _: None)  # between its tries
    assert weights("fetch", "leffa_tryon") == 1
    assert "error: leffa_tryon: cannot fetch franciszzj/Leffa" in capsys.readouterr().err
    assert weights("where", "leffa_tryon") == 1
    (blobs / f"{'a' * 64}.12345678.incomplete").write_text("of a process that was killed")
    hub.cut.clear()
    hub.asked.clear()
    assert weights("fetch", "leffa_tryon") == 0
    assert hub.downloads() == ["virtual_tryon.pth"]
    assert not list(blobs.glob("*.incomplete"))


def test_a_file_that_is_not_what_its_hash_says_is_removed(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.wrong.add("densepose/model_final_162be9.pkl")
    assert weights("fetch", "densepose") == 1
    assert "model_final_162be9.pkl does not match its hash" in capsys.readouterr().err
    hub.wrong.clear()
    assert weights("fetch", "densepose") == 0
    path = Path(constants.HF_HUB_CACHE).rglob("model_final_162be9.pkl").__next__()
    path.resolve().write_bytes(b"a disk fails")
    assert weights("verify", "densepose") == 1
    assert "does not match its hash" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("gone", "needs a token"),
        ("private", "needs a token"),
        ("moved", "has no densepose/model_final_162be9.pkl, which it had on 2026-"),
        ("full", "free some space, or set HF_HOME"),
        ("down", "cannot fetch franciszzj/Leffa from http://127.0.0.1:9 ("),
    ],
)
def test_what_cannot_be_fetched_is_one_line(
    hub: FakeHub,
    change: str,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository = "franciszzj/Leffa"
    if change == "gone":
        del hub.repositories[repository]
    elif change == "private":
        hub.private.add(repository)
    elif change == "moved":
        del hub.repositories[repository]["densepose/model_final_162be9.pkl"]
    elif change == "down":
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    else:
        monkeypatch.setattr("shutil.disk_usage", lambda _: _Full())
    assert weights("fetch", "densepose") == 1
    told = capsys.readouterr().err
    assert line in told
    assert told.count("error:") == 1


class _Full:
    free = 10


def test_a_copied_folder_stands_for_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    copied = tmp_path / "copied"
    for name, content in FILES.items():
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(content)
    assert weights("fetch", "leffa_tryon", "densepose", "--from", str(copied)) == 0
    assert weights("verify") == 0
    assert "leffa_tryon: 3 files, all hashes match" in capsys.readouterr().out
    assert weights("fetch", "leffa_pose", "--from", str(copied)) == 1
    assert f"{copied} has no pose_transfer.pth" in capsys.readouterr().err


def test_works_without_a_network_after_the_first_time(tmp_path: Path) -> None:
    """In processes of their own, which read the hub's settings when they start."""
    hub = FakeHub({"franciszzj/Leffa": dict(FILES)})
    program = [sys.executable, "-m", "leffa", "weights"]
    with hub.serving() as address:
        settings = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path)}
        subprocess.run([*program, "fetch", "densepose"], env=settings, check=True)
    code = (
        "from leffa.cli import main\n"
        "for action in ('fetch', 'where', 'verify'):\n"
        "    assert main(['weights', action, 'densepose']) == 0\n"
        "raise SystemExit(main(['weights', 'fetch', 'openpose']))"
    )
    offline = settings | {"HF_HUB_OFFLINE": "1"}
    refused = subprocess.run(
        [sys.executable, "-c", code], env=offline, capture_output=True, text=True
    )
    assert refused.returncode == 1
    line = refused.stderr.strip().splitlines()[-1]
    assert line.startswith("error: openpose: cannot fetch")
    assert "(HF_HUB_OFFLINE forbids the network); unset it, or copy its files" in line
    assert line.endswith("type `leffa weights fetch openpose --from DIR`")


def test_what_is_not_on_the_hub_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert weights("fetch", "cfld") == 1
    assert "get it by hand: Google Drive" in capsys.readouterr().err
    assert weights("fetch", "leffa_tryn") == 1
    assert "leffa_tryn: no such weights; choose from leffa_tryon" in capsys.readouterr().err
    assert weights("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("openpose") and "about 0.2 GB" in line for line in lines)


def test_the_catalogue_names_presets_experiments_and_licences_that_there_are() -> None:
    for entry in read_catalogue().values():
        assert entry.licence
        assert [bool(entry.parts), bool(entry.urls), bool(entry.by_hand)].count(True) == 1
        assert entry.preset is None or entry.preset in OFFICIAL
        if entry.experiment is not None:
            assert yaml.safe_load((CONF / "experiment" / f"{entry.experiment}.yaml").read_text())


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Released:
    """Weights at an address of their own, and an empty cache of torch's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    digits = hashlib.sha256(b"layers").hexdigest()[:8]
    file = tmp_path / f"net-{digits}.pth"
    file.write_bytes(b"layers")
    return Released("nets", "tests", "none", date(2026, 1, 1), urls={file.as_uri(): 6})


def test_files_outside_the_hub_are_fetched_and_checked(
    outside: Released, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bring([outside], print)
    assert "nets: 1 file, 0.0 GB" in capsys.readouterr().out
    bring([outside], print)
    assert capsys.readouterr().out == ""
    kept = store(outside)
    ((_, path),) = kept.files_of(outside)
    assert path.read_bytes() == b"layers"
    assert kept.is_intact(path)
    path.write_bytes(b"a disk fails")
    assert not kept.is_intact(path)
    path.unlink()
    kept.adopt(outside, tmp_path)
    assert is_here(outside)


def test_a_file_outside_the_hub_with_another_hash_is_not_kept(
    outside: Released, tmp_path: Path
) -> None:
    next(tmp_path.glob("net-*.pth")).write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"nets: cannot fetch file:.*hash"):
        bring([outside], print)
    assert not is_here(outside)
    with pytest.raises(ValueError, match="does not match its hash; copy it again"):
        store(outside).adopt(outside, tmp_path)


def test_fetching_metrics_brings_the_networks_that_scores_look_for() -> None:
    wanted = [*LPIPS_BACKBONES.values(), TORCHVISION_INCEPTION, TENSORFLOW_INCEPTION]
    assert set(named("metrics").urls) == {weights.origin for weights in wanted}
    assert all(weights.command == "leffa weights fetch metrics" for weights in wanted)
