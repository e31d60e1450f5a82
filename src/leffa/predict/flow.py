"""What attention sees of the reference while it paints the result."""

import torch
from torch import Tensor

from leffa.data.batch import Batch
from leffa.losses.flow import FlowRequest, warp
from leffa.models.leffa import LeffaModel
from leffa.models.sampler import name_noise
from leffa.pictures import flow_picture, mean_flow


@torch.no_grad()
def look(
    model: LeffaModel,
    batch: Batch,
    generated: Tensor,
    request: FlowRequest,
    seed: int,
    timestep: int = 200,
) -> tuple[Tensor, Tensor]:
    """The warped reference and the flow picture, both (B, 3, H, W) in [-1, 1], white outside the
    mask.

    The result is noised to `timestep` and the network asked once more, where it looks; the flow is
    the mean over layers.

    Args:
        generated: (B, 3, H, W), of the batch.

    Raises:
        ValueError: no layer is as fine as the request wants.
    """
    result: Batch = {**batch, "source": generated}
    clean = model.encode_target(result)
    noise = name_noise(batch["name"], tuple(clean.shape[1:]), seed, clean.device)
    timesteps = torch.full((len(noise),), timestep, device=clean.device)
    noisy = model.schedule.add_noise(clean, noise, timesteps)
    flows = model.predict_noise(noisy, timesteps, model.encode(batch), request).flows
    if not flows:
        raise ValueError(
            f"min_resolution={request.min_resolution} leaves no attention layer of this model, so "
            "there is no flow to save"
        )
    flow, mask = mean_flow(flows, generated.shape[-2:]), batch["mask"].float()
    warped = warp(batch["reference"].float(), flow) * mask + (1 - mask)
    return warped, flow_picture(flow, mask)
