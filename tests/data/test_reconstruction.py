"""Both directions of a pair: each reference is also painted from itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from leffa.data.datamodule import MicroBatchSampler, PersonDataModule
from leffa.data.dataset import PersonDataset, reconstruction
from leffa.data.deepfashion import DeepFashion
from leffa.data.packed import unpack
from leffa.data.transforms import PersonTransform
from leffa.synthetic.write import write_deepfashion
from leffa.training.stages import Stage

TRANSFORM = PersonTransform(32, 24, task="pose", densepose="iuv", pose=True, flip=0.5)
STAGE = Stage("only", steps=3, height=32, width=24, batch_size=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def poses(tmp_path_factory: pytest.TempPathFactory) -> DeepFashion:
    root = tmp_path_factory.mktemp("poses")
    write_deepfashion(root, 6, 3, 0, 32, 24)
    return DeepFashion(root)


def loaded(poses: DeepFashion, **changes: object) -> PersonDataModule:
    def transform(height: int, width: int) -> PersonTransform:
        return replace(TRANSFORM, height=height, width=width)

    return PersonDataModule(poses, poses, transform, [STAGE], [(4, 1)], **changes)  # type: ignore[arg-type]


def test_a_reconstruction_is_the_reference_in_its_own_pose(poses: DeepFashion) -> None:
    record = poses[0]
    assert record.reference != record.source
    other = next(each for each in poses if each.source == record.reference)
    still = TRANSFORM.without_augmentation()
    here, there = (PersonDataset([r], still)[0] for r in (reconstruction(record), other))
    assert here["name"] == f"{record.name}_reconstruction"
    assert torch.equal(here["source"], here["reference"])
    for key in ("source", "pose", "densepose", "loss_region"):
        assert torch.equal(here[key], there[key]), key  # type: ignore[literal-required]
    assert "flow" not in here


def test_every_second_draw_is_the_reconstruction_of_the_draw_before() -> None:
    sampler = MicroBatchSampler(samples=3, size=4, count=3, seed=5, repeat=2)
    draws = [draw for micro_batch in sampler for draw in micro_batch]
    assert [number for _, number in draws] == list(range(12))
    pairs = [index for index, _ in draws]
    assert pairs[::2] == pairs[1::2]
    assert sorted(pairs[:6:2]) == sorted(pairs[6::2]) == [0, 1, 2]


def test_two_processes_deal_what_one_deals() -> None:
    def draws(rank: int, ranks: int, count: int) -> list[list[tuple[int, int]]]:
        return list(MicroBatchSampler(5, 2, count, 7, rank, ranks, repeat=2))

    alone, shared = draws(0, 1, 4), [draws(rank, 2, 2) for rank in range(2)]
    assert alone == [shared[0][0], shared[1][0], shared[0][1], shared[1][1]]


def test_half_of_each_batch_is_reconstructed(poses: DeepFashion) -> None:
    for packed in loaded(poses, reconstruct=True).train_dataloader():
        batch = unpack(packed)
        for pair, alone in zip(batch["name"][::2], batch["name"][1::2], strict=True):
            assert alone == f"{pair}_reconstruction"
        assert torch.equal(batch["source"][1::2], batch["reference"][1::2])
        assert not torch.equal(batch["source"][::2], batch["reference"][::2])


def test_validation_reconstructs_nothing(poses: DeepFashion) -> None:
    for batch in loaded(poses, reconstruct=True).val_dataloader():
        assert not any("reconstruction" in name for name in batch["name"])


def test_a_reference_without_its_maps_is_found_before_training(poses: DeepFashion) -> None:
    records = [replace(record, reference_keypoints=None) for record in poses]
    with pytest.raises(ValueError, match="keypoints"):
        loaded(records, reconstruct=True).check()  # type: ignore[arg-type]
    loaded(records).check()  # type: ignore[arg-type]


def test_latents_of_pairs_are_no_latents_of_reconstructions(
    poses: DeepFashion, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"latent_cache: .* data\.reconstruct trains on reconstr"):
        loaded(poses, reconstruct=True).cache_latents(tmp_path, None)  # type: ignore[arg-type]
