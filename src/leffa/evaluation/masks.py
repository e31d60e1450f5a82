"""Where the person is in each true picture: what masked PSNR looks at."""

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from leffa.data.batch import Record
from leffa.data.transforms import PersonTransform
from leffa.evaluation.folder import EvaluationFolder
from leffa.inference.generate import open_batches
from leffa.inference.padding import crop_padding
from leffa.io.png import save_png
from leffa.metrics.protocols import Protocol


def write_masks(
    protocol: Protocol,
    records: Sequence[Record],
    transform: PersonTransform,
    folder: EvaluationFolder,
    workers: int,
) -> bool:
    """Write `<folder>/masks/<name>.png`, white = person, if the protocol looks at it.

    The person is what the parsing map labels. It goes through the sample's own transform, so mask
    and picture agree however pictures are fitted.

    Returns:
        whether there are masks: not where a sample has no parsing map. Where a parsing map labels
        nothing the mask is black, and masked PSNR leaves the sample out.
    """
    wanted = any(settings.metric == "masked_psnr" for settings in protocol.paired.values())
    if not wanted or any(record.parse is None for record in records):
        return False
    folder.masks.mkdir(parents=True, exist_ok=True)
    of_parse = replace(transform, densepose="none", densepose_files=None, loss_region="foreground")
    lacking = folder.without_masks(records)
    batches = open_batches(lacking, of_parse, 1, workers)
    for record, batch in zip(lacking, batches, strict=True):
        person = crop_padding(batch["loss_region"][0, 0], record, transform).mul(255).byte()
        save_png(Image.fromarray(person.numpy()), folder.masks / f"{record.name}.png")
    return True
