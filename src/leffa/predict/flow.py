"""What attention sees of the reference while it paints the result."""

from torch import Tensor

from leffa.data.batch import Batch
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.flow import FlowRequest, warp
from leffa.models.interface import PersonGenerator
from leffa.pictures import flow_picture, mean_flow


def flow_pictures(
    model: PersonGenerator,
    batch: Batch,
    generated: Tensor,
    request: FlowRequest,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """The warped reference and the flow picture, both (B, 3, H, W) in [-1, 1], white outside the
    mask; see `look_up_flow`."""
    flow = look_up_flow(model, batch, generated, request, seed)
    mask = batch["mask"]
    warped = warp(batch["reference"], flow) * mask + (1 - mask)
    return warped, flow_picture(flow, mask)


def look_up_flow(
    model: PersonGenerator,
    batch: Batch,
    generated: Tensor,
    request: FlowRequest,
    seed: int,
    timestep: int = 200,
) -> Tensor:
    """Where each pixel of the result looks in the reference, (B, H, W, 2) in [-1, 1].

    The result is noised to `timestep` and the network asked once more; the flow is the mean over
    layers.

    Args:
        generated: (B, 3, H, W), of the batch.

    Raises:
        ValueError: no layer is as fine as the request wants.
    """
    encoded = encode_batch(model, batch, generated)
    flows = noised_forward(model, encoded, timestep, request, seed).prediction.flows
    if not flows:
        raise ValueError(
            f"this {type(model).__name__} has no attention layer to read a flow from "
            f"(min_resolution={request.min_resolution}); predict without --save-flow"
        )
    return mean_flow(flows, generated.shape[-2:])
