"""How much of a model's attention inside the mask goes to the garment, and not to the person.

A layer that attends to the tokens of person and garment together shares its attention among them.
Where the garment's share is small, the image is generated from the person alone, however good the
flow within the garment is. Each sample's value goes to a file of its own.
"""

import json
from dataclasses import replace
from statistics import fmean

import torch
import torch.nn.functional as F

from leffa.data.batch import Batch
from leffa.evaluation.masks import POSE
from leffa.evaluation.settings import Work
from leffa.inference.forward import encode_batch, noised_forward
from leffa.inference.padding import add_padding
from leffa.io.atomic import write_json
from leffa.io.png import read_png
from leffa.metrics.result import Scores
from leffa.models.interface import PersonGenerator

NAME = "garment_attention"
NO_JOINT_ATTENTION = "no layer of this model attends to both person and garment"


@torch.no_grad()
def write_attention(model: PersonGenerator, batch: Batch, work: Work) -> None:
    """Write {layer: the garment's share} of a batch of one to its file.

    The generated image is noised up to each of `inspect_timesteps`; a share is the mean over
    these, and over the mask, in which a token counts as much as of it is generated.
    """
    (name,) = batch["name"]
    (record,) = (record for record in work.records if record.name == name)
    picture = read_png(work.folder.images / f"{name}.png")
    painted = add_padding(picture, record, work.how.transform)[None].to(batch["source"].device)
    encoded = encode_batch(model, batch, painted)
    request = replace(work.settings.flow_request, share=True)
    found: dict[str, list[float]] = {}
    for timestep in work.settings.inspect_timesteps:
        prediction = noised_forward(model, encoded, timestep, request).prediction
        for layer, share in prediction.shares.items():
            cells = (share.shape[1], share.shape[2])
            weight = F.adaptive_avg_pool2d(batch["mask"], cells)[:, 0].to(share)
            if weight.any():
                value = (share * weight).sum() / weight.sum()
                found.setdefault(layer, []).append(value.item())
    values = {layer: fmean(each) for layer, each in found.items()}
    write_json(work.folder.attention / f"{name}.json", values, indent=None)


def add_attention(work: Work, scores: Scores) -> None:
    """Add the mean over layers, then samples, to the scores; or why it is missing."""
    if NAME not in scores.missing:
        return
    if not work.share:
        scores.missing[NAME] = POSE
        return
    for record in work.records:
        file = work.folder.attention / f"{record.name}.json"
        if layers := json.loads(file.read_bytes()):
            scores.per_image.setdefault(NAME, {})[record.name] = fmean(layers.values())
    judged = scores.per_image.get(NAME, {})
    if not judged:
        scores.missing[NAME] = NO_JOINT_ATTENTION
        return
    del scores.missing[NAME]
    scores.values[NAME], scores.coverage[NAME] = fmean(judged.values()), len(judged)
    if without := [record.name for record in work.records if record.name not in judged]:
        scores.excluded[NAME] = without
