"""Where the person is in each true picture: what masked PSNR looks at."""

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image
from torch.utils.data import DataLoader

from leffa.data.batch import Record
from leffa.data.dataset import PersonDataset, collate
from leffa.data.transforms import PersonTransform
from leffa.evaluation.folder import EvaluationFolder
from leffa.evaluation.padding import cut_padding
from leffa.io.png import save_png
from leffa.io.processes import ignore_interrupts
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
    loader = DataLoader(
        PersonDataset(lacking, of_parse),
        batch_size=1,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=ignore_interrupts,
    )
    for record, batch in zip(lacking, loader, strict=True):
        person = cut_padding(batch["loss_region"][0, 0], record, transform).mul(255).byte()
        save_png(Image.fromarray(person.numpy()), folder.masks / f"{record.name}.png")
    return True
