"""Masks of the person in each true picture, for masked PSNR."""

from dataclasses import replace

from PIL import Image

from leffa.evaluation.folder import unfinished
from leffa.evaluation.settings import Work
from leffa.inference.generate import open_batches
from leffa.inference.padding import crop_padding
from leffa.io.png import save_png
from leffa.metrics.protocols import Protocol


def write_masks(protocol: Protocol, work: Work) -> bool:
    """Write `<folder>/masks/<name>.png`, white where the parsing map has a label.

    Returns whether there are masks: only if the protocol has a masked metric and every sample a
    parsing map. A parsing map without a label gives a black mask.
    """
    wanted = any(settings.metric == "masked_psnr" for settings in protocol.paired.values())
    if not wanted or any(record.target().parse is None for record in work.records):
        return False
    transform, masks = work.how.transform, work.folder.masks
    of_parse = replace(transform, densepose="none", densepose_files=None, loss_region="foreground")
    lacking = unfinished(work.records, masks)
    batches = open_batches(lacking, of_parse, 1, work.settings.workers)
    for record, batch in zip(lacking, batches, strict=True):
        person = crop_padding(batch["loss_region"][0, 0], record, transform).mul(255).byte()
        save_png(Image.fromarray(person.numpy()), masks / f"{record.name}.png")
    return True
