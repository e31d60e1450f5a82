"""What a sampling run keeps changes its speed, and neither its pictures nor its guarantees."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.models.leffa import LeffaModel
from leffa.models.memory import RunMemory
from leffa.models.sampler import SamplerSettings, generate, sample_latents

MakeBatch = Callable[..., Batch]
STEPS = 3
SETTINGS = SamplerSettings(scheduler="ddim", steps=STEPS, guidance=2.0)


class Sized:
    """A value of so many bytes."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


@pytest.fixture
def model(build_model: Callable[..., LeffaModel]) -> LeffaModel:
    return build_model().eval()


def other_persons(batch: Batch) -> Batch:
    """As many persons in the same garments."""
    flipped = {key: batch[key].flip(-1) for key in ("source", "mask", "densepose", "loss_region")}
    return {**batch, **flipped, "name": [f"other_{name}" for name in batch["name"]]}  # type: ignore[typeddict-item]


def in_one_garment(batch: Batch) -> Batch:
    return {**batch, "reference": batch["reference"][:1].expand_as(batch["reference"])}


@contextmanager
def evaluations(model: LeffaModel) -> Iterator[list[int]]:
    """The samples of each call of the reference UNet."""
    seen: list[int] = []
    hook = model.reference_unet.register_forward_pre_hook(
        lambda _, inputs: seen.append(len(inputs[0]))
    )
    yield seen
    hook.remove()


def sampled(
    model: LeffaModel, batches: list[Batch], settings: SamplerSettings, memory: RunMemory | None
) -> tuple[list[Tensor], list[list[int]]]:
    """Latents of each batch, and what the reference UNet was called with."""
    latents, calls = [], []
    for batch in batches:
        with evaluations(model) as seen:
            latents.append(sample_latents(model, batch, settings, memory=memory))
        calls.append(seen)
    return latents, calls


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 1e-2  # so that they could differ


def test_the_empty_reference_is_evaluated_in_the_first_batch_alone(
    model: LeffaModel, make_batch: MakeBatch
) -> None:
    batches = [make_batch(3), other_persons(make_batch(3))]
    expected, calls = sampled(model, batches, SETTINGS, None)
    assert calls == [[4] * STEPS, [4] * STEPS]  # three garments and the empty one
    found, calls = sampled(model, batches, SETTINGS, RunMemory())
    assert sorted(calls[0]) == [1] * STEPS + [3] * STEPS
    assert calls[1] == [3] * STEPS
    assert_same(found, expected)


def test_the_one_garment_of_a_run_is_evaluated_once(
    model: LeffaModel, make_batch: MakeBatch
) -> None:
    first = in_one_garment(make_batch(3))
    batches = [first, other_persons(first)]
    expected, _ = sampled(model, batches, SETTINGS, None)
    found, calls = sampled(model, batches, SETTINGS, RunMemory(one_reference=True))
    assert calls == [[1, 1] * STEPS, []]
    assert_same(found, expected)


@pytest.mark.parametrize("one_reference", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_one_timestep_s_features_for_all_steps_are_kept_as_well(
    model: LeffaModel, make_batch: MakeBatch, one_reference: bool, guidance: float
) -> None:
    settings = SamplerSettings(
        scheduler="ddim", steps=STEPS, guidance=guidance, reference_cache=True
    )
    first = in_one_garment(make_batch(3))
    batches = [first, other_persons(first)]
    expected, _ = sampled(model, batches, settings, None)
    found, calls = sampled(model, batches, settings, RunMemory(one_reference))
    assert calls[1] == ([] if one_reference else [3])
    assert_same(found, expected)


def test_what_no_longer_fits_is_computed_again(model: LeffaModel, make_batch: MakeBatch) -> None:
    first = in_one_garment(make_batch(3))
    batches = [first, other_persons(first)]
    expected, _ = sampled(model, batches, SETTINGS, None)
    whole = RunMemory(one_reference=True)
    sampled(model, batches, SETTINGS, whole)
    assert whole.nbytes > 0
    half = RunMemory(one_reference=True, limit=whole.nbytes / 2)
    found, calls = sampled(model, batches, SETTINGS, half)
    assert 0 < half.nbytes <= half.limit
    assert calls == [[1, 1] * STEPS, [1] * STEPS]  # of six features three fit
    assert_same(found, expected)
    nothing = RunMemory(one_reference=True, limit=0)
    found, calls = sampled(model, batches, SETTINGS, nothing)
    assert nothing.nbytes == 0
    assert calls == [[2] * STEPS, [2] * STEPS]  # one garment still, in one call with the empty one
    assert_same(found, expected)


def test_pictures_of_two_sizes_do_not_share_features(
    model: LeffaModel, make_batch: MakeBatch
) -> None:
    batches = [make_batch(2), make_batch(2, 24, 16)]
    expected = [sample_latents(model, batch, SETTINGS) for batch in batches]
    found, calls = sampled(model, batches, SETTINGS, RunMemory())
    assert len(calls[1]) == 2 * STEPS
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_pictures_are_those_of_runs_without_a_memory(
    model: LeffaModel, make_batch: MakeBatch
) -> None:
    batch, memory = make_batch(2), RunMemory()
    for _ in range(2):
        found = generate(model, batch, SETTINGS, memory=memory)
        torch.testing.assert_close(found, generate(model, batch, SETTINGS), rtol=1e-4, atol=1e-5)


def test_two_references_in_a_run_of_one_are_refused(
    model: LeffaModel, make_batch: MakeBatch
) -> None:
    line = "one_reference: this batch has another reference than the run began with"
    with pytest.raises(ValueError, match=line):
        sample_latents(model, make_batch(2), SETTINGS, memory=RunMemory(one_reference=True))
    memory, batch = RunMemory(one_reference=True), in_one_garment(make_batch(2))
    sample_latents(model, batch, SETTINGS, memory=memory)
    for later in (
        {**batch, "reference": -batch["reference"]},
        in_one_garment(make_batch(2, 24, 16)),
    ):
        with pytest.raises(ValueError, match=line):
            sample_latents(model, later, SETTINGS, memory=memory)
    sample_latents(model, batch, SETTINGS, memory=memory)  # the first garment still is welcome


def test_a_key_is_computed_once_and_what_does_not_fit_each_time() -> None:
    memory, computed = RunMemory(limit=10), []

    def value(name: str, nbytes: int) -> Callable[[], Sized]:
        def compute() -> Sized:
            computed.append(name)
            return Sized(nbytes)

        return compute

    for _ in range(2):
        for name, nbytes in (("first", 6), ("large", 5), ("last", 4)):
            assert memory.get_or_compute(name, value(name, nbytes)).nbytes == nbytes
    assert computed == ["first", "large", "last", "large"]
    assert memory.nbytes == 10
