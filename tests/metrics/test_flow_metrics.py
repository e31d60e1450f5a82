"""EPE, PCK, spread and the trivial flows, on cases worked out by hand."""

import pytest
import torch

from leffa.metrics.flow import (
    ConstantFlow,
    FlowMetrics,
    MatchMetrics,
    flow_baselines,
    identity_flow,
)


def everywhere(images: int, height: int, width: int) -> torch.Tensor:
    return torch.ones(images, 1, height, width)


def test_a_flow_without_error_scores_perfectly() -> None:
    flow = identity_flow(9, 7)[None]
    metric = FlowMetrics()
    metric.update(flow, flow, everywhere(1, 9, 7))
    values = metric.compute()
    assert values["epe_px"] == 0
    assert values["pck_3"] == 1


def test_epe_counts_pixels_of_width_in_x_and_of_height_in_y() -> None:
    true = identity_flow(21, 11)[None]
    metric = FlowMetrics()
    # 0.6 of x is 0.6 * (11 - 1) / 2 = 3 pixels, 0.4 of y is 0.4 * (21 - 1) / 2 = 4 pixels.
    metric.update(true + torch.tensor([0.6, 0.4]), true, everywhere(1, 21, 11))
    assert metric.compute()["epe_px"].item() == pytest.approx(5, abs=1e-5)


def test_pck_counts_errors_within_three_percent_of_the_diagonal() -> None:
    true = torch.zeros(1, 60, 80, 2)  # diagonal 100 pixels: 3 pixels are allowed
    pred = true.clone()
    pred[:, :, 20:, 0] = 2.9 * 2 / 79
    pred[:, :, 60:, 0] = 3.1 * 2 / 79
    metric = FlowMetrics()
    metric.update(pred, true, everywhere(1, 60, 80))
    assert metric.compute()["pck_3"].item() == pytest.approx(0.75)


def test_pixels_that_are_not_valid_do_not_count() -> None:
    true, valid = torch.zeros(1, 4, 4, 2), torch.zeros(1, 1, 4, 4)
    valid[..., :2] = 1
    pred = true.clone()
    pred[:, :, 2:] = 1
    metric = FlowMetrics()
    metric.update(pred, true, valid)
    values = metric.compute()
    assert (values["epe_px"], values["pck_3"], values["spread"]) == (0, 1, 0)


def test_every_image_counts_once_whatever_its_valid_area() -> None:
    true, valid = torch.zeros(3, 5, 5, 2), everywhere(3, 5, 5)
    valid[0], valid[2] = 0, 0
    valid[0, 0, 0, 0] = 1  # one valid pixel, two pixels off; the third image has none
    pred = true.clone()
    pred[0, ..., 0] = 1
    metric = FlowMetrics()
    metric.update(pred, true, valid)
    assert metric.compute()["epe_px"].item() == pytest.approx(1)


def test_a_batch_without_valid_pixels_changes_nothing() -> None:
    flow, metrics = identity_flow(8, 8)[None], FlowMetrics()
    for valid in (everywhere(1, 8, 8), torch.zeros(1, 1, 8, 8)):
        metrics.update(flow, flow, valid)
    assert metrics.compute()["epe_px"] == 0
    assert len(metrics.per_image()["epe_px"]) == 1


def test_spread_is_zero_for_a_collapsed_flow_and_that_of_a_uniform_law_for_identity() -> None:
    true, valid = identity_flow(64, 64).expand(1, 64, 64, 2), everywhere(1, 64, 64)
    collapsed, identity = FlowMetrics(), FlowMetrics()
    collapsed.update(torch.full((1, 8, 8, 2), 0.3), true, valid)
    identity.update(true, true, valid)
    assert collapsed.compute()["spread"].item() == pytest.approx(0, abs=1e-6)
    assert identity.compute()["spread"].item() == pytest.approx(3**-0.5, abs=0.01)


def test_identity_flow_has_x_before_y() -> None:
    flow = identity_flow(2, 3)
    assert flow[0].tolist() == [[-1, -1], [0, -1], [1, -1]]
    assert flow[1, 0].tolist() == [-1, 1]


