"""Self-correction by hand-computed cases, and a training on synthetic persons with wrong labels."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from leffa.io.weights import load_weights
from leffa.preprocess.parsing.framing import normalise
from leffa.preprocess.parsing.parsing_losses import (
    IGNORED,
    consistency_loss,
    edge_loss,
    label_edges,
    lovasz_softmax,
    parsing_loss,
    schp_loss,
)
from leffa.preprocess.parsing.schp import SCHP, fill
from leffa.preprocess.parsing.self_correction import (
    SelfCorrection,
    refine_labels,
    save_schp,
    train_parser,
)
from leffa.synthetic.render import draw_tryon

SMALL = SelfCorrection(epochs=2, cycles=2, cycle_epochs=1, learning_rate=0.05)


@pytest.fixture(scope="module")
def persons() -> list[tuple[Tensor, Tensor]]:
    """Two batches of two synthetic persons, 64x48."""
    drawings = [draw_tryon(0, index, 64, 48).person for index in range(4)]
    pictures = np.stack([drawing.image[..., ::-1] for drawing in drawings])
    squares = normalise(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255)
    labels = torch.from_numpy(np.stack([d.parsing for d in drawings])).long()
    return [(squares[:2], labels[:2]), (squares[2:], labels[2:])]


def tiny(classes: int = 20) -> SCHP:
    torch.manual_seed(0)
    return SCHP(classes, blocks=(1, 1, 1, 1), width=8)


# The losses.


def test_lovasz_of_a_perfect_and_of_a_reversed_prediction() -> None:
    labels = torch.tensor([0, 0, 1])
    right = torch.eye(2)[labels]
    assert float(lovasz_softmax(right, labels)) == 0
    assert float(lovasz_softmax(1 - right, labels)) == pytest.approx(1)


def test_lovasz_of_a_hard_prediction_is_one_minus_the_mean_iou() -> None:
    labels, predicted = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 1])
    loss = lovasz_softmax(torch.eye(2)[predicted], labels)
    assert float(loss) == pytest.approx(1 - (2 / 3 + 2 / 3) / 2)


def test_edges_lie_on_both_sides_of_a_border_and_not_at_ignored_pixels() -> None:
    labels = torch.tensor([[[1, 1, 2, IGNORED, 3]]])
    assert label_edges(labels).tolist() == [[[False, True, True, False, False]]]
    assert label_edges(labels.transpose(1, 2))[0, :, 0].tolist() == [
        *(False, True, True, False, False)
    ]


def test_rare_edges_weigh_as_much_as_the_rest() -> None:
    edges = torch.zeros(1, 1, 10, dtype=torch.bool)
    edges[0, 0, 0] = True
    known = torch.ones_like(edges)
    says_edge = torch.stack([torch.zeros(1, 1, 10), torch.full((1, 1, 10), 2.0)], dim=1)
    assert float(edge_loss(says_edge, edges, known)) == pytest.approx(
        float(edge_loss(-says_edge, edges, known))
    )


def test_parsing_and_edges_that_agree_cost_nothing() -> None:
    labels = torch.tensor([[[0, 0, 1, 1]] * 4])
    parsing = 50 * torch.nn.functional.one_hot(labels, 2).permute(0, 3, 1, 2).float()
    edges = label_edges(labels)
    sure = 50 * torch.stack([~edges, edges], dim=1).float()
    assert float(consistency_loss(parsing, sure, edges)) == pytest.approx(0, abs=1e-6)
    assert float(consistency_loss(parsing, -sure, edges)) == pytest.approx(1, abs=1e-6)
    assert float(consistency_loss(parsing, sure, torch.zeros_like(edges))) == 0


def test_ignored_pixels_change_no_loss() -> None:
    torch.manual_seed(0)
    scores, labels = torch.randn(1, 4, 6, 6), torch.randint(0, 4, (1, 6, 6))
    labels[:, :3] = IGNORED
    soft = torch.full((1, 4, 6, 6), 0.25)
    other = scores.clone()
    other[:, :, :3] += 5 * torch.randn(1, 4, 3, 6)
    for refined in (None, soft):
        assert torch.equal(
            parsing_loss(scores, labels, refined), parsing_loss(other, labels, refined)
        )


# The aggregation.


def test_given_labels_weigh_one_in_m_plus_one() -> None:
    labels, predicted = torch.tensor([[[1]]]), torch.tensor([2.0, 0.0, 0.0]).view(1, 3, 1, 1)
    softmax = [math.exp(2) / (math.exp(2) + 2)] + [1 / (math.exp(2) + 2)] * 2
    for cycle in (1, 3):
        refined = refine_labels(labels, predicted, cycle).flatten()
        kept = cycle / (cycle + 1)
        expected = [kept * p + (1 - kept) * (n == 1) for n, p in enumerate(softmax)]
        torch.testing.assert_close(refined, torch.tensor(expected))


def test_the_rate_falls_along_a_cosine_in_every_cycle() -> None:
    settings = SelfCorrection(epochs=100, cycles=2, cycle_epochs=10, learning_rate=7e-3)
    assert settings.rate(0) == pytest.approx(7e-3)
    assert settings.rate(50) == pytest.approx((7e-3 + 7e-5) / 2)
    assert settings.rate(100) == settings.rate(110) == pytest.approx(3.5e-3)
    assert settings.rate(119.999) == pytest.approx(3.5e-5, rel=1e-3)
    ends = [epoch for epoch in range(1, settings.total_epochs + 1) if settings.ends_cycle(epoch)]
    assert ends == [100, 110, 120]


def test_the_result_is_the_mean_of_the_weights_at_the_ends_of_the_cycles(
    persons: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    snapshots: list[Tensor] = []
    model = tiny()

    def watch(done: int, total: int) -> None:
        assert total == 4
        if SMALL.ends_cycle(done):
            snapshots.append(model.conv1.weight.detach().clone())

    result = train_parser(model, persons, SMALL, progress=watch)
    assert len(snapshots) == 3
    assert not torch.equal(snapshots[0], snapshots[2])
    torch.testing.assert_close(result.conv1.weight, torch.stack(snapshots).mean(dim=0))


def test_the_result_has_batch_statistics_of_its_own(
    persons: list[tuple[Tensor, Tensor]],
) -> None:
    """Those of the first layer are the plain means over the data."""
    result = train_parser(tiny(), persons, SMALL)
    with torch.no_grad():
        seen = torch.stack([result.conv1(pictures).mean(dim=(0, 2, 3)) for pictures, _ in persons])
    torch.testing.assert_close(result.bn1.running_mean, seen.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_killed_training_goes_on_to_the_same_result(
    persons: list[tuple[Tensor, Tensor]], tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    def seeded(progress: object = None, state: Path | None = None) -> SCHP:
        model = tiny()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout2d):
                module.p = 0.0  # its random numbers are not part of the state
        return train_parser(model, persons, SMALL, state, progress)  # type: ignore[arg-type]

    whole = seeded()
    state = tmp_path / "training.pt"
    with pytest.raises(Killed):
        seeded(kill, state)
    resumed = seeded(state=state)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="of a training with other settings"):
        train_parser(tiny(), persons, SelfCorrection(epochs=9), state)


def test_weights_are_saved_under_the_authors_names(tmp_path: Path) -> None:
    model, other = tiny(), tiny()
    with torch.no_grad():
        model.fushion[3].bias.fill_(3)
    save_schp(model, tmp_path / "parser.safetensors")
    fill(other, load_weights(tmp_path / "parser.safetensors"), "parser")
    assert float(other.fushion[3].bias[0].detach()) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["parser.safetensors"]


def test_settings_that_train_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="cycle_epochs=0: must be at least 1"):
        SelfCorrection(cycle_epochs=0)


@pytest.mark.slow
def test_learns_drawn_persons(persons: list[tuple[Tensor, Tensor]]) -> None:
    """Fits four persons: far better than to call everything background."""
    settings = SelfCorrection(epochs=40, cycles=2, cycle_epochs=8, learning_rate=0.03)
    result = train_parser(tiny(), persons, settings)
    with torch.no_grad():
        right = [
            torch.nn.functional.interpolate(
                result(pictures).fusion, labels.shape[1:], mode="bilinear", align_corners=True
            ).argmax(dim=1)
            == labels
            for pictures, labels in persons
        ]
    background = float(torch.cat([labels == 0 for _, labels in persons]).float().mean())
    accuracy = float(torch.cat(right).float().mean())
    assert accuracy > background + 0.5 * (1 - background)


def test_a_loss_has_a_gradient_in_all_three_branches(
    persons: list[tuple[Tensor, Tensor]],
) -> None:
    model = copy.deepcopy(tiny())
    pictures, labels = persons[0]
    schp_loss(model(pictures), labels).backward()
    for layer in (model.decoder.conv4, model.edge.conv5, model.fushion[3]):
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().sum() > 0
