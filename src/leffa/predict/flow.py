"""What attention sees of the reference while it paints the result."""

from torch import Tensor

from leffa.data.batch import Batch
from leffa.inference.forward import encode_batch, noised_forward
from leffa.losses.request import FlowRequest
from leffa.models.interface import PersonGenerator
from leffa.pictures import mean_flow

TIMESTEP = 200  # to which the result is noised


def look_up_flow(
    model: PersonGenerator, batch: Batch, generated: Tensor, request: FlowRequest, seed: int
) -> Tensor:
    """Where each pixel of a result (B, 3, H, W) looks in the reference, (B, H, W, 2) in [-1, 1].

    The result is noised and the network asked once more; the flow is the mean over layers.

    Raises:
        ValueError: no layer is as fine as the request wants.
    """
    encoded = encode_batch(model, batch, generated)
    flows = noised_forward(model, encoded, TIMESTEP, request, seed).prediction.flows
    if not flows:
        raise ValueError(
            f"this {type(model).__name__} has no attention layer to read a flow from "
            f"(min_resolution={request.min_resolution}); predict without --save-flow"
        )
    return mean_flow(flows, generated.shape[-2:])