def test_no_other_constant_has_a_smaller_squared_error() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(4, 6, 5, 2, generator=generator) * 2 - 1
    valid = (torch.rand(4, 1, 6, 5, generator=generator) > 0.5).float()
    metric = ConstantFlow()
    metric.update(true, valid)

    def cost(constant: torch.Tensor) -> float:
        squared = (true - constant).square().sum(dim=-1) * valid[:, 0]
        return float((squared.sum(dim=(1, 2)) / valid.sum(dim=(1, 2, 3))).mean())

    best = metric.compute().float()
    for step in ([0.02, 0], [-0.02, 0], [0, 0.02], [0, -0.02]):
        assert cost(best) < cost(best + torch.tensor(step))


def test_a_constant_flow_can_be_scored_as_a_single_cell() -> None:
    true = identity_flow(5, 5).expand(2, 5, 5, 2)
    metric = FlowMetrics()
    metric.update(torch.zeros(2).expand(2, 1, 1, 2), true, everywhere(2, 5, 5))
    assert metric.compute()["spread"] == 0


@pytest.mark.parametrize("split", [1, 3])
def test_two_halves_merge_into_the_whole(split: int) -> None:
    generator = torch.Generator().manual_seed(0)
    true, pred = torch.rand(2, 4, 8, 6, 2, generator=generator) * 2 - 1
    valid = everywhere(4, 8, 6)
    whole, first, second = FlowMetrics(), FlowMetrics(), FlowMetrics()
    whole.update(pred, true, valid)
    first.update(pred[:split], true[:split], valid[:split])
    second.update(pred[split:], true[split:], valid[split:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), whole.compute(), atol=1e-9, rtol=0)


def test_matches_are_scored_at_their_own_points_each_pair_once() -> None:
    """Two matches 3 and 5 pixels off, and one that is right; a pair without any does not count."""
    size = (21, 11)  # a pixel is 0.1 in y, 0.2 in x
    here = torch.tensor([0.13, -0.27])  # between pixels
    three, five = torch.tensor([0.6, 0.0]), torch.tensor([0.6, 0.4])
    nan = torch.full((4,), torch.nan)
    rows = [
        [torch.cat([here, here + three]), torch.cat([-here, -here + five])],
        [torch.cat([here, here]), nan],
        [nan, nan],
    ]
    matches = torch.stack([torch.stack(row) for row in rows])
    metric = MatchMetrics()
    metric.update(identity_flow(*size).expand(3, -1, -1, -1), matches, size)
    assert metric.per_image()["match_epe_px"].tolist() == pytest.approx([4, 0], abs=1e-5)
    values = metric.compute()
    assert values["match_epe_px"].item() == pytest.approx(2, abs=1e-5)
    assert values["match_pck_3"].item() == 0.5  # 3 % of the diagonal are 0.7 px
    coarse = MatchMetrics()
    coarse.update(identity_flow(2, 2).expand(3, -1, -1, -1), matches, size)
    assert coarse.compute()["match_epe_px"].item() == pytest.approx(2, abs=1e-5)


def test_identity_and_the_best_constant_stand_beside_at_the_same_matches() -> None:
    size = (21, 11)
    there = torch.tensor([[0.1, 0.2], [0.3, 0.2], [-0.4, 0.0]])
    matches = torch.cat([there + torch.tensor([0.6, 0.4]), there], dim=1)
    batches = [
        {"source": torch.zeros(1, 3, *size), "name": ["a"], "matches": matches[None, :2]},
        {"source": torch.zeros(1, 3, *size), "name": ["b"], "matches": matches[None, 2:]},
        {"source": torch.zeros(1, 3, *size), "name": ["c"], "matches": matches[None, :0]},
    ]
    values = flow_baselines(lambda: iter(batches))  # type: ignore[arg-type]
    assert values["flow/match_pairs"] == 2
    assert values["flow_identity/match_epe_px"] == pytest.approx(5, abs=1e-5)
    best = (there[:2].mean(dim=0) + there[2]) / 2  # pairs weigh alike
    off = torch.linalg.vector_norm((there - best) * torch.tensor([5.0, 10.0]), dim=1)
    expected = ((off[0] + off[1]) / 2 + off[2]) / 2
    assert values["flow_constant/match_epe_px"] == pytest.approx(expected.item(), abs=1e-5)
    assert values["flow_constant/match_spread"] == pytest.approx(0, abs=1e-6)
    assert not any(key.endswith("/epe_px") for key in values)
    assert flow_baselines(lambda: iter(batches[2:])) == {"flow/match_pairs": 0}  # type: ignore[arg-type]
