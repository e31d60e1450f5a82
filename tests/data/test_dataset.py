import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from leffa.data.datamodule import PersonDataModule
from leffa.data.dataset import PersonDataset, collate
from leffa.data.packed import pack, unpack
from leffa.data.published import DressCode, VitonHD
from leffa.data.transforms import PersonTransform


@pytest.fixture
def dataset(viton_hd: Path) -> PersonDataset:
    return PersonDataset(VitonHD(viton_hd), PersonTransform(16, 12, flip=0.5), seed=3)


def test_an_item_is_the_sample_of_its_record(dataset: PersonDataset) -> None:
    assert len(dataset) == 3
    assert dataset[1]["name"] == "00002_00"
    assert dataset[1, 17]["name"] == "00002_00"


def test_the_augmentation_depends_on_seed_and_draw_alone(dataset: PersonDataset) -> None:
    draws = [dataset[0, draw]["mask"] for draw in range(20)]
    again = [dataset[0, draw]["mask"] for draw in reversed(range(20))]
    assert all(torch.equal(a, b) for a, b in zip(draws, reversed(again), strict=True))
    flips = [not torch.equal(mask, draws[0]) for mask in draws]
    assert 0 < sum(flips) < 20
    other = PersonDataset(dataset.records, dataset.transform, seed=4)
    assert any(not torch.equal(other[0, draw]["mask"], draws[draw]) for draw in range(20))
    assert torch.equal(dataset[2]["mask"], dataset[2, 2]["mask"])


def test_the_global_random_state_is_left_alone(dataset: PersonDataset) -> None:
    random.seed(0)
    before = random.getstate()
    dataset[0]
    assert random.getstate() == before


def test_samples_become_a_batch(dataset: PersonDataset) -> None:
    batch = collate([dataset[0], dataset[1]])
    assert batch["source"].shape == (2, 3, 16, 12)
    assert batch["flow"].shape == (2, 16, 12, 2)
    assert batch["flow_valid"].shape == (2, 1, 16, 12)
    assert batch["name"] == ["00001_00", "00002_00"]
    assert batch["category"] == ["upper_body"] * 2


def test_a_batch_has_a_flow_only_where_every_sample_has_one(dataset: PersonDataset) -> None:
    without = dataset[1]
    del without["flow"], without["flow_valid"]
    assert "flow" not in collate([dataset[0], without])


def test_a_loader_with_workers_gives_the_same_samples(dataset: PersonDataset) -> None:
    expected = collate([dataset[index] for index in range(3)])
    (batch,) = DataLoader(
        replace(dataset, packed=True), batch_size=3, num_workers=1, collate_fn=collate
    )
    assert batch["source"].pixels.dtype == torch.uint8
    batch = unpack(batch)
    assert batch.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(batch[key], value) and batch[key].is_contiguous()
        else:
            assert batch[key] == value


def test_packed_pictures_are_to_the_last_bit_what_dividing_them_before_gives() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=-1)
    for halves in ((), (127.5, 127.5, 12)):
        divisors = np.float32(halves or 127.5)
        expected = torch.from_numpy(values / divisors - np.float32(1)).movedim(-1, 0)
        assert torch.equal(pack(values, *halves).unpack(), expected)
    one = pack(values[..., :1], 12, 12, 12).unpack()
    assert one.shape == (3, 16, 16) and torch.equal(one[2], expected[2])


@pytest.mark.parametrize(("wanted", "used"), [(3, [0, 2, 4]), (9, list(range(6))), (0, [])])
def test_validation_sees_every_part_of_the_list(
    dress_code: Path, wanted: int, used: list[int]
) -> None:
    """One category follows the other in it, so the first records are of one alone."""
    records = DressCode(dress_code, "test")
    module = PersonDataModule(records, records, PersonTransform, [], [], val_samples=wanted)
    assert module.val_records == [records[index] for index in used]
    if wanted == len(used):
        kinds = {record.category for record in module.val_records}
        assert len(kinds) == min(wanted, 3)
