"""Stages in order: where one ends, how fast each learns, and how a batch is split among devices."""

from dataclasses import replace

import pytest

from leffa.training.callbacks.stages import StageSchedule
from leffa.training.stages import Curriculum, Largest, MicroBatch, Stage, largest_at, rehearsal

STAGES = (
    Stage("small", steps=3, height=32, width=24, batch_size=8, learning_rate=1e-3),
    Stage("large", steps=4, height=64, width=48, batch_size=4, learning_rate=1e-4, leffa_loss=True),
)


def test_a_stage_ends_where_the_next_begins() -> None:
    curriculum = Curriculum(STAGES)
    assert curriculum.steps == 7
    rates = [curriculum.learning_rate(step) for step in range(9)]
    assert rates == [1e-3] * 3 + [1e-4] * 6  # beyond the end, that of the last one


def test_a_number_of_steps_leads_to_a_place_within_a_stage() -> None:
    curriculum = Curriculum(STAGES)
    places = [curriculum.position(step) for step in (0, 2, 3, 6, 7)]
    assert places == [(0, 0), (0, 2), (1, 0), (1, 3), (2, 0)]


@pytest.mark.parametrize("no_cap", [None, -1])
def test_no_cap_leaves_the_stages_as_they_are(no_cap: int | None) -> None:
    assert Curriculum(STAGES, max_steps=no_cap).stages == STAGES


@pytest.mark.parametrize(
    ("cap", "steps"), [(1, [1]), (3, [3]), (5, [3, 2]), (7, [3, 4]), (100, [3, 4])]
)
def test_a_cap_shortens_the_last_stage_and_drops_the_rest(cap: int, steps: list[int]) -> None:
    assert [stage.steps for stage in Curriculum(STAGES, max_steps=cap).stages] == steps


@pytest.mark.parametrize(("stages", "steps"), [(1, [3]), (2, [1, 2]), (3, [1, 1, 1]), (4, [1] * 4)])
def test_a_rehearsal_has_three_steps_of_one_picture_and_every_stage(
    stages: int, steps: list[int]
) -> None:
    wanted = [STAGES[0]] * (stages - 1) + [STAGES[1]]
    found = rehearsal(wanted)
    assert [stage.steps for stage in found] == steps
    for before, after in zip(wanted, found, strict=True):
        assert after == replace(before, steps=after.steps, batch_size=1)


def test_each_step_has_the_rate_of_its_stage() -> None:
    curriculum = Curriculum(STAGES)
    assert [curriculum.learning_rate(step) for step in range(7)] == [1e-3] * 3 + [1e-4] * 4


def test_the_rate_warms_up_over_the_whole_run() -> None:
    curriculum = Curriculum(STAGES, warmup_steps=4)
    rates = [curriculum.learning_rate(step) for step in range(5)]
    assert rates == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3, 1e-4, 1e-4])


def test_the_warm_up_may_begin_at_a_share_of_the_rate() -> None:
    curriculum = Curriculum(STAGES, warmup_steps=4, warmup_start=0.2)
    rates = [curriculum.learning_rate(step) for step in range(5)]
    assert rates == pytest.approx([0.4e-3, 0.6e-3, 0.8e-3, 1e-4, 1e-4])
    assert Curriculum(STAGES, warmup_start=0.2).learning_rate(0) == 1e-3
    with pytest.raises(ValueError, match=r"curriculum\.warmup_start must lie in \[0, 1\], got 2"):
        Curriculum(STAGES, warmup_start=2)


def test_the_rate_cools_down_at_the_end_of_the_run() -> None:
    curriculum = Curriculum(STAGES, cooldown_steps=4)
    rates = [curriculum.learning_rate(step) for step in range(2, 8)]
    assert rates == pytest.approx([1e-3, 1e-4, 0.75e-4, 0.5e-4, 0.25e-4, 0.0])


@pytest.mark.parametrize("key", ["steps", "height", "width", "batch_size"])
def test_a_stage_of_nothing_is_an_error(key: str) -> None:
    values = {"steps": 1, "height": 8, "width": 8, "batch_size": 1} | {key: 0}
    with pytest.raises(ValueError, match=f"stage 'empty' has {key}=0: give a number from 1"):
        Stage("empty", learning_rate=1e-3, **values)


def test_no_stage_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="curriculum: needs at least one stage"):
        Curriculum([])


def test_a_cap_of_no_steps_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"trainer\.max_steps must be at least 1, got 0"):
        Curriculum(STAGES, max_steps=0)


@pytest.mark.parametrize(
    ("batch_size", "devices", "largest", "size", "accumulate"),
    [
        (8, 1, 8, 8, 1),
        (8, 1, 100, 8, 1),
        (8, 2, 3, 2, 2),
        (6, 1, 4, 3, 2),
        (7, 1, 4, 1, 7),  # a prime share: only single images divide it
        (256, 8, 16, 16, 2),
    ],
)
def test_a_batch_is_dealt_in_the_fewest_equal_parts(
    batch_size: int, devices: int, largest: int, size: int, accumulate: int
) -> None:
    split = MicroBatch.split(batch_size, devices, largest)
    assert split == MicroBatch(size, accumulate)
    assert split.size * split.accumulate * devices == batch_size


def test_a_batch_that_does_not_divide_by_the_devices_is_an_error() -> None:
    with pytest.raises(ValueError, match="a batch of 8 is not divisible by 3 devices"):
        MicroBatch.split(8, devices=3, largest=8)


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ((256, 176), 16),  # the next larger one
        ((512, 384), 16),
        ((512, 385), 4),
        ((1024, 768), 4),
        ((2048, 768), 2),  # twice the pixels of the largest
        ((8192, 8192), 1),
    ],
)
def test_a_micro_batch_follows_from_the_size_of_the_pictures(
    size: tuple[int, int], fits: int
) -> None:
    assert largest_at({"512x384": 16, "1024x768": 4}, *size) == fits
    assert largest_at(3, *size) == 3


@pytest.mark.parametrize(
    ("largest", "words"),
    [
        (0, "hardware.micro_batch=0: give a number from 1"),
        ({"512x384": 0}, "hardware.micro_batch.512x384=0: give a number from 1"),
        ({"large": 2}, "hardware.micro_batch.large: is not a size"),
        ({}, "hardware.micro_batch: give a number"),
    ],
)
def test_a_micro_batch_that_is_none_is_named(largest: Largest, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        largest_at(largest, 64, 48)


def test_a_validation_every_so_many_steps_of_no_step_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"trainer\.val_check_interval=0: give a number from 1"):
        StageSchedule([1], 0)
    with pytest.raises(ValueError, match=r"trainer\.val_check_interval=0\.5: is not a whole"):
        StageSchedule([1], 0.5)  # type: ignore[arg-type]
