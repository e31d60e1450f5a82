"""Cached latents: the same numbers as fresh ones, of the same pictures only."""

import copy
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from leffa.data import latent_cache
from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.deepfashion import DeepFashion
from leffa.data.keypoints import Annotation
from leffa.data.latent_cache import LatentCache
from leffa.data.layout import Layout
from leffa.data.published import VitonHD
from leffa.data.transforms import PersonTransform
from leffa.models.leffa import LeffaModel
from leffa.run import compose
from leffa.synthetic.write import write_deepfashion, write_viton_hd

TRANSFORM = PersonTransform(height=32, width=24, densepose="iuv")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    root = tmp_path_factory.mktemp("world")
    write_viton_hd(root, 5, 2, seed=3, height=64, width=48)
    return VitonHD(root, densepose="iuv")


@pytest.fixture(scope="module")
def model() -> LeffaModel:
    backbone = OmegaConf.to_container(compose("train", []).backbone)
    assert isinstance(backbone, dict)
    return LeffaModel(*(backbone[part] for part in ("unet", "vae", "scheduler")))


def build(
    folder: Path, records: Sequence[Record], model: LeffaModel, **changes: object
) -> LatentCache:
    return LatentCache(folder, records, replace(TRANSFORM, **changes), model, batch_size=2)


def test_a_batch_with_latents_is_encoded_as_one_without(
    records: Layout, model: LeffaModel, tmp_path: Path
) -> None:
    cache = build(tmp_path, records, model)
    fresh, kept = (
        collate([PersonDataset(records, TRANSFORM, latents=latents)[i] for i in (0, 1)])
        for latents in (None, cache)
    )
    draws = [torch.Generator().manual_seed(0) for _ in range(2)]
    for sample in (False, True):
        ours, theirs = (
            (model.encode(batch, draw, sample), model.encode_target(batch, draw, sample))
            for batch, draw in zip((fresh, kept), draws, strict=True)
        )
        assert ours[0].concat.equal(theirs[0].concat)
        assert ours[0].reference.equal(theirs[0].reference)
        assert ours[1].equal(theirs[1])


def test_mirrored_samples_have_latents_of_their_own(
    records: Sequence[Record], model: LeffaModel, tmp_path: Path
) -> None:
    flipping = replace(TRANSFORM, flip=0.5)
    # A file's name may look like a mark of the cache's own.
    records = [replace(records[0], name=f"{records[1].name} mirrored"), *records[1:]]
    cache = build(tmp_path, records, model, flip=0.5)
    assert len(cache) == 2 * len(records)
    assert len(build(tmp_path, records, model, flip=0.2)) == len(cache)
    mirrored = 0
    for draw in range(4):
        sample = PersonDataset(records, flipping, latents=cache, packed=True)[1, draw]
        fresh = model.latents(collate([PersonDataset(records, flipping)[1, draw]]))
        for picture, latent in fresh.items():
            torch.testing.assert_close(sample["latents"][picture], latent[0])
        as_stored = cache[records[1].name]["source"]
        mirrored += not torch.equal(sample["latents"]["source"], as_stored)
    assert 0 < mirrored < 4


def test_latents_of_a_model_in_channels_last_are_the_same(
    records: Layout, model: LeffaModel, tmp_path: Path
) -> None:
    turned = copy.deepcopy(model).to(memory_format=torch.channels_last)
    ours, theirs = build(tmp_path / "a", records, model), build(tmp_path / "b", records, turned)
    for name, latents in ours.items():
        for picture, latent in latents.items():
            torch.testing.assert_close(theirs[name][picture], latent, rtol=1e-4, atol=1e-4)


def test_keeps_the_finished_part_of_an_interrupted_run(
    records: Layout, model: LeffaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_cache, "SHARD", 2)
    whole = build(tmp_path / "whole", records, model)
    assert list(whole) == [record.name for record in records]
    build(tmp_path / "cut", records, model)
    first, second, third = sorted((tmp_path / "cut").glob("*.safetensors"))
    before = first.stat().st_mtime_ns
    second.unlink()
    third.unlink()
    again = build(tmp_path / "cut", records, model)
    assert first.stat().st_mtime_ns == before
    for name, latents in whole.items():
        assert latents.keys() == {"source", "reference", "masked_source"}
        assert all(latents[picture].equal(again[name][picture]) for picture in latents)


def test_says_what_it_takes_and_refuses_a_full_disk_before_any_work(
    records: Layout,
    model: LeffaModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    bytes_each = 3 * 4 * 16 * 12 * 4  # three images of four channels, 2 pixels a cell, float32
    monkeypatch.setattr(latent_cache, "SHARD", 2)
    for free in (5 * bytes_each - 1, 5 * bytes_each):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if free < 5 * bytes_each:
            with pytest.raises(ValueError, match=r"latents of 5 samples need .* latent_cache=null"):
                build(tmp_path, records, model)
            assert not list(tmp_path.glob("*.safetensors"))
        else:
            build(tmp_path, records, model)
    assert f"encoding 5 samples into {tmp_path}: 0.0 GB" in caplog.text
    (tmp_path / "latents_00001.safetensors").unlink()
    build(tmp_path, records, model)
    build(tmp_path, records, model)
    assert [line.split()[1] for line in caplog.messages if "samples" in line] == ["5", "2"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"image_filter": "bicubic"}, "transform"), ({"height": 40}, "transform")],
)
def test_refuses_latents_of_another_transform(
    records: Layout, model: LeffaModel, tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    build(tmp_path, records, model)
    with pytest.raises(ValueError, match=rf"changed: {named}\); delete"):
        build(tmp_path, records, model, **changes)


def test_refuses_latents_of_another_autoencoder(
    records: Layout, model: LeffaModel, tmp_path: Path
) -> None:
    build(tmp_path, records, model)
    other = copy.deepcopy(model)
    next(other.vae.parameters()).data[0].add_(1e-6)
    with pytest.raises(ValueError, match="changed: autoencoder"):
        build(tmp_path, records, other)


def test_refuses_latents_of_files_that_changed(model: LeffaModel, tmp_path: Path) -> None:
    write_viton_hd(tmp_path / "world", 2, 2, seed=4, height=64, width=48)
    records = VitonHD(tmp_path / "world", densepose="iuv")
    build(tmp_path / "cache", records, model)
    picture = records[1].source
    picture.write_bytes(picture.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"changed: files\); delete"):
        build(tmp_path / "cache", records, model)


def test_refuses_a_transform_that_augments(
    records: Layout, model: LeffaModel, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="switch the augmentation or the cache off"):
        build(tmp_path, records, model, flip=0.5, scale=0.1)
    assert not any(tmp_path.iterdir())


def test_takes_moved_files(model: LeffaModel, tmp_path: Path) -> None:
    root = tmp_path / "here"
    write_deepfashion(root, 4, 0, seed=3, height=64, width=48)
    records = DeepFashion(root)
    assert isinstance(records[0].keypoints, Annotation)
    pose = replace(TRANSFORM, task="pose")
    whole = LatentCache(tmp_path / "cache", records, pose, model)
    root.rename(tmp_path / "there")
    moved = DeepFashion(tmp_path / "there")
    assert set(LatentCache(tmp_path / "cache", moved, pose, model)) == set(whole)


def test_takes_the_same_files_by_another_path(
    records: Layout, model: LeffaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = records[0].source.parents[2]
    whole = build(tmp_path, records, model)
    monkeypatch.chdir(root.parent)
    relative = VitonHD(root.name, densepose="iuv")
    assert not relative[0].source.is_absolute()
    assert set(build(tmp_path, relative, model)) == set(whole)
