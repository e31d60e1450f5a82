"""SCHP's losses: parsing, edges, and the agreement of both (Li et al., 2019, section 3.1)."""

import torch
from torch import Tensor
from torch.nn import functional

from leffa.preprocess.parsing.schp import SCHPOutput

IGNORED = 255


def schp_loss(
    output: SCHPOutput,
    labels: Tensor,
    soft: Tensor | None = None,
    edge_weight: float = 1.0,
    consistency_weight: float = 0.1,
) -> Tensor:
    """The weighted sum, at the labels' resolution.

    Args:
        output: of the network.
        labels: (B, H, W) as given.
        soft: (B, C, H, W) refined labels, for the cross-entropy; None for the given ones.
    """
    parsing, fusion, edge = (
        functional.interpolate(scores, labels.shape[-2:], mode="bilinear", align_corners=True)
        for scores in output
    )
    loss = torch.stack([parsing_loss(scores, labels, soft) for scores in (parsing, fusion)]).sum()
    edges = label_edges(labels)
    known = labels != IGNORED
    loss = loss + edge_weight * edge_loss(edge, edges, known)
    return loss + consistency_weight * consistency_loss(fusion, edge, edges)


def parsing_loss(scores: Tensor, labels: Tensor, soft: Tensor | None = None) -> Tensor:
    """Cross-entropy, to the soft labels where given, and the Lovasz-softmax loss.

    Pixels whose label is ignored take no part.
    """
    known = labels != IGNORED
    if soft is None:
        entropy = functional.cross_entropy(scores, labels, ignore_index=IGNORED)
    else:
        entropy = functional.cross_entropy(scores, soft, reduction="none")[known].mean()
    flat = scores.permute(0, 2, 3, 1)[known]
    return entropy + lovasz_softmax(flat.softmax(dim=-1), labels[known])


def lovasz_softmax(probabilities: Tensor, labels: Tensor) -> Tensor:
    """A surrogate of 1 - mean IoU, over the labels that occur (Berman et al., 2018, equation 11).

    Args:
        probabilities: (P, C) of each pixel.
        labels: (P,).
    """
    losses = []
    for label in labels.unique():
        truth = (labels == label).to(probabilities)
        errors, order = (truth - probabilities[:, label]).abs().sort(descending=True)
        truth = truth[order]
        # The Jaccard loss after each pixel becomes wrong, from the worst on; its steps are the
        # weights of the errors.
        intersection = truth.sum() - truth.cumsum(0)
        union = truth.sum() + (1 - truth).cumsum(0)
        jaccard = 1 - intersection / union
        steps = torch.cat([jaccard[:1], jaccard.diff()])
        losses.append(errors @ steps)
    return torch.stack(losses).mean()


def label_edges(labels: Tensor) -> Tensor:
    """(B, H, W) True where one of four neighbours has another label; never at ignored pixels."""
    known = labels != IGNORED
    edges = torch.zeros_like(known)
    for axis in (1, 2):
        size = labels.shape[axis] - 1
        one, other = (labels.narrow(axis, start, size) for start in (0, 1))
        differ = (one != other) & (one != IGNORED) & (other != IGNORED)
        edges.narrow(axis, 0, size).logical_or_(differ)
        edges.narrow(axis, 1, size).logical_or_(differ)
    return edges & known


def edge_loss(scores: Tensor, edges: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy in which edges and the rest weigh the same, however rare edges are.

    Args:
        scores: (B, 2, H, W).
        edges, known: (B, H, W).
    """
    target = torch.where(known, edges.long(), IGNORED)
    share = edges[known].float().mean()
    weights = torch.stack([share, 1 - share])
    return functional.cross_entropy(scores, target, weights, ignore_index=IGNORED)


def consistency_loss(parsing: Tensor, edge: Tensor, edges: Tensor) -> Tensor:
    """How far the parsing's outlines differ from the edge branch, on true edges.

    The authors' code compares arg-maxima, which have no gradient; here it is probabilities: an
    outline is as sure as neighbours are unlikely to share a label.

    Args:
        parsing: (B, C, H, W) scores.
        edge: (B, 2, H, W) scores.
        edges: (B, H, W) the true ones.
    """
    if not bool(edges.any()):
        return parsing.sum() * 0
    shares = parsing.softmax(dim=1)
    outline = torch.zeros_like(shares[:, 0])
    for axis in (1, 2):
        size = outline.shape[axis] - 1
        one, other = (shares.narrow(axis + 1, start, size) for start in (0, 1))
        differ = 1 - (one * other).sum(dim=1)
        padding = (0, 0) * (2 - axis)
        before = functional.pad(differ, (*padding, 0, 1))
        after = functional.pad(differ, (*padding, 1, 0))
        outline = torch.maximum(outline, torch.maximum(before, after))
    return (outline - edge.softmax(dim=1)[:, 1])[edges].abs().mean()
